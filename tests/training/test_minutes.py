"""Minutes become steps so that steps, evaluations and saves fit in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.training import minutes
from seedbed.training.config import TrainConfig
from seedbed.training.loop import RunResult
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


def test_enough_is_thirty_steps_or_ten_seconds_after_two_to_warm_up() -> None:
    assert not minutes._are_enough([60.0] * 4)
    assert minutes._are_enough([60.0] * 5)
    assert not minutes._are_enough([60.0, 60.0] + [0.1] * 27)
    assert minutes._are_enough([0.1] * 30)


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
