from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seedbed.data.cleaning import Dedup, content_hash
from seedbed.data.pieces import ReadOptions
from seedbed.errors import DataError
from seedbed.experiments.texts import Contents, Text, hold_out, longest_scored, repeat_to
from small_experiment import write_stories


def contents(sizes: list[int]) -> Contents:
    return Contents(np.arange(1, len(sizes) + 1, dtype=np.uint64), np.array(sizes, np.int64))


def read(path: Path, dedup: Dedup = "exact") -> Text:
    return Text("a", [str(path)], options=ReadOptions(), dedup=dedup)


def test_a_survey_finds_each_different_document(tmp_path: Path) -> None:
    stories = write_stories(tmp_path / "a.txt", 60, seed=1, also=["One twice."] * 2)
    text = read(tmp_path / "a.txt")
    found = text.survey(at_least=10)
    assert set(found.hashes.tolist()) == {
        content_hash(s.encode()) for s in [*stories, "One twice."]
    }
    assert found.bytes == sum(len(s.encode()) for s in [*stories, "One twice."])
    assert text.drops.counts == {"exact duplicate": 1}


@pytest.mark.parametrize(("dedup", "copies"), [("exact", 1), ("none", 2)])
def test_copies_are_read_as_often_as_cleaning_keeps_them(
    tmp_path: Path, dedup: Dedup, copies: int
) -> None:
    write_stories(tmp_path / "a.txt", 60, seed=1, also=["One twice."] * 2)
    text = read(tmp_path / "a.txt", dedup)
    text.survey(at_least=10)
    key = content_hash(b"One twice.")
    assert list(text.read({key})) == [(key, "One twice.")] * copies


def test_a_text_that_changes_between_readings_is_refused(tmp_path: Path) -> None:
    write_stories(tmp_path / "a.txt", 60, seed=1)
    text = read(tmp_path / "a.txt")
    wanted = text.survey(at_least=10).hashes.tolist()
    write_stories(tmp_path / "a.txt", 60, seed=2)
    with pytest.raises(DataError, match="changed while it was read"):
        list(text.read(wanted))


def test_too_few_documents_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One short text.")
    with pytest.raises(DataError, match="has 1 different document, but 10"):
        read(tmp_path / "a.txt").survey(at_least=10)


def test_held_out_are_the_lowest_hashes_within_the_bytes_and_the_share() -> None:
    assert hold_out(contents([10] * 1000), 200).hashes.tolist() == list(range(1, 21))
    assert len(hold_out(contents([10] * 100), 500)) == 10  # a tenth of the text
    assert len(hold_out(contents([10] * 100), 500, share=1.0)) == 50


def test_of_long_documents_a_beginning_is_scored_so_that_there_are_several() -> None:
    books = contents([1_000_000] * 400)
    held_out = hold_out(books, 200_000)
    assert len(held_out) == 20
    assert 20 * longest_scored(200_000) == 200_000


def test_parts_are_disjoint_and_about_equal() -> None:
    sizes = np.random.default_rng(0).integers(100, 2000, 3000).tolist()
    parts = contents(sizes).shuffled(seed=5).parts(3)
    hashes = [set(part.hashes.tolist()) for part in parts]
    assert sum(map(len, hashes)) == len(set.union(*hashes)) == 3000
    assert max(p.bytes for p in parts) - min(p.bytes for p in parts) <= 2 * 2000


def test_the_order_follows_from_contents_and_seed_alone() -> None:
    some = contents(list(range(1, 200)))
    backwards = some.take(np.arange(len(some))[::-1].copy())
    assert some.shuffled(1).hashes.tolist() == backwards.shuffled(1).hashes.tolist()
    assert some.shuffled(1).hashes.tolist() != some.shuffled(2).hashes.tolist()


def test_a_short_text_is_repeated_evenly_in_a_mixture() -> None:
    times = repeat_to(contents([10] * 10), 250)
    assert sum(times.values()) == 25
    assert set(times.values()) == {2, 3}


def test_of_the_last_document_of_a_share_its_beginning_is_taken() -> None:
    books = contents([400_000] * 20)
    assert repeat_to(books, 20_000) == {1: 0.05}
    assert repeat_to(books, 900_000) == {1: 1, 2: 1, 3: 0.25}
