"""What is dropped and why, and where the split lies."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from seedbed.data.cleaning import (
    Cleaner,
    content_hash,
    default_validation_fraction,
    validation_threshold,
)
from seedbed.data.documents import Document
from seedbed.data.near_duplicates import NearDuplicates
from seedbed.data.seen_hashes import SeenHashes
from seedbed.errors import DataError


def test_seen_hashes_is_a_set_beyond_what_it_holds_in_its_recent_part() -> None:
    values = np.random.default_rng(0).integers(1, 1 << 63, 100_000, np.uint64).tolist()
    seen = SeenHashes()
    assert all(seen.add(v) for v in values)
    assert not any(seen.add(v) for v in values)
    assert (1 << 63) + 5 not in seen


def test_broken_utf8_is_dropped_and_counted_but_not_when_it_is_the_rule() -> None:
    cleaner = Cleaner()
    for number in range(30):
        assert cleaner.encode(Document(f"fine {number}", "a.txt", number))
    assert cleaner.encode(Document("bro\udcffken", "a.txt", 31)) is None
    assert cleaner.drops.counts == {"broken UTF-8": 1}
    assert cleaner.drops.first == {"broken UTF-8": "a.txt line 31"}
    for number in range(29):
        assert cleaner.encode(Document(f"bro\udcffken {number}", "a.txt", number)) is None
    with pytest.raises(DataError, match=r"not valid UTF-8 \(the first: a.txt line 31\).*iconv"):
        cleaner.encode(Document("bro\udcffken", "a.txt", 99))


def test_nothing_is_dropped_as_a_copy_when_that_is_not_wanted() -> None:
    cleaner = Cleaner("none")
    assert [cleaner.encode(Document("same", "a", n)) for n in range(2)] == [b"same", b"same"]


def test_near_duplicates_are_found_and_different_stories_are_not(stories: list[str]) -> None:
    known = NearDuplicates()
    assert sum(known.add(s) for s in stories) > 0.95 * len(stories)
    changed = [s.replace(".", "!").replace(" the ", "  THE ") for s in stories]
    one_word_more = [f"{s} Indeed." for s in stories]
    assert not any(known.add(s) for s in changed)
    assert sum(known.add(s) for s in one_word_more) < 0.05 * len(stories)


@pytest.mark.parametrize(("similarity", "expected"), [(0.5, 0.06), (0.8, 0.95), (0.9, 1.0)])
def test_near_duplicates_are_found_as_often_as_is_documented(
    similarity: float, expected: float
) -> None:
    """Two texts that share all but the words after a point have a known Jaccard similarity."""
    runs, texts = 220, 200
    shared = round(runs * 2 * similarity / (1 + similarity))
    found = 0
    for number in range(texts):
        first = [f"w{number}a{n}" for n in range(runs + 4)]
        second = first[: shared + 4] + [f"w{number}b{n}" for n in range(runs - shared)]
        known = NearDuplicates()
        assert known.add(" ".join(first))
        found += not known.add(" ".join(second))
    spread = 3.5 * (expected * (1 - expected) / texts) ** 0.5 + 0.01
    assert found / texts == pytest.approx(expected, abs=spread)


def test_near_duplicates_without_datasketch_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(DataError, match=r'datasketch: pip install .*"\.\[data\]"'):
        Cleaner("near")


def test_the_threshold_leaves_a_document_on_each_side() -> None:
    for fraction in (1e-9, 0.1, 0.5, 1 - 1e-9):
        for hashes in ([1, 2], [1, 1, 1, 9], [1, 9, 9, 9], [3, 4, 4, 5, 6]):
            below = np.array(hashes, np.uint64) < validation_threshold(
                np.array(hashes, np.uint64), fraction
            )
            assert 0 < below.sum() < len(hashes)


def test_one_document_and_its_copies_cannot_be_split() -> None:
    with pytest.raises(DataError, match="--val SOURCE"):
        validation_threshold(np.array([4, 4, 4], np.uint64), 0.1)


def test_the_default_fraction_falls_from_a_tenth_to_half_a_percent() -> None:
    sizes = [10**n for n in range(3, 13)]
    fractions = [default_validation_fraction(size) for size in sizes]
    assert fractions == sorted(fractions, reverse=True)
    assert (fractions[0], fractions[-1]) == (0.1, 0.005)
    assert default_validation_fraction(50_000_000) * 50_000_000 == pytest.approx(2e6)


def test_a_content_hash_is_never_the_mark_of_a_dropped_document() -> None:
    assert all(content_hash(bytes([n])) > 0 for n in range(256))
