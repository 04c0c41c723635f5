from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = (
    *("model.d_model=32", "model.num_layers=2", "model.context_length=32", "batch_size=4"),
    *("precision=fp32", "compile=off", "samples.tokens=4", "evaluation.tokens=300"),
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_alone_it_tells_what_the_machine_can_do(seedbed: Callable) -> None:
    shown = seedbed("doctor")
    assert shown.code == 0
    heads = [line.split()[0] for line in shown.out.splitlines() if not line.startswith(" ")]
    wanted = "processor memory disk GPU software compile auto products training extra"
    assert set(wanted.split()) <= set(heads)
    report = json.loads(seedbed("doctor", "--json").out)
    assert report["cores"] >= 1
    assert report["matmul_flops"]["fp32"] > 1e7
    assert set(report["tokens_per_second"]) == {"1m", "10m", "100m"}


def test_with_data_it_tells_what_a_run_would_cost(data: Path, seedbed: Callable) -> None:
    shown = seedbed("doctor", "--data", data, "--steps", 30, *TINY)
    assert shown.code == 0
    assert "steps      30: 3,840 tokens" in shown.out
    assert "in a process of their own" in shown.out
    assert "warning    It has 30 steps" in shown.out
    assert not Path("runs").exists()


def test_the_cost_is_json_with_the_numbers_of_the_run(data: Path, seedbed: Callable) -> None:
    words = ("doctor", "--data", data, "--steps", 3000, *TINY, "--not-timed", "--json")
    cost = json.loads(seedbed(*words).out)
    assert (cost["steps"], cost["tokens"]) == (3000, 3000 * 4 * 32)
    assert cost["memory"] == pytest.approx(sum(cost["memory_parts"].values()))
    assert cost["how_timed"] == "from a nominal rate of the device; not measured"
    assert any("goes over the text" in warning for warning in cost["warnings"])


def test_a_vocabulary_that_takes_most_of_a_model_is_warned_of(
    tmp_path: Path, seedbed: Callable
) -> None:
    seedbed("prepare", "sample:stories:300", "--out", "d", "--vocab-size", 2000)
    shown = seedbed("doctor", "--data", "d", "--not-timed", "--steps", 200, *TINY)
    assert "takes 7" in shown.out or "takes 8" in shown.out
    assert "of the parameters" in shown.out


def test_a_run_that_does_not_fit_in_memory_is_warned_of(data: Path, seedbed: Callable) -> None:
    large = ("batch_size=65536", "micro_batch_size=65536", "model.num_layers=40")
    shown = seedbed("doctor", "--data", data, "--not-timed", "--steps", 200, *TINY[:3], *large)
    assert "GB are free. Ask for a smaller micro_batch_size" in shown.out


def test_with_a_run_it_tells_what_is_wrong(data: Path, seedbed: Callable) -> None:
    rate = ("optimizer.kind=adamw", "optimizer.learning_rate=1e-8", "log_every=1")
    seedbed("train", "--data", data, "--out", "r", "--steps", 60, *TINY, *rate)
    shown = seedbed("doctor", "r")
    assert shown.code == 0
    assert "fault: never learned\n  seen  the training loss began at" in shown.out
    diagnosis = json.loads(seedbed("doctor", "r", "--json").out)
    assert diagnosis["findings"][0]["name"] == "never learned"
    assert diagnosis["run"] == "r"


def test_a_run_may_have_an_equals_sign_in_its_name(tmp_path: Path, seedbed: Callable) -> None:
    (tmp_path / "lr=1e-3").mkdir()
    assert "lr=1e-3 is not a run folder" in seedbed("doctor", "lr=1e-3").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "not a run folder"),
        (("--size", "1m"), "`--data` is missing"),
        (("r", "--size", "1m"), "not both"),
        (("r", "s"), "not both"),
        (("--data", "nowhere"), "not a prepared dataset"),
    ],
)
def test_what_cannot_be_examined_is_said(
    words: tuple[str, ...], message: str, seedbed: Callable
) -> None:
    shown = seedbed("doctor", *words)
    assert shown.code == 2
    assert message in shown.err
    assert shown.out == ""
