from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed.statistics import (
    bootstrap_ratios,
    jackknife_standard_error,
    kendall_tau,
    ratio_standard_error,
    wilson_interval,
)


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


def test_the_bootstrap_of_ratios_has_the_linearised_error() -> None:
    generator = np.random.default_rng(3)
    sizes = generator.lognormal(5, 1, 400)
    bits = sizes * generator.normal(1.5, 0.3, (2, 400))
    draws = bootstrap_ratios(bits, sizes, draws=4000, seed=4)
    assert draws.shape == (4000, 2)
    for row in range(2):
        wanted = ratio_standard_error(bits[row], sizes)
        assert draws[:, row].std() == pytest.approx(wanted, rel=0.06)
        assert draws[:, row].mean() == pytest.approx(bits[row].sum() / sizes.sum(), abs=wanted / 5)


@pytest.mark.parametrize("units", [2, 3, 8])
def test_the_bootstrap_of_few_units_does_not_scatter_too_little(units: int) -> None:
    bits = np.random.default_rng(8).normal(2.0, 0.3, units)
    error = bits.std(ddof=1) / math.sqrt(units)
    draws = bootstrap_ratios(bits, np.ones(units), draws=20_000)
    assert draws.std() == pytest.approx(error, rel=0.02)
    assert draws.mean() == pytest.approx(bits.mean(), abs=error / 20)


def test_a_bootstrap_of_one_unit_tells_nothing() -> None:
    assert np.isnan(bootstrap_ratios([[3.0], [4.0]], [2.0], draws=3)).all()


def test_rows_of_a_bootstrap_see_the_same_units() -> None:
    generator = np.random.default_rng(5)
    sizes = generator.lognormal(5, 1, 50)
    bits = sizes * generator.normal(1.5, 0.3, 50)
    draws = bootstrap_ratios([bits, bits + 0.1 * sizes], sizes, draws=100)
    assert np.ptp(draws[:, 0]) > 0.01
    assert draws[:, 1] - draws[:, 0] == pytest.approx(np.full(100, 0.1))


def test_a_bootstrap_is_the_same_again_and_another_with_another_seed() -> None:
    bits, sizes = np.arange(1.0, 30), np.arange(1.0, 30) ** 2
    first = bootstrap_ratios(bits, sizes, draws=20, seed=[1, 2])
    assert np.array_equal(first, bootstrap_ratios(bits, sizes, draws=20, seed=[1, 2]))
    assert not np.array_equal(first, bootstrap_ratios(bits, sizes, draws=20, seed=[1, 3]))


def test_a_bootstrap_in_many_steps_draws_all_units_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.statistics.estimates._MOST_DRAWN", 70)
    draws = bootstrap_ratios(
        np.eye(10), np.ones(10), draws=1001
    )  # each row: how often one is drawn
    assert draws.sum(1) == pytest.approx(np.ones(1001))
    assert draws.mean(0) == pytest.approx(np.full(10, 0.1), abs=5 * math.sqrt(0.01 / 1001))


# scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
@pytest.mark.parametrize(
    ("successes", "trials", "interval"),
    [
        (0, 10, (0.0, 0.27753279986288926)),
        (7, 10, (0.39677814746114526, 0.892208732593699)),
        (1, 3, (0.06149194472039626, 0.7923403991979523)),
        (500, 1000, (0.4690696003681042, 0.5309303996318958)),
        (10, 10, (0.7224672001371109, 1.0)),
    ],
)
def test_wilson_intervals_are_scipys(
    successes: int, trials: int, interval: tuple[float, float]
) -> None:
    assert wilson_interval(successes, trials) == pytest.approx(interval, abs=1e-12)


def test_no_trials_tell_nothing_of_a_share() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_kendalls_tau_counts_pairs_and_corrects_for_ties() -> None:
    assert kendall_tau([1, 2, 3, 4], [2, 4, 6, 9]) == pytest.approx(1)
    assert kendall_tau([1, 2, 3, 4], [9, 6, 4, 2]) == pytest.approx(-1)
    # Of six pairs, 4 agree, 1 is opposite, 1 is tied in the second: 3 / sqrt(6 * 5).
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 3]) == pytest.approx(3 / math.sqrt(30))
    assert math.isnan(kendall_tau([1, 2], [3, 3]))
