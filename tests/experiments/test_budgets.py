from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seedbed.config import build
from seedbed.experiments.budgets import (
    SHAPES,
    Need,
    Rate,
    at_rate,
    choose_size,
    resolved_settings,
    waves_of,
)
from seedbed.experiments.config import Budget, ExperimentConfig
from seedbed.model.config import ModelConfig
from seedbed.training.config import OptimizerSettings

NEED = Need(1024, 4, bytes_per_token=2.5, eval_bytes=100_000, smallest_bytes=10**7, workers=2)


def config(**settings: Any) -> ExperimentConfig:
    return build(ExperimentConfig, {"datasets": {n: f"{n}.txt" for n in "abcd"}, **settings})


def core(flops: float) -> Any:
    """Return a measurement of a core that does so many operations a second."""
    return lambda shape: Rate(flops / shape.training_flops_per_token, starting=4.0)


def unmeasured(shape: ModelConfig) -> Rate:
    raise AssertionError(f"nothing is to be measured for a budget: {shape}")


def test_a_budget_needs_no_measurement_and_stays_as_it_is() -> None:
    size = choose_size(config(budget="3m bytes"), NEED, unmeasured)
    assert (size.budget.amount, size.budget.unit, size.seeds) == (3e6, "bytes", 3)
    assert size.tokens(2.5, 0) == 1.2e6


def test_a_larger_budget_gets_a_larger_model() -> None:
    widths = [
        choose_size(config(budget=f"{m}m bytes"), NEED, unmeasured).shape.d_model
        for m in (0.1, 1, 3, 30)
    ]
    assert widths == sorted(widths)
    assert widths[0] == SHAPES[0][0]
    assert widths[-1] == SHAPES[-1][0]


def test_the_runs_of_a_minute_plan_take_the_minutes() -> None:
    size = choose_size(config(minutes=20), NEED, core(4e10))
    jobs = 4 * (size.seeds + 2)
    assert jobs * size.seconds_per_job == pytest.approx(0.85 * 20 * 60 * 2)
    flops = size.tokens(2.5, 0) * size.shape.training_flops_per_token
    assert 0.7 < flops / (4e10 * size.seconds_per_job) < 1.0  # starting and scoring take the rest


@pytest.mark.parametrize(
    ("datasets", "workers", "waves"),
    [("abcd", 2, 20), ("abc", 2, 15), ("ab", 64, 1), ("abc", 8, 4), ("abcd", 39, 2)],
)
def test_jobs_fit_in_the_minutes_however_unevenly_the_workers_are_filled(
    datasets: str, workers: int, waves: int
) -> None:
    asked = config(minutes=60, seeds=8, datasets={name: f"{name}.txt" for name in datasets})
    need = replace(NEED, datasets=len(datasets), workers=workers)
    size = choose_size(asked, need, core(4e10))
    assert waves_of(asked, size.seeds, workers) == waves
    assert waves * size.seconds_per_job == pytest.approx(0.85 * 60 * 60)


def test_a_race_waits_for_each_round() -> None:
    asked = config(minutes=60, seeds=4, race=True, datasets={"a": "a.txt", "b": "b.txt"})
    assert waves_of(asked, 4, 8) == 5  # a wave for each seed, and one for the other rates
    assert waves_of(asked, 4, 1) == 12


def test_more_minutes_give_more_seeds_first() -> None:
    seeds = [choose_size(config(minutes=m), NEED, core(4e10)).seeds for m in (2, 10, 20, 100)]
    assert seeds == sorted(seeds)
    assert (seeds[0], seeds[-1]) == (3, 8)


def test_a_model_that_would_be_underfed_is_not_chosen() -> None:
    for minutes in (3, 20, 60):
        size = choose_size(config(minutes=minutes), NEED, core(4e10))
        fed = size.tokens(2.5, 0) / size.shape.parameters.total
        assert fed > 1.7 or size.shape.d_model == SHAPES[0][0]


def test_a_given_model_is_the_only_one_that_is_measured() -> None:
    asked: list[int] = []

    def measure(shape: ModelConfig) -> Rate:
        asked.append(shape.d_model)
        return Rate(10_000, 4.0)

    given = {"d_model": 160, "num_layers": 3}
    size = choose_size(config(minutes=20, model=given), NEED, measure)
    assert asked == [160]
    assert size.shape.num_layers == 3


@pytest.mark.parametrize("budget", ["2m tokens", "1e12 flops", "2 epochs"])
def test_other_units_become_tokens(budget: str) -> None:
    model = {"d_model": 64, "num_layers": 2}
    size = choose_size(config(budget=budget, model=model), NEED, unmeasured)
    flops = size.shape.training_flops_per_token
    wanted = {"tokens": 2e6, "flops": 1e12 / flops, "epochs": 2 * 300_000}
    assert size.tokens(2.5, 300_000) == wanted[size.budget.unit]


def test_resolved_settings_plan_the_same_without_measuring() -> None:
    asked = config(minutes=20)
    size = choose_size(asked, NEED, core(4e10))
    resolved = resolved_settings(asked, size, {})
    again = build(ExperimentConfig, resolved.model_dump(mode="json"))
    other = choose_size(again, NEED, unmeasured)
    assert (other.shape, other.seeds, other.budget) == (size.shape, size.seeds, size.budget)


@pytest.mark.parametrize("budget", ["1e13 flops", "1.25e21 flops", "2m bytes", "0.5 epochs"])
def test_a_resolved_budget_is_read_back(budget: str) -> None:
    asked = config(budget=budget)
    resolved = resolved_settings(asked, choose_size(asked, NEED, unmeasured), {})
    again = build(ExperimentConfig, resolved.model_dump(mode="json"))
    assert again.budget is not None
    assert Budget.parse(again.budget) == Budget.parse(budget)


def test_a_rate_multiplies_both_learning_rates_only() -> None:
    before = OptimizerSettings(learning_rate=0.02, matrix_learning_rate=0.04, weight_decay=0.1)
    after = at_rate(before, 0.5)
    assert after == before.model_copy(update={"learning_rate": 0.01, "matrix_learning_rate": 0.02})
    adamw = OptimizerSettings(kind="adamw", learning_rate=0.02)
    assert at_rate(adamw, 2.0).matrix_learning_rate is None
