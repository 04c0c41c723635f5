from __future__ import annotations

import numpy as np
import pytest

from seedbed.config import build
from seedbed.experiments.config import DatasetSettings
from seedbed.experiments.portions import ALL, SLACK, portions
from seedbed.experiments.texts import Contents

PLAIN = build(DatasetSettings, {"sources": "a.txt"})


def text(first: int, documents: int) -> Contents:
    hashes = np.arange(first, first + documents, dtype=np.uint64)
    return Contents(hashes, np.full(documents, 100, np.int64))


def test_each_replicate_of_a_large_text_has_documents_of_its_own() -> None:
    parts = portions("a", PLAIN, {"a": text(0, 900)}, seeds=3, need=10_000, max_epochs=4)
    assert [part.part for part in parts] == ["0", "1", "2"]
    taken = [set(part.times["a"]) for part in parts]
    assert len(set.union(*taken)) == sum(map(len, taken))
    assert all(len(own) == 100 * SLACK for own in taken)  # no more than a run reads


def test_a_text_that_runs_would_repeat_too_often_is_shared_by_all() -> None:
    training = {"a": text(0, 90)}  # parts of 3,000 bytes
    enough = portions("a", PLAIN, training, seeds=3, need=12_000, max_epochs=4)
    assert len(enough) == 3
    [shared] = portions("a", PLAIN, training, seeds=3, need=12_001, max_epochs=4)
    assert shared.part == ALL
    assert len(shared.times["a"]) == 90


def test_epochs_are_of_all_there_is() -> None:
    parts = portions("a", PLAIN, {"a": text(0, 90)}, seeds=3, need=None, max_epochs=4)
    assert [len(part.times["a"]) for part in parts] == [30, 30, 30]


def test_a_mixture_has_its_shares_and_repeats_what_is_short() -> None:
    mixture = build(DatasetSettings, {"mixture": {"a": 3, "b": 1}})
    training = {"a": text(0, 2000), "b": text(5000, 20)}  # parts of 100,000 and 1,000 bytes
    parts = portions("m", mixture, training, seeds=2, need=10_000, max_epochs=4)
    assert len(parts) == 2
    sizes = {of: 100 * sum(times.values()) for of, times in parts[0].times.items()}
    assert sizes == {"a": pytest.approx(7_500 * SLACK), "b": pytest.approx(2_550)}
    assert set(parts[0].times["b"].values()) == {2, 2.5, 3}
    assert parts[0].repeats == pytest.approx(2.55)
    assert not set(parts[0].times["b"]) & set(parts[1].times["b"])


def test_a_mixture_is_shared_where_one_of_its_texts_is_too_small() -> None:
    mixture = build(DatasetSettings, {"mixture": {"a": 1, "b": 1}})
    training = {"a": text(0, 2000), "b": text(5000, 10)}
    [shared] = portions("m", mixture, training, seeds=2, need=10_000, max_epochs=4)
    assert shared.part == ALL
    assert shared.repeats == pytest.approx(5_000 * SLACK / 1000)


def test_a_mixture_of_epochs_ends_with_the_text_that_ends_first() -> None:
    mixture = build(DatasetSettings, {"mixture": {"a": 1, "b": 1}})
    training = {"a": text(0, 2000), "b": text(5000, 10)}
    parts = portions("m", mixture, training, seeds=2, need=None, max_epochs=4)
    assert [{of: len(t) for of, t in part.times.items()} for part in parts] == [
        {"a": 5, "b": 5}
    ] * 2
