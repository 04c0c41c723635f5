from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from seedbed.statistics import (
    PairTest,
    PairVerdict,
    PooledVariance,
    best_chances,
    judge_pairs,
    rank_intervals,
    student_t_survival,
    top_set,
)


def verdicts(**winners: float) -> list[PairVerdict]:
    """Return verdicts on pairs named `ab`: below zero the first has won, above it the second."""
    tests = [
        PairTest(pair[0], pair[1], way, 1.0, 9, 0.0 if way else 1.0)
        for pair, way in winners.items()
    ]
    return judge_pairs(tests)


def test_ranks_are_bounded_by_wins_and_losses() -> None:
    decided = verdicts(ab=0, ac=-1, ad=-1, bc=0, bd=-1, cd=0)
    assert rank_intervals("abcd", decided) == {"a": (1, 2), "b": (1, 3), "c": (2, 4), "d": (3, 4)}
    assert top_set("abcd", decided) == ["a", "b"]


def test_a_pair_named_the_other_way_round_counts_the_same() -> None:
    assert rank_intervals("ab", verdicts(ba=1)) == {"a": (1, 1), "b": (2, 2)}


def test_when_all_pairs_are_decided_ranks_are_certain() -> None:
    pairs = {a + b: -1 for a, b in itertools.combinations("abcde", 2)}
    ranks = rank_intervals("abcde", verdicts(**pairs))
    assert list(ranks.values()) == [(r, r) for r in range(1, 6)]
    assert top_set("abcde", verdicts(**pairs)) == ["a"]


def test_an_equivalent_pair_with_a_winner_counts_for_ranks() -> None:
    tests = [PairTest("a", "b", -0.01, 0.001, 14, 0.0)]
    (verdict,) = judge_pairs(tests, margin=1.0)
    assert verdict.verdict == "equivalent"
    assert top_set("ab", [verdict]) == ["a"]


def test_the_chances_of_two_are_those_of_their_difference() -> None:
    # The difference is a t with the scale s sqrt(2 / S), so P(best) is its distribution function,
    # and the regret E max(0, X) of X = d + scale t: d F(z) + scale (nu + z^2) / (nu - 1) f(z).
    nu, gap = 6, 0.008
    scale = 0.01 * math.sqrt(2 / 3)
    z = gap / scale
    density = math.gamma(3.5) / math.gamma(3) / math.sqrt(nu * math.pi) * (1 + z * z / nu) ** -3.5
    chances = best_chances([2.6, 2.6 + gap], [3, 3], PooledVariance(0.0001, nu), draws=40_000)
    assert chances.p_best[0] == pytest.approx(student_t_survival(-z, nu), abs=0.006)
    assert chances.p_best.sum() == pytest.approx(1)
    wanted = gap * student_t_survival(-z, nu) + scale * (nu + z * z) / (nu - 1) * density
    assert chances.expected_regret[1] == pytest.approx(wanted, rel=0.02)
    assert chances.expected_regret[0] == pytest.approx(wanted - gap, rel=0.1)


def test_equals_have_equal_chances_and_more_seeds_less_scatter() -> None:
    pooled = PooledVariance(0.0001, 14)
    equal = best_chances(np.full(4, 2.6), np.full(4, 3), pooled)
    assert equal.p_best == pytest.approx(np.full(4, 0.25), abs=0.02)
    more = best_chances(np.full(4, 2.6), np.full(4, 12), pooled)
    assert more.expected_regret == pytest.approx(equal.expected_regret / 2)


def test_the_choice_of_documents_adds_doubt_unless_it_moves_all_alike() -> None:
    pooled = PooledVariance(0.0001, 14)
    generator = np.random.default_rng(0)
    means, seeds = [2.6, 2.61], [3, 3]
    without = best_chances(means, seeds, pooled).p_best[0]
    scattered = generator.normal(2.6, 0.02, (999, 2))
    apart = best_chances(means, seeds, pooled, document_draws=scattered)
    alike = np.repeat(generator.normal(2.6, 0.02, (999, 1)), 2, axis=1)
    together = best_chances(means, seeds, pooled, document_draws=alike)
    assert apart.p_best[0] < without - 0.1
    regrets = apart.expected_regret
    assert regrets[1] - regrets[0] == pytest.approx(0.01, abs=0.001)  # that of the means
    assert together.p_best[0] == pytest.approx(without)


def test_chances_are_the_same_again() -> None:
    pooled = PooledVariance(0.0001, 14)
    once, again = (best_chances([2.6, 2.61], [3, 3], pooled, seed=5) for _ in range(2))
    assert once.p_best.tolist() == again.p_best.tolist()
