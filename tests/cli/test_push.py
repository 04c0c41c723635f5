from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two steps on the stories."""
    from seedbed.cli.main import run

    out = tmp_path_factory.mktemp("push") / "run"
    words = f"train --data {data} --out {out} --size 30k --steps 2 --precision fp32 batch_size=2"
    assert run([*words.split(), "model.context_length=32"]) == 0
    return out


def test_a_dry_run_prints_the_card_and_nothing_else(run: Path, seedbed: Callable) -> None:
    shown = seedbed("push", run, "ada/stories", "--dry-run")
    assert shown.code == 0
    assert shown.out.startswith("---\nlibrary_name: transformers\n")
    assert "# stories\n" in shown.out
    assert "Nothing was sent" in shown.err
    assert "model.safetensors" in shown.err


def test_evaluate_puts_the_standard_error_into_the_card(run: Path, seedbed: Callable) -> None:
    measured = json.loads(seedbed("eval", run, "--json").out)
    shown = seedbed("push", run, "ada/stories", "--dry-run", "--evaluate", "--json")
    card = json.loads(shown.out)["card"]
    figures = (measured["bits_per_byte"], measured["standard_error"])
    assert "{:.4f} ± {:.4f} bits per byte".format(*figures) in card


def test_a_model_without_a_run_has_a_card_too(model: Path, seedbed: Callable) -> None:
    shown = seedbed("push", model, "ada/model", "--dry-run")
    assert shown.code == 0
    assert "Not measured." in shown.out


def test_a_licence_that_is_none_and_a_missing_token_are_told(
    run: Path, seedbed: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "`--license` is 'a b'" in seedbed("push", run, "ada/x", "--license", "a b").err
    shown = seedbed("push", run, "ada/x")
    assert shown.code == 2
    assert "There is no token" in shown.err
