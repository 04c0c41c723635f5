from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.config import parse_yaml

TINY = (
    *("model.d_model=32", "model.num_layers=2", "model.context_length=32", "batch_size=4"),
    *("precision=fp32", "compile=off", "samples.tokens=4", "evaluation.tokens=300"),
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ("--steps", 20),
        ("--tokens", 5e4, "--size", "0.3m", "--precision", "fp32"),
        ("--epochs", 1.5, "--model", "gpt2", "model.bias=false", "optimizer.kind=adamw"),
        ("--minutes", 1e-5),
        ("--minutes", 3, "--seed", 5, "--compile", "off", "samples.prompts=[no, 'a: b']"),
        ("--steps", 9, "--model", "relu2", "--eval-every", 3, "--checkpoint-every", 4),
    ],
)
def test_a_printed_config_is_a_recipe_for_the_same(
    options: tuple[object, ...], data: Path, tmp_path: Path, seedbed: Callable
) -> None:
    printed = seedbed("train", "--data", data, *options, "--print-config")
    assert printed.code == 0
    (tmp_path / "recipe.yaml").write_text(printed.out)
    again = seedbed("train", "--recipe", "recipe.yaml", "--print-config")
    assert again.code == 0
    assert again.out == printed.out
    assert not (tmp_path / "runs").exists()


def test_recipe_then_options_then_words(data: Path, tmp_path: Path, seedbed: Callable) -> None:
    recipe = (
        "seed: 1\nhorizon: 5 steps\nlog_every: 1\noptimizer: {learning_rate: 1e-1, eps: 1e-9}\n"
    )
    (tmp_path / "my.yaml").write_text(recipe)
    words = ("--seed", 2, "--steps", 7, "seed=3", "optimizer.learning_rate=1e-2")
    shown = seedbed("train", "--data", data, "--recipe", "my.yaml", *words, "--print-config")
    made = parse_yaml(shown.out, origin="test")
    assert (made["seed"], made["horizon"], made["log_every"]) == (3, "7 steps", 1)
    assert made["optimizer"]["learning_rate"] == 0.01
    assert made["optimizer"]["eps"] == 1e-9
    assert made["out"] == f"runs/{data.name}"


def test_a_run_on_the_dataset_that_is_here_is_named_after_it(
    data: Path, seedbed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    shown = seedbed("train", "--data", ".", "--steps", 1, "--print-config")
    assert parse_yaml(shown.out, origin="test")["out"] == f"runs/{data.name}"


def test_options_land_where_they_belong(data: Path, tmp_path: Path, seedbed: Callable) -> None:
    (tmp_path / "shape.yaml").write_text("preset: llama\nnum_kv_heads: 1\n")
    options = (
        *("--model", "shape.yaml", "--size", "0.4m", "--precision", "bf16", "--compile", "off"),
        *("--checkpoint-every", 3, "--eval-every", 4, "--tokens", "2e6", "--out", "r"),
    )
    made = parse_yaml(
        seedbed("train", "--data", data, *options, "--print-config").out, origin="test"
    )
    assert (made["model"]["preset"], made["model"]["num_kv_heads"]) == ("llama", 1)
    assert (made["precision"], made["compile"], made["out"]) == ("bf16", "off", "r")
    assert (made["checkpoint"]["every"], made["evaluation"]["every"]) == (3, 4)
    steps = round(2e6 / (made["batch_size"] * made["model"]["context_length"]))
    assert made["horizon"] == f"{steps} steps"


def test_results_go_to_stdout_and_progress_to_stderr(data: Path, seedbed: Callable) -> None:
    shown = seedbed("train", "--data", data, "--out", "r", "--steps", 4, *TINY)
    assert shown.code == 0
    assert shown.out.startswith("r: finished after 4 steps\n")
    assert "parameters" in shown.err
    assert "step 4 of 4" in shown.err
    assert "step" not in shown.out.replace("4 steps", "").replace("step 4", "")


def test_json_is_the_result_and_a_finished_run_says_so(data: Path, seedbed: Callable) -> None:
    words = ("train", "--data", data, "--out", "r", "--steps", 3, *TINY, "--json")
    first, again = (json.loads(seedbed(*words).out) for _ in range(2))
    assert (first["run"], first["state"], first["step"]) == ("r", "finished", 3)
    assert again == {**first, "state": "already finished"}


def test_another_command_on_a_run_is_refused_by_name(data: Path, seedbed: Callable) -> None:
    seedbed("train", "--data", data, "--out", "r", "--steps", 2, *TINY)
    shown = seedbed("train", "--data", data, "--out", "r", "--steps", 2, *TINY, "seed=8")
    assert shown.code == 2
    assert "seed: was 1337, is 8" in shown.err
    never = seedbed("train", "--data", data, "--out", "r", "--resume", "never", *TINY)
    assert never.code == 2
    assert "holds a run already" in never.err
