"""Filters that a dataset may ask for: length, repetition, language.

Repetition is measured as the Gopher rules do ("Scaling Language Models: Methods, Analysis &
Insights from Training Gopher", Rae et al. 2021, table A1): the share of a document's characters in
lines that stood in it before, and that in runs of ten words that did, no word counted twice; the
larger one counts. The paper drops documents above 0.2 for lines and above 0.1 for runs.

Language is told by py3langid. A document stays when the languages wanted have at least half of the
probability. One of fewer than 50 letters stays in any case: it is too short to tell.
"""

# pyright: strict

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pydantic import Field

from seedbed.config import Settings
from seedbed.data.drops import OTHER_LANGUAGE, REPETITIVE, TOO_LONG, TOO_SHORT
from seedbed.errors import ConfigError, DataError, did_you_mean, how_to_install

RUN_WORDS = 10
FEWEST_LETTERS = 50
_LEAST_PROBABILITY = 0.5
_LANGUAGE_CHARACTERS = 4096  # from the beginning of a document


class Filters(Settings):
    r"""Which documents are left out; nothing is unless it is asked for. All hold for all text.

    >>> Filters(min_chars=10).reason_to_drop("Too short")
    'too short'
    >>> Filters(max_repetition=0.2).reason_to_drop("All work and no play.\n" * 9)
    'repetitive'
    >>> Filters().reason_to_drop("") is None
    True
    """

    min_chars: int | None = Field(default=None, ge=1)
    max_chars: int | None = Field(default=None, ge=1)
    max_repetition: float | None = Field(default=None, ge=0, le=1)  # a share of the characters
    languages: tuple[str, ...] = ()  # such as ("en", "fr"); () for any

    def reason_to_drop(self, text: str) -> str | None:
        """Return why a document is left out, or None when it stays."""
        if self.min_chars is not None and len(text) < self.min_chars:
            return TOO_SHORT
        if self.max_chars is not None and len(text) > self.max_chars:
            return TOO_LONG
        if self.max_repetition is not None and repetition(text) > self.max_repetition:
            return REPETITIVE
        if self.languages and not is_in(text, self.languages):
            return OTHER_LANGUAGE
        return None


def repetition(text: str) -> float:
    r"""Return the share of characters in lines, or in runs of ten words, that stood there before.

    >>> repetition("one\ntwo\none\nfor\n")
    0.25
    >>> repetition("a b c d e f g h i j, " * 4)
    0.75
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    return max(_share_repeated(lines), _share_in_repeated_runs(text.split()))


def _share_repeated(lines: Sequence[str]) -> float:
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def _share_in_repeated_runs(words: Sequence[str]) -> float:
    seen: set[int] = set()
    repeated = counted_to = 0  # words before `counted_to` are counted already
    for start, run in enumerate(zip(*(words[n:] for n in range(RUN_WORDS)), strict=False)):
        key = hash(run)
        if key in seen:
            new = words[max(start, counted_to) : start + RUN_WORDS]
            repeated, counted_to = repeated + sum(map(len, new)), start + RUN_WORDS
        else:
            seen.add(key)
    return repeated / sum(map(len, words)) if repeated else 0.0


def is_in(text: str, languages: Iterable[str]) -> bool:
    """Return whether a text is in one of the languages, or too short to tell.

    Raises ConfigError for a code that is not known, DataError without py3langid.
    """
    start = text[:_LANGUAGE_CHARACTERS]
    wanted = _known_codes(tuple(languages))
    if sum(map(str.isalpha, start)) < FEWEST_LETTERS:
        return True
    shares = dict(_identifier().rank(start))
    return sum(float(shares[code]) for code in wanted) >= _LEAST_PROBABILITY


def language_of(text: str) -> str | None:
    """Return the code of the likeliest language of a text, or None where it is too short to tell.

    Raises DataError without py3langid.
    """
    start = text[:_LANGUAGE_CHARACTERS]
    if sum(map(str.isalpha, start)) < FEWEST_LETTERS:
        return None
    return _identifier().classify(start)[0]


@cache
def _known_codes(languages: tuple[str, ...]) -> tuple[str, ...]:
    known: list[str] = _identifier().labels
    for code in languages:
        if code not in known:
            raise ConfigError(
                f"`{code}` is not the code of a language.{did_you_mean(code, known)} "
                f"Known are {', '.join(sorted(known))}."
            )
    return languages


@cache
def _identifier() -> Any:
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError:
        raise DataError(f"Telling languages needs py3langid: {how_to_install('data')}") from None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
