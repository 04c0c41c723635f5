"""Simulated experiments: how often the verdicts are wrong where the truth is known.

Seeds are fixed; bounds are three Monte-Carlo standard errors from the nominal rate.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from seedbed.statistics import (
    PairVerdict,
    bootstrap_ratios,
    difference_errors,
    judge_pairs,
    largest_variance,
    pair_test,
    pooled_variance,
    top_set,
)

NAMES = "abcdefg"
SEEDS = 3
TABLES = 1200
SPREAD = 0.01  # between seeds, bits per byte
DOCUMENTS = 300


def judged(scores: NDArray[np.float64], margin: float | None = None) -> list[PairVerdict]:
    """Return verdicts on all pairs of a (datasets, seeds) table."""
    pooled = pooled_variance(list(scores))
    pairs = itertools.combinations(range(len(scores)), 2)
    tests = [pair_test(NAMES[i], NAMES[j], scores[i], scores[j], pooled) for i, j in pairs]
    return judge_pairs(tests, margin=margin)


def three_errors(rate: float, tables: int) -> float:
    return 3 * math.sqrt(rate * (1 - rate) / tables)


@pytest.fixture(scope="module")
def null_verdicts() -> list[list[PairVerdict]]:
    """Verdicts on experiments with seven datasets that are all alike, with three seeds each."""
    scores = np.random.default_rng(0).normal(2.6, SPREAD, (TABLES, len(NAMES), SEEDS))
    return [judged(table) for table in scores]


def test_the_pooled_test_rejects_at_its_nominal_rate(
    null_verdicts: list[list[PairVerdict]],
) -> None:
    rejected = np.array([[verdict.p <= 0.05 for verdict in table] for table in null_verdicts])
    shares = rejected.mean(1)  # the pairs of one experiment depend on each other
    error = shares.std() / math.sqrt(TABLES)
    assert error < 0.003
    assert shares.mean() == pytest.approx(0.05, abs=3 * error)


def test_holm_keeps_any_false_winner_below_alpha(null_verdicts: list[list[PairVerdict]]) -> None:
    corrected = np.mean([any(v.winner for v in table) for table in null_verdicts])
    plain = np.mean([any(v.p <= 0.05 for v in table) for table in null_verdicts])
    assert 0.02 < corrected < 0.05 + three_errors(0.05, TABLES)
    assert plain > 0.3  # what the correction is for


def test_simultaneous_intervals_hold_at_once(null_verdicts: list[list[PairVerdict]]) -> None:
    def miss(low: float, high: float) -> bool:
        return not low <= 0 <= high

    tables = null_verdicts
    together = np.mean(
        [any(miss(v.simultaneous_low, v.simultaneous_high) for v in t) for t in tables]
    )
    alone = np.mean([miss(v.low, v.high) for t in tables for v in t])
    assert 0.015 < together < 0.05 + three_errors(0.05, TABLES)
    assert alone == pytest.approx(0.05, abs=0.009)


def test_holm_holds_where_some_datasets_do_differ() -> None:
    # Three groups: a, b and c are alike, d and e, f and g.
    groups = np.repeat([2.6, 2.7, 2.8], [3, 2, 2])
    scores = np.random.default_rng(1).normal(groups[:, None], SPREAD, (TABLES // 3, 7, SEEDS))
    alike = {"ab", "ac", "bc", "de", "fg"}
    false, found, covered = [], [], []
    for table in scores:
        verdicts = judged(table)
        false.append(any(v.winner for v in verdicts if v.a + v.b in alike))
        found += [v.winner == v.a for v in verdicts if v.a + v.b not in alike]
        covered.append(set("abc") <= set(top_set(NAMES, verdicts)))
    assert 0.005 < np.mean(false) < 0.05 + three_errors(0.05, len(scores))
    assert np.mean(found) > 0.99
    assert np.mean(covered) > 0.95 - three_errors(0.05, len(scores))


def test_one_that_scatters_more_makes_pooling_too_sure() -> None:
    spreads = np.array([3.0, 1, 1, 1, 1, 1, 1])[:, None] * SPREAD
    scores = np.random.default_rng(6).normal(2.6, spreads, (600, len(NAMES), SEEDS))
    wrong = np.mean([any(v.winner for v in judged(table)) for table in scores])
    assert 0.05 + three_errors(0.05, 600) < wrong < 0.15  # what `pooled_variance` says of it


def test_one_that_scatters_more_is_found_and_seldom_where_there_is_none() -> None:
    spreads = np.full((len(NAMES), 1), SPREAD)
    for times, share in ((1, 0.05), (3, 0.45), (5, 0.7)):
        spreads[2] = times * SPREAD
        scores = np.random.default_rng(5).normal(2.6, spreads, (TABLES, len(NAMES), SEEDS))
        tests = [largest_variance(list(table)) for table in scores]
        found = np.mean([test is not None and test.p <= 0.05 for test in tests])
        assert found == pytest.approx(share, abs=0.05 if times > 1 else three_errors(share, TABLES))


def test_equivalence_is_said_of_a_difference_at_the_margin_at_its_nominal_rate() -> None:
    margin = 0.05
    centres = np.array([[2.6], [2.6 + margin]])
    scores = np.random.default_rng(2).normal(centres, SPREAD, (3000, 2, SEEDS))
    said = np.mean([judged(table, margin)[0].verdict == "equivalent" for table in scores])
    assert said == pytest.approx(0.05, abs=three_errors(0.05, 3000))


def document_bits(
    generator: np.random.Generator, *, luck: float, dataset_by_document: float
) -> NDArray[np.float64]:
    """Return bits per byte of two equal datasets, (2, seeds, documents), on documents of one byte.

    Each document is hard in its own measure for all, each dataset suits some documents and not
    others, each run has its luck on all documents and a little on each.
    """
    hard = generator.normal(2.6, 0.5, DOCUMENTS)
    suits = generator.normal(0, dataset_by_document, (2, 1, DOCUMENTS))
    runs = generator.normal(0, luck, (2, SEEDS, 1))
    return hard + suits + runs + generator.normal(0, 0.03, (2, SEEDS, DOCUMENTS))


def test_the_document_bootstrap_alone_takes_luck_for_truth() -> None:
    generator = np.random.default_rng(3)
    wrong = {"documents alone": 0, "seeds and documents": 0}
    for _ in range(250):
        bits = document_bits(generator, luck=SPREAD, dataset_by_document=0.0)
        scores = bits.mean(2)
        draws = bootstrap_ratios(bits.mean(1), np.ones(DOCUMENTS), draws=300)
        error = difference_errors(draws)[0, 1]
        difference = scores[0].mean() - scores[1].mean()
        test = pair_test(
            "a", "b", scores[0], scores[1], pooled_variance(list(scores)), document_error=error
        )
        wrong["documents alone"] += abs(difference) > 1.96 * error
        wrong["seeds and documents"] += test.p <= 0.05
    assert wrong["documents alone"] / 250 > 0.5
    assert wrong["seeds and documents"] / 250 < 0.05 + three_errors(0.05, 250)


def test_the_test_without_documents_takes_their_choice_for_truth() -> None:
    generator = np.random.default_rng(4)
    wrong = {"seeds alone": 0, "seeds and documents": 0}
    for _ in range(400):
        bits = document_bits(generator, luck=SPREAD / 2, dataset_by_document=0.1)
        scores = bits.mean(2)
        draws = bootstrap_ratios(bits.mean(1), np.ones(DOCUMENTS), draws=300)
        error = difference_errors(draws)[0, 1]
        pooled = pooled_variance(list(scores))
        wrong["seeds alone"] += pair_test("a", "b", scores[0], scores[1], pooled).p <= 0.05
        with_both = pair_test("a", "b", scores[0], scores[1], pooled, document_error=error)
        wrong["seeds and documents"] += with_both.p <= 0.05
    assert wrong["seeds alone"] / 400 > 0.2
    assert wrong["seeds and documents"] / 400 < 0.05 + three_errors(0.05, 400)
