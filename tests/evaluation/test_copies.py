from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from seedbed.evaluation import copies
from seedbed.evaluation.copies import find_copies


def slow_lengths(text: str, training: Sequence[str]) -> list[int]:
    """Return the longest run from each word, by trying every place of the training text."""
    words, documents = text.split(), [document.split() for document in training]
    lengths = [0] * len(words)
    for start in range(len(words)):
        for document in documents:
            for place in range(len(document)):
                pairs = zip(words[start:], document[place:], strict=False)
                same = 0
                for left, right in pairs:
                    if left != right:
                        break
                    same += 1
                lengths[start] = max(lengths[start], same)
    return lengths


def sentence(source: random.Random, letters: str, longest: int) -> str:
    return " ".join(source.choice(letters) for _ in range(source.randint(0, longest)))


def test_runs_are_those_of_trying_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_CHUNK_WORDS", 30)  # several chunks
    source = random.Random(0)
    for _ in range(150):
        letters = "abcdefgh"[: source.randint(1, 8)]
        texts = [sentence(source, letters, 20) for _ in range(source.randint(0, 4))]
        training = [sentence(source, letters + "xy", 25) for _ in range(source.randint(0, 5))]
        found = [copy.lengths.tolist() for copy in find_copies(texts, training)]
        assert found == [slow_lengths(text, training) for text in texts]


def test_a_run_stays_within_a_training_document_and_a_text() -> None:
    first, second = find_copies(["a b c d", "e f"], ["a b", "c d e f"])
    assert first.lengths.tolist() == [2, 1, 2, 1]
    assert second.lengths.tolist() == [2, 1]


def test_the_longest_run_is_told_in_words() -> None:
    [found] = find_copies(["Then the fox\nran off ."], ["So the  fox ran on ."])
    assert (found.longest, found.longest_run) == (3, "the fox ran")


def test_words_in_runs_are_counted_once_where_runs_overlap() -> None:
    # "a b c" and "b c d" are copied, "a b c d" is not.
    [found] = find_copies(["a b c d e"], ["a b c x", "b c d y"])
    assert found.lengths.tolist() == [3, 3, 2, 1, 0]
    assert [found.words_in_runs(n) for n in (1, 3, 4)] == [4, 4, 0]


def test_an_empty_text_shares_nothing() -> None:
    [found] = find_copies([" "], ["a b"])
    assert (found.longest, found.longest_run, found.words_in_runs(1)) == (0, "", 0)
    assert find_copies([], ["a b"]) == []
