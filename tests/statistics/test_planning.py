from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed.statistics import (
    PooledVariance,
    minimum_detectable_difference,
    seeds_to_resolve,
    student_t_quantile,
    text_to_resolve,
)

POOLED = PooledVariance(0.0001, 14)


def test_the_minimum_detectable_difference_worked_by_hand() -> None:
    # t_.975 = 2.144787 and t_.80 = 0.868055 of 14 degrees of freedom, from tables
    wanted = (2.144787 + 0.868055) * math.sqrt(2 * 0.0001 / 3 + 0.005**2)
    found = minimum_detectable_difference(POOLED, 3, document_error=0.005)
    assert found == pytest.approx(wanted, rel=1e-6)


def test_it_is_found_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    error = 0.01 * math.sqrt(2 / 3)
    differences = generator.normal(minimum_detectable_difference(POOLED, 3), error, 40_000)
    spreads = np.sqrt(generator.chisquare(14, 40_000) / 14)
    found = np.abs(differences) > student_t_quantile(0.975, 14) * error * spreads
    assert found.mean() == pytest.approx(0.80, abs=0.01)


def test_more_pairs_need_a_larger_difference() -> None:
    alone = minimum_detectable_difference(POOLED, 3)
    among = minimum_detectable_difference(POOLED, 3, comparisons=21)
    ratio = (student_t_quantile(1 - 0.025 / 21, 14) + student_t_quantile(0.8, 14)) / 3.012842
    assert among / alone == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("difference", [0.006, -0.012, 0.02, 0.2])
def test_the_seeds_to_resolve_are_the_fewest_that_do(difference: float) -> None:
    seeds = seeds_to_resolve(difference, 0.0001, datasets=7, document_error=0.001, comparisons=21)
    assert seeds is not None

    def smallest(seeds: int) -> float:
        pooled = PooledVariance(0.0001, 7 * (seeds - 1))
        return minimum_detectable_difference(pooled, seeds, document_error=0.001, comparisons=21)

    assert smallest(seeds) <= abs(difference)
    assert seeds == 2 or smallest(seeds - 1) > abs(difference)


def test_the_seeds_to_resolve_count_the_degrees_of_freedom_they_bring() -> None:
    # Two datasets with three seeds: (2.776 + 0.941) sqrt(2 / 3) 0.01 = 0.0303, on 4 degrees
    assert seeds_to_resolve(0.0305, 0.0001, datasets=2) == 3
    assert seeds_to_resolve(0.0300, 0.0001, datasets=2) == 4


def test_no_seeds_resolve_what_the_documents_hide_and_more_text_does() -> None:
    def seeds(document_error: float) -> int | None:
        return seeds_to_resolve(
            0.01, 0.0001, datasets=4, document_error=document_error, comparisons=6
        )

    assert seeds(0.004) is None
    times = text_to_resolve(0.01, 0.004, comparisons=6)
    assert times > 1
    smaller = 0.004 / math.sqrt(times)
    assert seeds(smaller) is not None
    assert text_to_resolve(0.01, smaller, comparisons=6) == pytest.approx(1)


def test_nothing_resolves_no_difference() -> None:
    assert seeds_to_resolve(0.0, 0.0001, datasets=4) is None
    assert text_to_resolve(0.0, 0.004) == math.inf


def test_text_that_suffices_need_not_grow() -> None:
    assert text_to_resolve(0.1, 0.001) == 1
