"""Counts of hashes are exact until memory is full, and good estimates from then on."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed.data.duplicates import Sketches, exact_clusters
from seedbed.data.estimates import Estimate, estimate, mean_of, ratio
from seedbed.data.hash_counts import HashCounts
from seedbed.data.near_duplicates import Sketcher
from seedbed.data.word_runs import Hashes, word_codes


def counted(*parts: Hashes, capacity: int = 1 << 19) -> HashCounts:
    counts = HashCounts(capacity)
    for part in parts:
        counts.add(part)
    return counts


def hashes(low: int, high: int) -> Hashes:
    """Return fixed random hashes: those numbered from `low` to `high` of an endless row."""
    return np.random.default_rng(0).integers(0, 1 << 63, high, np.uint64)[low:] * np.uint64(2)


def test_counts_are_exact_while_they_fit() -> None:
    counts = counted(hashes(0, 900), hashes(500, 900), hashes(500, 600), capacity=1000)
    assert counts.is_exact
    assert (counts.total, counts.distinct) == (1400, 900)
    assert counts.share_of_copies() == 500 / 1400
    assert sorted(set(counts.counts.tolist())) == [1, 2, 3]


def test_estimates_hold_the_truth_when_they_no_longer_fit() -> None:
    everything = hashes(0, 60_000)
    counts = counted(*np.split(everything, 60), hashes(0, 20_000), capacity=5000)
    assert not counts.is_exact
    assert counts.values.size <= 5000
    assert counts.total == 80_000
    assert counts.distinct == pytest.approx(60_000, rel=0.05)
    share = counts.share_of_copies()
    assert isinstance(share, Estimate)
    assert share.value == pytest.approx(0.25, abs=0.02)
    assert share.low < share.value < share.high


@pytest.mark.parametrize("capacities", [(5000, 5000), (5000, 2000), (2000, 100_000)])
def test_what_two_sets_have_in_common_is_seen_however_far_each_is_thinned(
    capacities: tuple[int, int],
) -> None:
    a = counted(hashes(0, 40_000), capacity=capacities[0])
    b = counted(hashes(30_000, 60_000), capacity=capacities[1])
    for one, other, truth in ((a, b, 1 / 4), (b, a, 1 / 3)):
        share = one.share_in(other)
        assert isinstance(share, Estimate)
        assert share.low - 0.01 <= truth <= share.high + 0.01


def test_groups_of_equal_documents_by_size() -> None:
    sizes = [1, 1, 2, 2, 3, 7, 120]
    counts = counted(np.repeat(hashes(0, len(sizes)), sizes))
    clusters = exact_clusters(counts)
    assert (clusters.examined, clusters.groups, clusters.largest) == (136, 5, 120)
    assert clusters.copies == pytest.approx(129 / 136)
    assert clusters.sizes == {"2": 2, "3": 1, "5-9": 1, "100 or more": 1}


def test_near_duplicates_are_in_one_group_and_others_alone(stories: list[str]) -> None:
    sketcher, sketches = Sketcher(), Sketches()
    for text in [*stories[:20], stories[0].upper(), stories[1] + " The end.", stories[0] + " So."]:
        sketches.add(sketcher.bands(word_codes(text)))
    clusters = sketches.clusters()
    assert clusters.sizes == {"2": 1, "3": 1}
    assert clusters.copies == pytest.approx(3 / 23)
    other = Sketches()
    other.add(sketcher.bands(word_codes(stories[1])))
    assert sketches.share_in(other) == pytest.approx(2 / 23)
    assert Sketches().share_in(other) is None


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    found = mean_of(values)
    assert found is not None
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)  # 2 SD / sqrt(n)


def test_more_units_than_are_drawn_do_not_change_the_interval() -> None:
    values = np.random.default_rng(2).normal(0, 1, 50_000)
    found = mean_of(values)
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 / 50_000**0.5, rel=0.15)


def test_nothing_to_divide_by_is_no_figure_and_one_unit_has_no_interval() -> None:
    assert estimate({"a": [0], "b": [0]}, {"a/b": ratio("a", "b")}) == {"a/b": None}
    assert mean_of([3.0]) == Estimate(3.0, None, None)
