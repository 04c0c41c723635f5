from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.cli import eval as module

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


def test_what_a_precision_loses_can_be_measured(model: Path, data: Path, seedbed: Callable) -> None:
    found = {}
    for precision in ("fp32", "bf16", "int8"):
        words = ("eval", model, "--data", data, "--device", "cpu", "--precision", precision)
        found[precision] = json.loads(seedbed(*words, "--json").out)["bits_per_byte"]
    assert len(set(found.values())) == 3
    assert found["bf16"] == pytest.approx(found["fp32"], rel=0.02)
    assert found["int8"] == pytest.approx(found["fp32"], rel=0.02)


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


def test_both_splits_are_shown_beside_their_gap(model: Path, data: Path, seedbed: Callable) -> None:
    shown = seedbed("eval", model, "--data", data, "--split", "both", "--limit-tokens", 3000)
    assert shown.code == 0
    assert "evaluating val tokens" in shown.err
    assert "evaluating train tokens" in shown.err
    heads = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert heads[:2] == ["validation", "training"]
    assert heads[2].startswith("gap ")
    options = ("--split", "both", "--limit-tokens", 3000, "--json")
    report = json.loads(seedbed("eval", model, "--data", data, *options).out)
    assert list(report) == ["val", "train", "gap_bits_per_byte", "gap_standard_error", "gap_loss"]
    assert list(report["val"]) == list(report["train"]) == KEYS


# --- --prompts ------------------------------------------------------------------------------

REPORT_KEYS = [
    "prompts",
    "samples",
    "max_new_tokens",
    "seed",
    "sampling",
    "generated",
    "human",
    "bleu",
    "chrf",
    "training_tokens",
    "copied_run",
    "texts",
]
FIGURES = [
    "texts",
    "tokens",
    "words",
    "word_quantiles",
    "finished",
    "distinct",
    "repetition",
    "loops",
    "copies",
]
WRITING = ("--prompts", "val", "--prompt-words", 4, "--limit", 3, "--max-new-tokens", 40)


def test_json_of_generations_has_the_promised_keys(
    model: Path, data: Path, seedbed: Callable
) -> None:
    pytest.importorskip("sacrebleu")
    options = (*WRITING, "--samples", 2, "--temperature", 0.5, "--json")
    shown = seedbed("eval", model, "--data", data, *options)
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == REPORT_KEYS
    assert list(report["generated"]) == list(report["human"]) == FIGURES
    assert list(report["generated"]["words"]) == ["value", "standard_error"]
    assert list(report["generated"]["copies"]) == ["longest", "longest_of_all", "share"]
    assert list(report["bleu"]) == ["value", "standard_error", "texts", "signature"]
    assert len(report["generated"]["distinct"]) == 4
    assert len(report["texts"]) == 6
    assert (report["generated"]["texts"], report["human"]["texts"]) == (6, 3)
    assert (report["sampling"]["temperature"], report["sampling"]["top_k"]) == (0.5, 50)
    again = seedbed("eval", model, "--data", data, *options)
    assert again.out == shown.out


def test_generations_are_shown_as_a_table_and_some_texts(
    model: Path, data: Path, seedbed: Callable
) -> None:
    shown = seedbed("eval", model, "--data", data, *WRITING)
    assert shown.code == 0
    first, _, head, *lines = shown.out.splitlines()
    assert first == (
        "3 prompts, a text for each, 40 tokens at most; temperature 0.8, top-k 50, seed 0"
    )
    assert head.split() == ["generated", "human"]
    table = lines[: lines.index("---")]
    assert {"distinct-1", "distinct-4", "words a text"} <= {line[:26].strip() for line in table}
    assert lines.count("---") == 3
    assert "writing texts 3 of 3" in shown.err
    assert "searching training tokens" in shown.err


def test_prompts_of_a_file_have_no_human_column(
    model: Path, data: Path, tmp_path: Path, seedbed: Callable
) -> None:
    (tmp_path / "p.txt").write_text("One day\nTwo\n")
    options = ("--prompts", tmp_path / "p.txt", "--max-new-tokens", 10)
    shown = seedbed("eval", model, "--data", data, *options)
    assert shown.code == 0
    assert "human" not in shown.out
    assert "BLEU" not in shown.out
    unknown = seedbed("eval", model, *options)
    assert unknown.code == 0
    assert "Copies of training text are not looked for" in unknown.err
    assert "longest copy" not in unknown.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", 2], "`--samples` is for --prompts: give it too"),
        (["--top-k", 0], "`--top-k` is for --prompts"),
        (["--prompts", "val", "--split", "val"], "`--split` is not for --prompts"),
        (["--prompts", "val", "--text", "x"], "`--text` is not for --prompts"),
        (["--split", "both", "--text", "x"], "`--split` is for a dataset"),
        (["--split", "train", "--text", "x"], "`--split` is for a dataset"),
        (["--prompts", "none.txt"], "none.txt cannot be read"),
        (["--prompts", "val", "--temperature", "-1"], "`temperature` is -1"),
        (["--prompts", "val", "--prompt-words", "900"], "more than 900 words"),
    ],
)
def test_what_does_not_go_together_is_told(
    options: list[object], message: str, model: Path, data: Path, seedbed: Callable
) -> None:
    given = [] if "--text" in options else ["--data", data]
    shown = seedbed("eval", model, *given, *options)
    assert shown.code == 2
    assert message in shown.err
    assert shown.out == ""


def test_progress_shows_each_stage_with_its_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 14.0, 15.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    with module.Stages() as stages:
        stages.show("writing", 0, 12)
        stages.show("writing", 12, 12)
        stages.show("searching", 0, 500)
        stages.note("a note")
    assert capsys.readouterr().err.splitlines() == [
        "writing texts 0 of 12",
        "writing texts 12 of 12  texts/s 3.0",
        "searching tokens 0 of 500",
        "a note",
    ]
