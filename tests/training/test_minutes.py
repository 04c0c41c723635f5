"""Minutes become steps so that steps, evaluations and saves fit in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seedbed.training import minutes, pretrain
from seedbed.training.config import TrainConfig
from seedbed.training.job import Job, RunResult
from seedbed.training.minutes import Costs, plan

Settings = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("intervals", "costs", "planned"),
    [
        # 95 of 100 seconds, 5 of them gone: 90, less ten pauses of 0.5
        ((None, None), Costs(0.1, 0.2, 0.3), (850, 10)),
        # pauses of 5 seconds take a tenth of the time: two
        ((None, None), Costs(0.1, 2.0, 3.0), (800, 2)),
        # pauses longer than a tenth: the last one stays
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
