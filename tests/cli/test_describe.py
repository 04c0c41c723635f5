from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two small files: the second repeats itself."""
    folder = tmp_path_factory.mktemp("describe")
    lines = [f"The {n} cats of house {n} came home late; {n} dogs were there." for n in range(90)]
    (folder / "cats.txt").write_text("\n<|endoftext|>\n".join(lines))
    (folder / "again.txt").write_text("\n<|endoftext|>\n".join(lines[:30] * 3))
    return [folder / "cats.txt", folder / "again.txt"]


def test_each_dataset_is_a_column(texts: list[Path], seedbed: Callable) -> None:
    shown = seedbed("describe", *texts, "--tokenizer", "byte")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].split() == ["SIZE", "cats", "again"]
    assert re.split(r"  +", lines[1]) == ["documents", "90", "90"]
    assert ["copies of documents", "0.0 %", "66.7 %"] in [re.split(r"  +", line) for line in lines]
    assert max(map(len, lines)) <= 120
    assert "cats" in shown.err


def test_many_datasets_are_shown_in_several_parts(texts: list[Path], seedbed: Callable) -> None:
    shown = seedbed("describe", *[texts[0]] * 8)
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.startswith("SIZE") for line in lines) > 1


def test_json_has_the_promised_keys(texts: list[Path], data: Path, seedbed: Callable) -> None:
    shown = seedbed("describe", *texts, data, "--eval", texts[1], "--json")
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == ["datasets", "comparison", "evaluation"]
    assert [dataset["name"] for dataset in report["datasets"]] == ["cats", "again", "stories"]
    assert report["datasets"][2]["tokenizer"] == "byte, 260 tokens"
    promised = {"documents", "bytes", "characters", "words", "sentences", "tokens"}
    assert promised < set(report["datasets"][0])
    assert set(report["datasets"][0]["vocabulary"]["type_token"]) == {"value", "low", "high"}
    assert set(report["comparison"]) == {
        "training_bytes",
        "bits_per_byte",
        "documents",
        "near_documents",
        "runs",
    }
    assert [e["found"] for e in report["evaluation"]] == [90, 90, 0]


def test_the_page_is_whole_and_needs_nothing_else(
    texts: list[Path], tmp_path: Path, seedbed: Callable
) -> None:
    page = tmp_path / "new" / "page.html"
    shown = seedbed("describe", *texts, "--html", page)
    assert shown.out.splitlines()[-1] == f"The page is {page}"
    text = page.read_text()
    assert text.count("<svg") == text.count("</svg>") == 6
    assert not re.search(r"<script|<link|<img|@import|src=|url\(http", text)
    assert "<td>copies of documents</td><td>0.0 %</td><td>66.7 %</td>" in text


def test_mistakes_are_told_before_anything_is_read(
    texts: list[Path], tmp_path: Path, seedbed: Callable
) -> None:
    for words, message in (
        (("--html", tmp_path / "page.pdf"), "name a file that ends in .html"),
        (("--tokenizer", "bite"), "Did you mean `byte`"),
        (("--eval", tmp_path / "none"), "does not exist"),
    ):
        shown = seedbed("describe", texts[0], *words)
        assert shown.code == 2
        assert message in shown.err
        assert shown.out == ""
