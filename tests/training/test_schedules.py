from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from seedbed.training.config import ScheduleSettings
from seedbed.training.schedules import multiplier

KINDS = ("linear", "cosine", "trapezoid", "constant")


def schedule(kind: str, **fields: Any) -> ScheduleSettings:
    return ScheduleSettings.model_validate({"kind": kind, "warmup_steps": 0, **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_warm_up_rises_evenly_to_the_peak(kind: str) -> None:
    settings = schedule(kind, warmup_steps=10, floor=0.1)
    assert [multiplier(settings, step, 100) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert multiplier(settings, 10, 100) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_without_warm_up_the_first_step_has_the_peak(kind: str) -> None:
    assert multiplier(schedule(kind), 0, 100) == 1.0


@pytest.mark.parametrize("kind", ["linear", "cosine", "trapezoid"])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_the_horizon_has_the_floor_and_no_step_is_below_it(kind: str, floor: float) -> None:
    settings = schedule(kind, warmup_steps=10, floor=floor)
    assert multiplier(settings, 100, 100) == pytest.approx(floor)
    assert multiplier(settings, 150, 100) == pytest.approx(floor)
    after_warmup = [multiplier(settings, step, 100) for step in range(10, 100)]
    assert min(after_warmup) > floor
    assert all(a >= b for a, b in itertools.pairwise(after_warmup))


def test_linear_falls_along_a_line() -> None:
    settings = schedule("linear", warmup_steps=20, floor=0.2)
    assert multiplier(settings, 60, 100) == pytest.approx(0.6)
    assert multiplier(settings, 80, 100) == pytest.approx(0.4)


def test_cosine_falls_along_half_a_wave() -> None:
    settings = schedule("cosine", floor=0.1)
    quarter = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))
    assert multiplier(settings, 25, 100) == pytest.approx(quarter)
    assert multiplier(settings, 50, 100) == pytest.approx(0.55)


def test_trapezoid_falls_over_the_last_part_only() -> None:
    settings = schedule("trapezoid", warmup_steps=10, decay_fraction=0.5)
    assert multiplier(settings, 55, 100) == 1.0
    assert multiplier(settings, 78, 100) == pytest.approx(22 / 90 / 0.5)


def test_constant_stays() -> None:
    assert {multiplier(schedule("constant", floor=0.5), s, 100) for s in range(100)} == {1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_one_step_has_a_rate(kind: str) -> None:
    assert multiplier(schedule(kind), 0, 1) == 1.0
    assert multiplier(schedule(kind, warmup_steps=1), 0, 1) == 1.0
