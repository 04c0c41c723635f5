"""Minutes become steps so that steps, evaluations and saves fit in them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seedbed.config import read_yaml
from seedbed.files import read_json, read_json_lines
from seedbed.runs import RunDir
from seedbed.training import loop, minutes, pretrain
from seedbed.training.config import TrainConfig
from seedbed.training.job import Job, RunResult
from seedbed.training.minutes import Costs, plan
from seedbed.training.step import StepMetrics

Settings = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("intervals", "costs", "planned"),
    [
        # 95 of 100 seconds, 5 of them gone: 90, less ten pauses of 0.5
        ((None, None), Costs(0.1, 0.2, 0.3), (850, 10)),
        # pauses of 2.5 seconds take a twentieth of the time: two; and three saves a hundredth
        ((None, None), Costs(0.1, 2.2, 0.3), (841, 2)),
        # pauses longer than a twentieth: the last one stays
        ((None, None), Costs(0.1, 20.0, 10.0), (600, 1)),
        # every 5th step is evaluated and may be saved: 0.1 + 0.5 / 5 a step, and one at the end
        ((5, None), Costs(0.1, 0.2, 0.3), (447, 10)),
        # every 3rd step is saved besides: 0.1 + 0.3 / 3 a step
        ((None, 3), Costs(0.1, 0.2, 0.3), (425, 10)),
        ((None, None), Costs(1000.0, 0.2, 0.3), (1, 10)),
    ],
)
def test_steps_evaluations_and_saves_fit_in_the_time(
    intervals: tuple[int | None, int | None],
    costs: Costs,
    planned: tuple[int, int],
    settings: Settings,
) -> None:
    config = settings(evaluation={"every": intervals[0]}, checkpoint={"every": intervals[1]})
    steps, evaluations = plan(config, costs, seconds=100.0, used=5.0)
    assert (pytest.approx(steps, abs=1), evaluations) == planned


@pytest.mark.parametrize(
    ("steps", "seconds", "enough"),
    [
        ([0.01] * 3, 600.0, False),  # one that warms up, and two
        ([0.02] * 6, 6.0, False),
        ([0.02] * 8, 6.0, True),  # a fiftieth of the time, without the first
        ([0.01] * 30, 600.0, False),
        ([0.01] * 31, 600.0, True),  # thirty are enough for any run
        ([3.0] * 4, 600.0, False),
        ([3.0] * 5, 600.0, True),  # a fiftieth of ten minutes
        ([5.0] * 4, 6000.0, True),  # ten seconds are enough for any run
        ([60.0], 6.0, False),  # compiling: nothing was timed yet
        ([60.0, 0.1], 6.0, True),  # a tenth of the time is gone: no more of it
        ([0.3, 0.2], 6.0, False),
    ],
)
def test_measuring_takes_a_small_share_of_the_time(
    steps: list[float], seconds: float, enough: bool
) -> None:
    assert minutes.are_enough(steps, seconds) == enough


def test_a_part_of_an_evaluation_and_of_its_samples_is_an_eighth(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    original = minutes.measure

    def measure(job: Job, *args: Any) -> Costs:
        jobs.append(job)
        return original(job, *args)

    monkeypatch.setattr(minutes, "measure", measure)
    config = settings(horizon="1 minutes", max_epochs=0.01, samples={"tokens": 16})
    pretrain.train(config, quiet=True)
    whole, part = (jobs[0].evaluate(share)["val"].tokens.sum() for share in (1.0, 1 / 8))
    assert 400 < whole <= 500
    assert part <= math.ceil(whole / 8)
    assert max(len(sample["text"]) for sample in jobs[0].sample(1 / 8)) <= 2  # 2 bytes


def test_what_a_part_of_an_evaluation_takes_is_scaled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work(share: float) -> None:
        nonlocal now
        now += 24.0 * share

    monkeypatch.setattr(minutes.time, "perf_counter", lambda: now)
    job: Any = SimpleNamespace(evaluate=work, sample=work)
    assert minutes.seconds_of_an_evaluation(job) == pytest.approx(48.0)
    assert now == pytest.approx(6.0)


@pytest.mark.parametrize(("step", "timed"), [(0.001, 30), (0.1, 12), (5.0, 3)])
def test_what_measuring_takes_is_known_from_what_it_finds(step: float, timed: int) -> None:
    costs = Costs(step, 8.0, 0.5)
    wanted = (1 + timed) * step + 1.0 + 0.5
    assert minutes.seconds_of_measuring(costs, 60.0) == pytest.approx(wanted)


def test_a_time_that_is_too_short_for_learning_is_told(
    trained: Callable[..., RunResult], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(horizon="0.0001 minutes", quiet=False)
    told = capsys.readouterr().err
    assert "0.0001 minutes leave time for 1 step: starting and measuring took" in told
    trained("run2", horizon="1 minutes", max_epochs=0.01, quiet=False)  # few, but all there are
    assert "leave time" not in capsys.readouterr().err


def test_the_save_that_was_timed_is_gone(
    trained: Callable[..., RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Costs] = []
    original = minutes.measure

    def measure(*args: Any) -> Costs:
        measured.append(original(*args))
        left = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
        assert left == []
        return measured[0]

    monkeypatch.setattr(minutes, "measure", measure)
    assert trained(horizon="1 minutes", max_epochs=0.01).state == "finished"
    assert min(measured[0].step, measured[0].evaluation, measured[0].save) > 0


class Clock:
    """Time that passes in training steps, 1 second in each, `slower` after those measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slower: float) -> None:
        self.now, self.slower, self.running = 0.0, slower, False
        take_step, run_training = loop.take_step, pretrain.run_training

        def slow_step(job: Job) -> StepMetrics:
            self.now += self.slower if self.running else 1.0
            return take_step(job)

        def begin(*args: Any) -> RunResult:
            self.running = True
            return run_training(*args)

        for module in (loop, minutes):
            monkeypatch.setattr(module, "take_step", slow_step)
        monkeypatch.setattr(loop.time, "perf_counter", self.read)
        monkeypatch.setattr(pretrain, "run_training", begin)

    def read(self) -> float:
        self.now += 1e-4  # nothing takes no time at all
        return self.now


LONG = {
    "horizon": "1 minutes",
    "max_epochs": 1e9,
    "log_every": 5,
    "model": {"d_model": 16, "num_layers": 1},
    "evaluation": {"every": 5, "tokens": 32},
    "checkpoint": {"every": 5},
    "samples": {"tokens": 0},
}


@pytest.mark.parametrize("slower", [0.5, 1.04, 2.0])
def test_steps_follow_the_time_that_they_take(
    slower: float,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, slower)
    result = pretrain.train(settings(**LONG), quiet=True, started=0.0)
    assert result.state == "finished"
    run = RunDir(tmp_path / "run")
    assert clock.now <= 60
    assert clock.now >= 0.9 * 60
    assert (slower == 2.0) == (result.step < 50)
    assert (slower == 0.5) == (result.step > 100)
    assert read_yaml(run.config)["horizon"] == f"{result.step} steps"
    lines = read_json_lines(run.metrics)
    assert lines[-1]["step"] == result.step
    assert lines[-1]["val_loss"] is not None
    assert lines[-1]["lr"] < 0.06 * max(line["lr"] for line in lines)  # decayed all the same
    assert pretrain.train(settings(**LONG), quiet=True).state == "already finished"


def test_more_steps_are_evaluated_as_often(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, 0.25)
    asked = LONG | {"evaluation": {"every": None, "tokens": 32}, "checkpoint": {"every": None}}
    result = pretrain.train(settings(**asked), quiet=True, started=0.0)
    lines = read_json_lines(RunDir(tmp_path / "run").metrics)
    assert result.step > 200
    assert 10 <= sum(line["val_loss"] is not None for line in lines) <= 12


def test_a_run_that_was_shortened_and_stopped_ends_as_it_would_have(
    settings: Settings,
    final: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save, saves = loop.save, 0

    def killed(*args: Any) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:
            raise KilledError
        save(*args)

    for name in ("whole", "killed"):
        with monkeypatch.context() as patched:
            Clock(patched, 3.0)
            if name == "killed":
                patched.setattr(loop, "save", killed)
                with pytest.raises(KilledError):
                    pretrain.train(settings(name, **LONG), quiet=True, started=0.0)
            else:
                pretrain.train(settings(name, **LONG), quiet=True, started=0.0)
    assert read_json(tmp_path / "killed" / "status.json")["error"] == "KilledError"
    pretrain.train(settings("killed", **LONG), quiet=True)
    assert final(tmp_path / "killed") == final(tmp_path / "whole")


class KilledError(BaseException):
    pass


def test_a_stop_while_measuring_tells_of_no_steps(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = minutes.take_step

    def stopping(job: Job) -> StepMetrics:
        os.kill(os.getpid(), signal.SIGTERM)
        return take_step(job)

    with monkeypatch.context() as patched:
        patched.setattr(minutes, "take_step", stopping)
        result = pretrain.train(settings(horizon="1 minutes", max_epochs=0.01), quiet=True)
    assert (result.state, result.step) == ("stopped", 0)
    status = read_json(tmp_path / "run" / "status.json")
    assert (status["state"], status["step"], status["steps"]) == ("stopped", 0, None)
    assert pretrain.train(settings(horizon="1 minutes", max_epochs=0.01), quiet=True).step == 11
