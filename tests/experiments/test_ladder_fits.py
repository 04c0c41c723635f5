from __future__ import annotations

import numpy as np
import pytest

from seedbed.experiments.ladder_fits import (
    Ladder,
    ScalingLaw,
    back_test,
    bootstrap_laws,
    fit_scaling_law,
    foretell,
    foretell_order,
)

TRUE = ScalingLaw(1.1, 60.0, 900.0, 0.4, 0.5)
SIZES, AMOUNTS = (5e4, 1e5, 2e5, 4e5), (2.5e5, 5e5, 1e6, 2e6)
SD = 0.004  # of a run's log loss


def ladder_of(
    law: ScalingLaw, *, seed: int, sd: float = SD, seeds: int = 3, cells: int = 16
) -> Ladder:
    sizes, amounts = (grid.ravel() for grid in np.meshgrid(SIZES, AMOUNTS, indexing="ij"))
    generator = np.random.default_rng(seed)
    losses = law(sizes, amounts)[:, None] * np.exp(generator.normal(0.0, sd, (16, seeds)))
    return Ladder(sizes[-cells:], amounts[-cells:], list(losses[-cells:]))


def test_the_law_is_found_again_where_nothing_is_left_to_chance() -> None:
    law = fit_scaling_law(ladder_of(TRUE, seed=0, sd=0.0))
    assert law.alpha == pytest.approx(TRUE.alpha, rel=0.01)
    assert law.beta == pytest.approx(TRUE.beta, rel=0.01)
    assert law.irreducible == pytest.approx(TRUE.irreducible, rel=0.01)
    assert float(law(1e7, 1e9)) == pytest.approx(float(TRUE(1e7, 1e9)), rel=1e-3)


def test_one_run_that_went_wrong_does_not_bend_the_law() -> None:
    ladder = ladder_of(TRUE, seed=0, sd=0.0)
    ladder.runs[3][:] *= 1.2
    law = fit_scaling_law(ladder)
    assert float(law(1.6e6, 8e6)) == pytest.approx(float(TRUE(1.6e6, 8e6)), rel=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    trials = 20
    held = 0
    for seed in range(trials):
        ladder = ladder_of(TRUE, seed=seed)
        draws = bootstrap_laws(ladder, draws=60, seed=seed)
        found = foretell(fit_scaling_law(ladder), draws, 1.6e6, 8e6, alpha=0.1)
        held += found.low <= float(TRUE(1.6e6, 8e6)) <= found.high
    assert held >= 0.75 * trials


def test_a_law_that_misses_the_cells_gets_wide_intervals() -> None:
    ladder = ladder_of(TRUE, seed=1, sd=0.001)
    bumps = np.exp(np.random.default_rng(7).normal(0.0, 0.02, 16))
    bumpy = Ladder(
        ladder.sizes, ladder.amounts, [r * b for r, b in zip(ladder.runs, bumps, strict=True)]
    )
    plain, wide = (
        foretell(fit_scaling_law(one), bootstrap_laws(one, draws=100), 1.6e6, 8e6, alpha=0.1)
        for one in (ladder, bumpy)
    )
    assert wide.high - wide.low > 3 * (plain.high - plain.low)


def test_one_seed_of_each_cell_still_has_an_interval() -> None:
    ladder = ladder_of(TRUE, seed=2, seeds=1)
    draws = bootstrap_laws(ladder, draws=50)
    found = foretell(fit_scaling_law(ladder), draws, 1.6e6, 8e6, alpha=0.1)
    assert found.low < found.predicted < found.high


def test_the_top_is_foretold_from_the_others() -> None:
    ladder = ladder_of(TRUE, seed=3)
    tested = back_test(ladder, alpha=0.05)
    assert tested is not None
    observed, foretold = tested
    assert observed == pytest.approx(float(ladder.losses[-1]))
    assert foretold.predicted == pytest.approx(observed, rel=0.02)
    assert back_test(ladder_of(TRUE, seed=3, cells=6), alpha=0.05) is None


def test_the_back_test_allows_for_the_luck_of_the_runs_at_the_top() -> None:
    ladder = ladder_of(TRUE, seed=4, sd=0.02)
    tested = back_test(ladder, alpha=0.1)
    assert tested is not None
    others, top = ladder.without(ladder.top), (SIZES[-1], AMOUNTS[-1])
    law = foretell(fit_scaling_law(others), bootstrap_laws(others), *top, alpha=0.1)
    of_three_runs = 2 * 1.645 * 0.02 / np.sqrt(3) * law.predicted
    wanted = np.hypot(law.high - law.low, of_three_runs)
    assert wanted > 1.1 * (law.high - law.low)
    assert tested[1].high - tested[1].low == pytest.approx(wanted, rel=0.1)
    assert tested[1].predicted == law.predicted


def test_an_order_among_many_has_to_be_surer_than_one_alone() -> None:
    laws = dict.fromkeys("abcd", TRUE)
    better = [ScalingLaw(1.1 + 0.02 * at, 60.0, 900.0, 0.4, 0.5) for at in range(-97, 3)]
    draws = {"a": better, **{name: [TRUE] * 100 for name in "bcd"}}  # 3 of 100 are not better
    alone = foretell_order({n: laws[n] for n in "ab"}, draws, 1e7, 1e8, alpha=0.1)
    among = foretell_order(laws, draws, 1e7, 1e8, alpha=0.1)
    assert (alone[0].order, among[0].order) == ("holds", "not known")
    assert among[0].high > alone[0].high


def test_orders_hold_turn_round_or_are_not_known() -> None:
    worse = ScalingLaw(1.25, 60.0, 900.0, 0.4, 0.5)
    steeper = ScalingLaw(0.8, 90.0, 900.0, 0.4, 0.5)  # worse when small, better when large
    laws = {"first": TRUE, "same": TRUE, "worse": worse, "steeper": steeper}
    ladders = {name: ladder_of(law, seed=20 + at) for at, (name, law) in enumerate(laws.items())}
    fitted = {name: fit_scaling_law(ladder) for name, ladder in ladders.items()}
    draws = {
        name: bootstrap_laws(ladder, draws=60, seed=at)
        for at, (name, ladder) in enumerate(ladders.items())
    }
    pairs = foretell_order(fitted, draws, 1e7, 1e8, alpha=0.05)
    orders = {(pair.a, pair.b): pair.order for pair in pairs}
    assert orders["first", "worse"] == "holds"
    assert orders["first", "steeper"] == "turns round"
    assert orders["first", "same"] == "not known"
    assert len(pairs) == 6
