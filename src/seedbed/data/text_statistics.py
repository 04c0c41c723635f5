"""What a document is like: its sentences, syllables, kinds of characters and lines.

All are counts that can be added up over documents; MEASURES makes figures of the sums. Readability
and stop words are made for English, and mean little elsewhere.
"""

# pyright: strict

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from seedbed.data.estimates import Floats, Measure, ratio
from seedbed.data.filters import repetition

WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")  # letters, with apostrophes inside
_MARK = r"[.!?\u2026\u3002\uff01\uff1f]"  # the last four: the ellipsis, Chinese marks
_SENTENCE_END = re.compile(
    rf"(?<!{_MARK}){_MARK}++[\"'\u201d\u2019\u00bb)\]]*+(?:\s+|\Z)|\n[^\S\n]*\n\s*"
)
_VOWELS = re.compile(r"[aeiouyáàâäéèêëíìîïóòôöúùûü]+")
_SILENT_E = re.compile(
    r"(?:[^aeiouyl]|[aeiouyl]l)e$|(?:[^aeiouytdl]|[aeiouyl]l)ed$|(?:[^aeiouylscxzgh]|[aeiouyl]l)es$"
)

# The 33 words that the English analyser of Apache Lucene leaves out.
_STOP_WORDS = """a an and are as at be but by for if in into is it no not of on or such that the
their then there these they this to was will with"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_CODE = re.compile(
    r"""
    ^\s*(?:def|class)\s+\w+.*:\s*$ | ^\s*(?:from\s+[\w.]+\s+)?import\s+[\w.*{(]
    | ^\s*(?:if|elif|else|for|while|try|except|with|finally)\b.*:\s*$
    | ^\s*(?:\#\s*include|//|/\*|@\w+|</?\w+[^>]*>) | [{}]\s*$ | \)\s*;\s*$
    | [=!<>]= | => | -> | :: | && | \|\| | [-+*/]= | \w\(\w*\) | \w\.\w+\( | \w_\w
    | ^\s*[A-Za-z_][\w.\[\]]*\s*=\s*\S | ^\s*(?:return|raise|yield|const|let|var)\s+[\w.]+\s*;?\s*$
    """,
    re.VERBOSE,
)

_LONGEST_CODE = 200  # characters of a line

EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?|\b\d{2,4}[ .-])\d{3,4}[ .-]\d{3,4}\b"
)
STREET = re.compile(
    r"\b\d{1,5}[A-Za-z]? (?:[A-Z]\w+\.? ){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Way)\b"
)
URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)


def count_sentences(text: str) -> int:
    """Return how many sentences there are: an end mark and white space, or a blank line, ends one.

    An abbreviation's full stop counts as an end.

    >>> count_sentences('Who is it? "It is I." He came in')
    3
    """
    return sum(1 for part in _SENTENCE_END.split(text) if part and not part.isspace())


@lru_cache(maxsize=1 << 16)
def count_syllables(word: str) -> int:
    """Return about how many syllables a lower-case English word has: groups of vowels.

    The e of a last -e, -ed or -es is silent, but for such as little, wanted and houses.

    >>> [count_syllables(w) for w in ("the", "made", "little", "jumped", "wanted", "beautiful")]
    [1, 1, 2, 1, 2, 3]
    """
    groups = len(_VOWELS.findall(word))
    return max(1, groups - (_SILENT_E.search(word) is not None))


def personal_counts(text: str) -> dict[str, int]:
    """Return how often what looks like an address of some kind, or a telephone number, occurs.

    They look alike only: a date can be counted as a telephone number.

    >>> personal_counts("Write to ann@home.org or call 555 123-4567.")
    {'emails': 1, 'phones': 1, 'streets': 0, 'urls': 0}
    """
    return {
        "emails": len(EMAIL.findall(text)) if "@" in text else 0,
        "phones": len(PHONE.findall(text)),
        "streets": len(STREET.findall(text)),
        "urls": len(URL.findall(text)),
    }


def text_sums(text: str) -> dict[str, int | float]:
    """Return the counts of a document that MEASURES puts together.

    >>> sums = text_sums("The cat sat. IT SAW 12 mice!")
    >>> sums["words"], sums["sentences"], sums["digits"], sums["capitals"], sums["stop_words"]
    (6, 2, 2, 6, 2)
    """
    words = [word.lower() for word in WORD.findall(text)]
    visible = "".join(text.split())
    letters, digits = sum(map(str.isalpha, visible)), sum(map(str.isdigit, visible))
    lines = [(len(line), _is_code(line)) for line in text.splitlines()]
    return {
        "words": len(words),
        "sentences": count_sentences(text),
        "syllables": sum(map(count_syllables, words)),
        "stop_words": sum(word in STOP_WORDS for word in words),
        "visible": len(visible),
        "letters": letters,
        "digits": digits,
        "symbols": len(visible) - letters - digits,
        "capitals": sum(map(str.isupper, visible)),
        "line_characters": sum(size for size, _ in lines),
        "code_characters": sum(size for size, is_code in lines if is_code),
        "characters": len(text),
        "repeated_characters": repetition(text) * len(text),
        "documents": 1,
    }


def _is_code(line: str) -> bool:
    """Return whether a line looks like code; a very long one is a paragraph of prose."""
    return len(line) <= _LONGEST_CODE and _CODE.search(line) is not None


def _reading_ease(sums: Mapping[str, Floats]) -> Floats:
    """Return Flesch's reading ease ("A new readability yardstick", 1948): 100 is easy, 0 hard."""
    return (
        206.835
        - 1.015 * (sums["words"] / sums["sentences"])
        - 84.6 * (sums["syllables"] / sums["words"])
    )


def _grade(sums: Mapping[str, Floats]) -> Floats:
    """Return the Flesch-Kincaid grade (Kincaid et al., 1975): years of school in the USA."""
    return (
        0.39 * (sums["words"] / sums["sentences"])
        + 11.8 * (sums["syllables"] / sums["words"])
        - 15.59
    )


MEASURES: dict[str, Measure] = {
    "flesch_reading_ease": _reading_ease,
    "flesch_kincaid_grade": _grade,
    "stop_words": ratio("stop_words", "words"),
    "code_like": ratio("code_characters", "line_characters"),
    "digits": ratio("digits", "visible"),
    "capitals": ratio("capitals", "letters"),
    "symbols": ratio("symbols", "visible"),
    "self_repetition": ratio("repeated_characters", "characters"),
}
