"""Runs of words as numbers: what near duplicates and overlaps are looked for by.

Letter case, punctuation and white space make no difference to them.
"""

# pyright: strict

from __future__ import annotations

import re
import zlib

import numpy as np
from numpy.typing import NDArray

LONGEST_RUN = 13  # words
_WORD = re.compile(r"\w+")

Hashes = NDArray[np.uint64]


def random_odd(count: int, seed: int) -> Hashes:
    """Return fixed odd numbers of 64 bits, to multiply with."""
    halves = np.random.default_rng(seed).integers(0, 1 << 63, count, np.uint64)
    return halves * np.uint64(2) + np.uint64(1)


_FACTORS = random_odd(LONGEST_RUN, seed=4)


def word_codes(text: str) -> Hashes:
    """Return 32 bits for each word of a text; one number for a text without words.

    >>> bool((word_codes("The  cat!") == word_codes("the, CAT")).all())
    True
    """
    words = _WORD.findall(text.lower()) or [text]
    return np.array([zlib.crc32(w.encode("utf-8", "replace")) for w in words], np.uint64)


def run_hashes(codes: Hashes, length: int) -> Hashes:
    """Return 64 bits for each run of `length` words, or for all words where there are fewer.

    Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): the
    higher bits are the better ones.

    >>> run_hashes(word_codes("to be or not to be"), 2).size
    5
    """
    assert 1 <= length <= LONGEST_RUN
    count = max(1, codes.size - length + 1)
    runs = np.zeros(count, np.uint64)
    for offset in range(min(length, codes.size)):
        runs += codes[offset : offset + count] * _FACTORS[offset]
    return runs
