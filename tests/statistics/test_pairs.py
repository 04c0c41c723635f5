from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed.statistics import (
    PairTest,
    PooledVariance,
    bootstrap_ratios,
    difference_errors,
    holm,
    judge_pairs,
    largest_variance,
    pair_test,
    pooled_variance,
    ratio_standard_error,
    t_interval,
    tost,
)

FIRST = [2.60, 2.62, 2.61]
SECOND = [2.65, 2.66, 2.70, 2.68]


def pair(difference: float, p: float, error: float = 0.01) -> PairTest:
    return PairTest("a", "b", difference, error, 14, p)


def test_the_pooled_variance_weighs_datasets_by_their_seeds() -> None:
    # Squares: 2, of 3 seeds; 6, of 3; 0, of a single one.
    assert pooled_variance([[1, 2, 3], [4, 4, 7], [9]]) == PooledVariance(8 / 4, 4)


def test_the_difference_of_datasets_is_no_part_of_the_variance() -> None:
    assert pooled_variance([[1, 2, 3], [101, 102, 103]]) == PooledVariance(1.0, 4)


def test_single_seeds_have_no_variance() -> None:
    pooled = pooled_variance([[1.0], [2.0]])
    assert math.isnan(pooled.variance)
    assert pooled.degrees_of_freedom == 0


def test_the_largest_variance_is_held_against_the_pooled_others() -> None:
    # Variances 12, 4 and, of one more seed, 1: F = 12 / ((2 x 4 + 3 x 1) / 5) on 2 and 5
    scores = [[2, 4, 6], [0, math.sqrt(12), 2 * math.sqrt(12)], [7], [1, 1, 1, 3]]
    found = largest_variance(scores)
    assert found is not None
    assert found.dataset == 1
    assert found.ratio == pytest.approx(math.sqrt(12 / 2.2))
    # I_x(5/2, 1) = x^(5/2) at x = 5 / (5 + 2 F), for three datasets
    assert found.p == pytest.approx(3 * (5 / (5 + 2 * 12 / 2.2)) ** 2.5)


def test_one_dataset_alone_has_nothing_to_be_held_against() -> None:
    assert largest_variance([[1, 2, 3], [4]]) is None
    found = largest_variance([[1, 2, 3], [4, 4, 4]])
    assert found is not None
    assert (found.ratio, found.p) == (math.inf, 0)


def test_two_datasets_alone_give_the_pooled_two_sample_test() -> None:
    # scipy.stats.ttest_ind(FIRST, SECOND): statistic and p-value
    statistic, p = -4.470943862227516, 0.006573516884062512
    test = pair_test("a", "b", FIRST, SECOND, pooled_variance([FIRST, SECOND]))
    assert test.difference / test.standard_error == pytest.approx(statistic, rel=1e-10)
    assert test.p == pytest.approx(p, rel=1e-9)
    assert (test.a, test.b, test.degrees_of_freedom) == ("a", "b", 5)


def test_the_error_of_documents_is_added_in_squares() -> None:
    pooled = PooledVariance(0.0006, 14)
    test = pair_test("a", "b", [2.0, 2.0], [2.1, 2.1, 2.1], pooled, document_error=0.03)
    assert test.standard_error == pytest.approx(math.sqrt(0.0006 * (1 / 2 + 1 / 3) + 0.0009))


def test_without_any_error_every_difference_is_sure() -> None:
    pooled = PooledVariance(0.0, 4)
    assert pair_test("a", "b", [2.0], [2.1], pooled).p == 0
    assert pair_test("a", "b", [2.0], [2.0], pooled).p == 1


def test_holms_adjustment_worked_by_hand() -> None:
    # 4 x .005, 3 x .01, 2 x .03, and .04 not below the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]).tolist() == [0.8, 0.9]
    assert holm([0.7, 0.8]).tolist() == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_equivalence_is_that_the_90_percent_interval_is_within_the_margin() -> None:
    for difference in (-0.04, 0.0, 0.03):
        low, high = t_interval(difference, 0.01, 14, alpha=0.10)
        margin = max(-low, high)  # just holds the interval
        assert tost(difference, 0.01, 14, margin=margin) == pytest.approx(0.05)


def test_a_difference_at_the_margin_is_as_likely_as_not() -> None:
    assert tost(0.05, 0.01, 14, margin=0.05) == pytest.approx(0.5)
    assert tost(-0.07, 0.01, 14, margin=0.05) > 0.9
    assert tost(0.01, 0.0, 14, margin=0.05) == 0


def test_verdicts() -> None:
    tests = [pair(-0.2, 0.0001), pair(0.001, 0.92), pair(0.04, 0.03), pair(0.3, 0.0001)]
    verdicts = judge_pairs(tests, margin=0.05)
    assert [v.verdict for v in verdicts] == ["better", "equivalent", "unresolved", "better"]
    assert [v.winner for v in verdicts] == ["a", None, None, "b"]
    assert [v.p_adjusted for v in verdicts] == pytest.approx([0.0004, 0.92, 0.06, 0.0004])


def test_a_sure_difference_within_the_margin_is_equivalent_and_has_a_winner() -> None:
    (verdict,) = judge_pairs([pair(-0.01, 0.0001, error=0.001)], margin=0.05)
    assert (verdict.verdict, verdict.winner) == ("equivalent", "a")


def test_nothing_is_equivalent_without_a_margin() -> None:
    (verdict,) = judge_pairs([pair(0.0, 1.0, error=1e-9)])
    assert (verdict.verdict, verdict.p_equivalent) == ("unresolved", None)


def test_more_pairs_ask_for_more() -> None:
    alone = judge_pairs([pair(-0.02, 0.03)])[0]
    among = judge_pairs([pair(-0.02, 0.03), pair(0.0, 1.0), pair(0.0, 1.0)])[0]
    assert (alone.verdict, among.verdict) == ("better", "unresolved")
    assert (alone.low, alone.high) == (among.low, among.high)
    assert alone.simultaneous_low == alone.low
    assert among.simultaneous_low < among.low < among.high < among.simultaneous_high


def test_equivalence_is_corrected_for_the_number_of_pairs() -> None:
    same = pair(0.0, 1.0)
    margin = t_interval(0.0, 0.01, 14, alpha=0.08)[1]  # p of equivalence 0.04
    assert judge_pairs([same], margin=margin)[0].verdict == "equivalent"
    assert judge_pairs([same, same], margin=margin)[0].verdict == "unresolved"


def test_intervals_worked_by_hand() -> None:
    (verdict,) = judge_pairs([pair(-0.02, 0.07)])
    assert verdict.low == pytest.approx(-0.02 - 2.144787 * 0.01, abs=1e-8)
    assert verdict.high == pytest.approx(-0.02 + 2.144787 * 0.01, abs=1e-8)


def test_swapping_the_pair_swaps_the_verdict() -> None:
    pooled = pooled_variance([FIRST, SECOND])
    one = judge_pairs([pair_test("a", "b", FIRST, SECOND, pooled)])[0]
    other = judge_pairs([pair_test("b", "a", SECOND, FIRST, pooled)])[0]
    assert one.winner == other.winner == "a"
    assert (one.difference, one.low, one.p) == (-other.difference, -other.high, other.p)


def test_what_makes_a_text_hard_for_both_is_no_error_of_their_difference() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.lognormal(5, 1, 300)
    hard = generator.normal(2.0, 0.5, 300)
    bits = sizes * np.stack([hard, hard + generator.normal(0.1, 0.02, 300)])
    errors = difference_errors(bootstrap_ratios(bits, sizes, draws=4000))
    wanted = ratio_standard_error(bits[1] - bits[0], sizes)
    assert errors[0, 1] == errors[1, 0] == pytest.approx(wanted, rel=0.06)
    assert errors[0, 1] < ratio_standard_error(bits[0], sizes) / 5


def test_the_error_of_an_average_over_texts_is_that_of_independent_texts() -> None:
    generator = np.random.default_rng(1)
    sizes = np.ones(200)
    texts = [generator.normal(2.0, spread, (2, 200)) for spread in (0.1, 0.3)]
    draws = [bootstrap_ratios(bits, sizes, draws=4000, seed=i) for i, bits in enumerate(texts)]
    single = [ratio_standard_error(bits[0] - bits[1], sizes) for bits in texts]
    error = difference_errors(np.mean(draws, axis=0))[0, 1]
    assert error == pytest.approx(math.hypot(*single) / 2, rel=0.06)
