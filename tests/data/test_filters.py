"""Filters and normalisation: nothing unless asked for, and every change and drop is counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.data import filters as filters_module
from seedbed.data.documents import Document
from seedbed.data.filters import Filters, repetition
from seedbed.data.normalise import Normaliser
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import ConfigError, DataError

Prepared = Callable[..., PreparedDataset]

ENGLISH = "The old man walked down to the sea and looked at the boats that were coming home."
FRENCH = "Le vieil homme descendit vers la mer et regarda les bateaux qui rentraient au port."
GERMAN = "Der alte Mann ging hinunter zum Meer und sah den Booten zu, die nach Hause kamen."


def test_length_is_in_characters_and_the_limits_themselves_stay() -> None:
    limits = Filters(min_chars=3, max_chars=5)
    found = [limits.reason_to_drop("é" * n) for n in range(2, 7)]
    assert found == ["too short", None, None, None, "too long"]


def test_repetition_is_the_share_of_characters_in_lines_that_stood_before() -> None:
    assert repetition("aa\nbb\naa\naa") == pytest.approx(0.5)
    assert repetition("aaaa\nb\nb") == pytest.approx(1 / 6)
    assert repetition("a\n\n\n\nb") == 0
    assert repetition("") == repetition("one") == 0


def test_repetition_is_the_share_of_characters_in_runs_of_ten_words_that_stood_before() -> None:
    ten = "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"
    assert repetition(f"{ten} x {ten}") == pytest.approx(20 / 41)
    assert repetition(f"{ten} x {ten} y") == pytest.approx(20 / 42)
    assert repetition(ten) == repetition(f"{ten} {ten[:-3]}") == 0
    assert repetition("go " * 30) == pytest.approx(29 / 30)  # no word is counted twice


def test_stories_are_not_repetitive(stories: list[str]) -> None:
    assert max(map(repetition, stories)) < 0.1


def test_the_language_decides_and_too_short_a_text_stays() -> None:
    assert [Filters(languages=("en",)).reason_to_drop(t) for t in (ENGLISH, FRENCH, GERMAN)] == [
        None,
        "other language",
        "other language",
    ]
    either = Filters(languages=("fr", "de"))
    assert either.reason_to_drop(ENGLISH) == "other language"
    assert either.reason_to_drop(FRENCH) is either.reason_to_drop(GERMAN) is None
    assert either.reason_to_drop("The cat sat. 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12.") is None


def test_an_unknown_language_and_a_missing_package_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="`english` is not the code of a language"):
        Filters(languages=("english",)).reason_to_drop(ENGLISH)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    filters_module._identifier.cache_clear()
    with pytest.raises(DataError, match=r'py3langid: pip install .*"\.\[data\]"'):
        Filters(languages=("en",)).reason_to_drop(ENGLISH)


def normalised(text: str, normaliser: Normaliser) -> str:
    [document] = normaliser.each([Document(text, "a.txt", 1)])
    return document.text


def test_text_stays_as_it_is_unless_a_form_is_asked_for() -> None:
    text = "cafe\u0301 \ufb01n\r\nnext\rlast \udcff"
    assert normalised(text, plain := Normaliser()) == text
    assert plain.changed == 0
    assert normalised(text, Normaliser("nfc")) == "caf\u00e9 \ufb01n\r\nnext\rlast \udcff"
    assert normalised(text, Normaliser("nfkc")) == "caf\u00e9 fin\r\nnext\rlast \udcff"
    assert normalised(text, Normaliser(newlines=True)) == "cafe\u0301 \ufb01n\nnext\nlast \udcff"
    assert normalised("\u00a8a", Normaliser("nfkc")) == "\u0308a"  # no white space at its begin


def test_prepare_counts_what_it_changed_and_what_it_left_out(
    prepared: Prepared, texts_of: Callable[..., list[str]], tmp_path: Path, stories: list[str]
) -> None:
    odd = [FRENCH, "Hm.", "all work and no play\n" * 9, "cafe\u0301 " + ENGLISH, "x" * 9000]
    lines = [json.dumps({"text": text}) for text in [*odd, *stories]]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    dataset = prepared(
        tmp_path / "a.jsonl",
        unicode="nfc",
        filters={
            "min_chars": 10,
            "max_chars": 8000,
            "max_repetition": 0.2,
            "languages": ["en"],
        },
    )
    drops = {reason: d["documents"] for reason, d in dataset.manifest["drops"].items()}
    assert drops == {"other language": 1, "repetitive": 1, "too long": 1, "too short": 1}
    assert dataset.manifest["drops"]["other language"]["first"].endswith("a.jsonl line 1")
    assert dataset.manifest["normalised"] == 1
    assert sorted(texts_of(dataset)) == sorted(["caf\u00e9 " + ENGLISH, *stories])
