"""Evaluation documents are found in a training text, and others are not."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from seedbed.data.dataset_texts import DatasetText
from seedbed.data.drops import Drops
from seedbed.data.overlap import ContaminationIndex, Match, Scan
from seedbed.data.word_runs import run_hashes, word_codes

WORDS = [f"w{number}" for number in range(3000)]


def texts(count: int, seed: int, words: int = 60) -> list[str]:
    """Return random texts that have nothing in common."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


def edited(text: str, rng: random.Random) -> str:
    """Return a text with other white space and letter case, as copying often leaves it."""
    words = [rng.choice((word, word.upper(), word.capitalize())) for word in text.split()]
    return "".join(word + rng.choice((" ", "  ", "\n", "\t ", ", ")) for word in words)


def test_planted_copies_are_found_and_nothing_else() -> None:
    evaluation, training, rng = texts(400, seed=1), texts(600, seed=2), random.Random(3)
    planted = sorted(rng.sample(range(400), 40))
    for number, document in enumerate(planted):
        copy = evaluation[document] if number % 2 else edited(evaluation[document], rng)
        training.insert(rng.randrange(len(training)), f"Before it. {copy} After it.")
    found = ContaminationIndex(evaluation).scan(training)
    assert [match.document for match in found] == planted
    assert {match.shared for match in found} == {1.0}


def test_planted_stories_are_found_among_other_stories(stories: list[str]) -> None:
    evaluation, training, rng = stories[:60], stories[60:], random.Random(4)
    copies = [edited(text, rng) for text in evaluation[::10]]
    index = ContaminationIndex(evaluation)
    assert [m.document for m in index.scan(training + copies)] == list(range(0, 60, 10))


def test_the_share_is_of_a_documents_different_runs_of_13_words() -> None:
    words = texts(1, seed=5, words=25)[0].split()  # 13 runs
    index = ContaminationIndex([" ".join(words)], near=False)
    assert index.runs.size == 13
    beginning = " ".join(words[:16])  # 4 of the runs
    assert index.scan([beginning]) == [Match(0, pytest.approx(4 / 13), near_duplicate=False)]
    assert index.scan([" ".join(words[:15])]) == []  # 3 of them are less than 30 %
    both = [" ".join(words[:15]), "x " + " ".join(words[12:])]  # 3 and 1
    assert index.scan(both) == [Match(0, pytest.approx(4 / 13), near_duplicate=False)]
    assert index.scan(both, at_least=0.4) == []


def test_an_almost_equal_document_is_a_near_duplicate_without_a_long_run() -> None:
    words = texts(1, seed=6, words=400)[0].split()
    changed = [f"new{n}" if n % 12 == 11 else word for n, word in enumerate(words)]
    runs_only = ContaminationIndex([" ".join(words)], near=False)
    assert runs_only.scan([" ".join(changed)]) == []
    once = [*words[:200], "other", *words[201:]]
    [match] = ContaminationIndex([" ".join(words)]).scan([" ".join(once)])
    assert match.near_duplicate
    assert match.shared == pytest.approx((388 - 13) / 388)


def test_a_short_document_is_found_as_a_whole_only() -> None:
    index = ContaminationIndex(["Yes, of course.", "No."], near=False)
    assert [m.document for m in index.scan(["yes of  course"])] == [0]
    assert index.scan(["Yes, of course. No."]) == []


def test_no_documents_on_either_side_is_no_match() -> None:
    assert ContaminationIndex([]).scan(["Anything."]) == []
    index = ContaminationIndex(texts(2, seed=7))
    assert index.scan([]) == []
    assert Scan(index).share_of_runs == 0


def test_runs_are_told_apart_by_each_word_and_their_order() -> None:
    codes = word_codes(" ".join(WORDS[:13]))
    assert run_hashes(codes, 13).size == 1
    others = [np.roll(codes, 1), codes[::-1], *(np.delete(codes, n) for n in range(13))]
    assert run_hashes(codes, 13)[0] not in {int(run_hashes(other, 13)[0]) for other in others}


def test_real_stories_planted_are_found_with_recall_of_99_per_cent(real_data: Path) -> None:
    folder = real_data / "tinystories"
    evaluation = list(DatasetText(str(folder / "valid.txt")).documents(Drops()))
    training = list(DatasetText(str(folder / "train.txt")).documents(Drops()))[:1000]
    index, rng = ContaminationIndex(evaluation), random.Random(8)
    before = {match.document for match in index.scan(training)}
    planted = set(range(0, len(evaluation), 10))
    copies = [edited(evaluation[n], rng) if n % 20 else evaluation[n] for n in planted]
    found = {match.document for match in index.scan(training + copies)}
    assert len(planted & found) >= 0.99 * len(planted)
    assert found - planted == before - planted
    assert len(before) < 0.05 * len(evaluation)
