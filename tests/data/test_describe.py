"""A description says what is there, and what is wrong with a dataset shows in it."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from seedbed.data import filters
from seedbed.data.dataset_counts import DatasetCounts
from seedbed.data.dataset_texts import dataset_names
from seedbed.data.describe import describe
from seedbed.data.description_table import show, tables
from seedbed.data.estimates import Estimate
from seedbed.data.samples import sample_stories
from seedbed.errors import ConfigError, DataError, how_to_install
from seedbed.tokenizers.simple import ByteTokenizer

Write = Callable[[str, list[str]], str]

TEXTS = [
    "The cat sat. It saw a dog!\n\nThe dog ran.",
    "One line.\nOne line.\nAnother line, number 3.",
    "The cat sat. It saw a dog!\n\nThe dog ran.",
    "Über café.",
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes documents to a file and gives its path."""

    def documents(name: str, texts: list[str]) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return str(path)

    return documents


def shuffled(text: str) -> str:
    words = text.split()
    random.Random(0).shuffle(words)
    return " ".join(words)


def test_the_counts_of_a_small_text_are_those_made_by_hand() -> None:
    counts = DatasetCounts(tokenizer=ByteTokenizer())
    for text in TEXTS:
        counts.add(text)
    counts.finish()
    assert counts.documents == 4
    assert counts.characters == sum(map(len, TEXTS))
    assert counts.bytes == counts.characters + 2
    assert counts.words == 10 + 8 + 10 + 2
    assert counts.sentences == 3 + 3 + 3 + 1
    assert counts.tokens == counts.bytes + 4
    assert counts.bytes_per_token == 1
    assert counts.contents.share_of_copies() == 1 / 4
    assert counts.lines.share_of_copies() == 3 / 8  # of 2, 3, 2 and 1 lines: 1 + 2 seen before
    assert counts.paragraphs.share_of_copies() == 2 / 6
    assert counts.runs.total == 0
    quantiles = counts.word_quantiles()
    assert [quantiles[key] for key in ("p0", "p25", "p50", "p75", "p100")] == [2, 2, 8, 10, 10]


def test_the_sample_is_of_all_documents_and_copies_are_drawn_apart() -> None:
    counts = DatasetCounts()
    size = 3_000
    for number in range(1500):
        counts.add(f"{number % 750:4} " + "x" * (size - 5))
    numbers = [int(text[:4]) for text in counts.sample()]
    assert len(numbers) == 2_000_000 // size
    assert 40 < len(set(numbers) & set(range(75))) < 60  # drawn: 4/9, so of two copies 69 %
    assert len(set(numbers)) < len(numbers)


def test_a_prepared_folder_is_like_the_text_it_was_made_of(
    prepared: Callable, write: Write, stories: list[str]
) -> None:
    source = write("stories.jsonl", stories)
    folder = prepared(source, tokenizer="bpe", vocab_size=400).folder
    plain, ready = describe([source, str(folder)]).datasets
    assert (
        (plain.documents, plain.bytes)
        == (ready.documents, ready.bytes)
        == (
            len(stories),
            sum(len(story.encode()) for story in stories),
        )
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert ready.tokens == manifest["train"]["tokens"] + manifest["val"]["tokens"]
    assert ready.tokenizer == "bpe, 400 tokens"
    assert plain.tokens is plain.tokenizer is None
    assert ready.words_per_document == plain.words_per_document


def test_faults_of_a_dataset_show(write: Write) -> None:
    stories = list(sample_stories(900, seed=5))
    clean = write("clean.jsonl", stories[:300])
    mixed = write("mixed.jsonl", [shuffled(story) for story in stories[300:600]])
    copied = write("copied.jsonl", [*stories[600:675] * 3, *stories[675:750]])
    found = describe([clean, mixed, copied])
    plain, shuffle, copies = found.datasets
    assert [d.exact_duplicates.copies for d in found.datasets] == [0, 0, 0.5]
    assert copies.exact_duplicates.sizes == {"3": 75}
    assert copies.near_duplicates is not None
    assert copies.near_duplicates.groups == 75
    assert copies.compression > 1.5 * plain.compression
    assert found.comparison is not None
    bits = found.comparison.bits_per_byte
    own, of_mixed = bits[0][0], bits[1][0]
    assert isinstance(own, Estimate)
    assert isinstance(of_mixed, Estimate)
    assert own.high < of_mixed.low  # shuffled words teach less of how stories go
    assert shuffle.vocabulary.distinct_2.value > plain.vocabulary.distinct_2.value


def test_what_datasets_have_in_common_is_a_share_of_the_row(
    write: Write, stories: list[str]
) -> None:
    a, b = write("a.jsonl", stories[:60]), write("b.jsonl", stories[40:120])
    comparison = describe([a, b]).comparison
    assert comparison is not None
    assert comparison.documents == [[1, 20 / 60], [20 / 80, 1]]
    assert comparison.near_documents == [[1, 20 / 60], [20 / 80, 1]]
    assert 0.3 < comparison.runs[0][1] < 0.5


def test_evaluation_documents_are_found_in_each_dataset(write: Write, stories: list[str]) -> None:
    a, b = write("a.jsonl", stories[:60]), write("b.jsonl", stories[60:])
    test = write("test.jsonl", [stories[3].upper(), stories[70], "Nothing that stands there."])
    found = describe([a, b], evaluation=[test]).evaluation
    assert [(e.evaluation, e.dataset, e.documents, e.found) for e in found] == [
        ("test", "a", 3, 1),
        ("test", "b", 3, 1),
    ]


def test_a_tokenizer_is_shared_and_favours_no_dataset(write: Write, stories: list[str]) -> None:
    large, small = write("large.jsonl", stories[:100]), write("small.jsonl", stories[100:])
    found = describe([large, small], tokenizer="bpe").datasets
    assert found[0].tokenizer == found[1].tokenizer
    assert found[0].bytes_per_token == pytest.approx(found[1].bytes_per_token, rel=0.15)


def test_languages_are_told(write: Write, stories: list[str]) -> None:
    french = "Le vieil homme descendit vers la mer et regarda les bateaux qui rentraient au port."
    source = write("both.jsonl", [*stories[:75], *(f"{french} {n}" for n in range(25))])
    languages = describe([source]).datasets[0].languages
    assert list(languages) == ["en", "fr"]
    assert languages["fr"].value == pytest.approx(0.25)
    assert 0.1 < languages["fr"].low < 0.25 < languages["fr"].high < 0.4


def test_missing_packages_are_told_and_leave_the_rest(
    write: Write, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    filters._identifier.cache_clear()
    notes: list[str] = []
    source = write("a.jsonl", stories[:60])
    found = describe([source, source], evaluation=[source], note=notes.append)
    assert all(how_to_install("data") in note for note in notes)
    assert {note.split(".")[0] for note in notes} == {
        "Near duplicates are left out",
        "Languages are left out",
    }
    assert found.datasets[0].near_duplicates is found.datasets[0].languages is None
    assert found.comparison.near_documents is None
    assert found.evaluation[0].found == 60
    assert tables(found)


def test_what_cannot_be_described_is_told(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no text \(2 empty\)"):
        describe([write("empty.jsonl", ["", " "])])
    with pytest.raises(ConfigError, match="Did you mean `byte`"):
        describe(["sample:stories:60"], tokenizer="bite")
    with pytest.raises(DataError, match="does not exist"):
        describe([str(tmp_path / "none.txt")])


def test_a_tiny_text_is_described_with_what_it_has(write: Write) -> None:
    found = describe([write("a.jsonl", ["Hm."]), write("b.jsonl", ["1 2 3"])])
    assert [dataset.documents for dataset in found.datasets] == [1, 1]
    assert found.comparison.bits_per_byte == [[None, None], [None, None]]
    json.loads(json.dumps(asdict(found), allow_nan=False))
    assert tables(found)


def test_names_are_short_and_different() -> None:
    assert dataset_names(["x/a.txt", "y/b.jsonl.zst"]) == ["a", "b"]
    assert dataset_names(["x/a.txt", "y/a.txt"]) == ["x/a", "y/a"]
    assert dataset_names(["x/a.txt", "x/a.md"]) == ["x/a.txt", "x/a.md"]
    assert dataset_names(["data/stories/", "hf:who/what"]) == ["stories", "what"]


def test_figures_are_shown_with_as_many_digits_as_they_need() -> None:
    assert show(0.0123, "share") == "1.23 %"
    assert show(Estimate(0.5, 0.45, 0.53), "share") == "50.0 ±5.0 %"
    assert show(Estimate(71.25, None, None)) == "71.2"


def test_the_copies_of_stories_are_counted(real_data: Path) -> None:
    path = real_data / "lowquality" / "tinystories_duplicated.txt"
    near = describe([str(path)]).datasets[0].near_duplicates
    assert near is not None
    assert near.sizes == {"4": 170}  # each of 170 stories four times, and 230 others once
    assert near.copies == 510 / 910
