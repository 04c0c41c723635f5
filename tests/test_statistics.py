from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed.statistics import jackknife_standard_error, ratio_standard_error


def test_a_hand_worked_error() -> None:
    # Ratio 12 / 6 = 2; residuals 0, -2, 2; sqrt(3 / 2 * 8) / 6.
    assert ratio_standard_error([2, 2, 8], [1, 2, 3]) == pytest.approx(math.sqrt(12) / 6)


def test_of_equal_denominators_it_is_that_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(size=40)
    wanted = values.std(ddof=1) / math.sqrt(40)
    assert ratio_standard_error(values, np.ones(40)) == pytest.approx(wanted)
    assert ratio_standard_error(values * 7, np.full(40, 7.0)) == pytest.approx(wanted)


def test_it_is_what_a_bootstrap_finds() -> None:
    generator = np.random.default_rng(2)
    sizes = generator.lognormal(5, 1, 400)
    bits = sizes * generator.normal(1.5, 0.3, 400)
    draws = generator.integers(0, 400, (4000, 400))
    ratios = bits[draws].sum(1) / sizes[draws].sum(1)
    assert ratio_standard_error(bits, sizes) == pytest.approx(ratios.std(), rel=0.06)


def test_a_constant_ratio_has_no_error() -> None:
    sizes = np.array([1.0, 5.0, 9.0])
    assert ratio_standard_error(2 * sizes, sizes) == pytest.approx(0)


def test_one_unit_tells_nothing_of_the_error() -> None:
    assert math.isnan(ratio_standard_error([1.0], [1.0]))


def test_the_jackknife_of_a_mean_gives_the_usual_error() -> None:
    values = np.random.default_rng(0).normal(size=30)
    left_out = (values.sum() - values) / 29
    usual = values.std(ddof=1) / math.sqrt(30)
    assert jackknife_standard_error(left_out) == pytest.approx(usual)
    assert math.isnan(jackknife_standard_error([1.0]))
