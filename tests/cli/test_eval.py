from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

KEYS = [
    "bits_per_byte",
    "standard_error",
    "loss",
    "perplexity",
    "tokens",
    "bytes",
    "documents",
    "baseline_bits_per_byte",
]


def test_json_has_the_promised_keys(model: Path, data: Path, seedbed: Callable) -> None:
    shown = seedbed("eval", model, "--data", data, "--json")
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == KEYS
    assert report["tokens"] == report["bytes"]  # a byte model


def test_progress_goes_to_stderr(model: Path, data: Path, seedbed: Callable) -> None:
    shown = seedbed("eval", model, "--data", data)
    assert "evaluating" in shown.err
    assert "evaluating" not in shown.out
    assert shown.out.startswith("bits per byte  ")
    assert "baseline" in shown.out


def test_json_of_a_single_document_is_json(model: Path, tmp_path: Path, seedbed: Callable) -> None:
    (tmp_path / "one.txt").write_text("A fox.")
    shown = seedbed("eval", model, "--text", tmp_path / "one.txt", "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    report = json.loads(shown.out, parse_constant=refuse)
    assert report["standard_error"] is None
    assert report["documents"] == 1
    plain = seedbed("eval", model, "--text", tmp_path / "one.txt").out
    assert "nan" not in plain
    assert "+-" not in plain


def test_a_damaged_checkpoint_is_told_in_a_line(
    model: Path, tmp_path: Path, data: Path, seedbed: Callable
) -> None:
    for file in model.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    shown = seedbed("eval", tmp_path, "--data", data)
    assert shown.code == 2
    assert "model.safetensors" in shown.err
    assert shown.err.count("\n") == 1
