"""Documents that nearly equal an earlier one, found by MinHash and locality-sensitive hashing.

Two documents are compared by their runs of five words. The minimum over a document of each of 128
hash functions agrees between two documents with a chance of their Jaccard similarity s (Broder,
"On the resemblance and containment of documents", 1997). The minima are taken in 16 bands of 8; a
document that agrees in a whole band with an earlier one is a near duplicate: a chance of
1 - (1 - s^8)^16, which is 6 % at s = 0.5, 61 % at 0.7, 95 % at 0.8, 100 % at 0.9. So a few that are
less alike go too, and a few that are more alike stay. It takes about 140 bytes of memory for each
document kept, and several times the time of exact matching.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
from numpy.typing import NDArray

from seedbed.data.seen_hashes import SeenHashes

_BANDS, _ROWS = 16, 8
_RUN = 5  # words
_AT_ONCE = 1024  # runs hashed together
_WORD = re.compile(r"\w+")

Hashes = NDArray[np.uint64]


def _random_odd(count: int, seed: int) -> Hashes:
    return np.random.default_rng(seed).integers(0, 1 << 63, count, np.uint64) * np.uint64(
        2
    ) + np.uint64(1)


_FACTORS = _random_odd(_BANDS * _ROWS, seed=1)
_OFFSETS = _random_odd(_BANDS * _ROWS, seed=2)
_BAND_FACTORS = _random_odd(_ROWS, seed=3)
_RUN_FACTORS = _random_odd(_RUN, seed=4)


class NearDuplicates:
    """Remembers documents, and tells when a new one is nearly one of them.

    >>> known = NearDuplicates()
    >>> story = "The small dog ran over the hill and found a red ball under the old apple tree. "
    >>> [known.add(story * 3), known.add(story.upper() * 3), known.add("Something else.")]
    [True, False, True]
    """

    def __init__(self) -> None:
        self._seen = [SeenHashes() for _ in range(_BANDS)]

    def add(self, text: str) -> bool:
        """Return whether no earlier document is nearly this one; if so, remember it."""
        bands = band_hashes(text)
        if any(band in seen for band, seen in zip(bands, self._seen, strict=True)):
            return False
        for band, seen in zip(bands, self._seen, strict=True):
            seen.add(band)
        return True


def band_hashes(text: str) -> list[int]:
    """Return a hash for each of the 16 bands of the text's 128 minima."""
    minima = _minima(_runs(text)).reshape(_BANDS, _ROWS)
    return (minima * _BAND_FACTORS).sum(axis=1, dtype=np.uint64).tolist()


def _runs(text: str) -> Hashes:
    """Return a hash of each run of five words, letter case and punctuation left aside."""
    words = _WORD.findall(text.lower()) or [text]
    codes = np.array([zlib.crc32(w.encode("utf-8", "replace")) for w in words], np.uint64)
    count = max(1, codes.size - _RUN + 1)
    runs = np.zeros(count, np.uint64)
    for offset in range(min(_RUN, codes.size)):
        runs += codes[offset : offset + count] * _RUN_FACTORS[offset]
    runs ^= runs >> np.uint64(29)
    return np.unique(runs * _FACTORS[0])


def _minima(runs: Hashes) -> Hashes:
    smallest = np.full(_BANDS * _ROWS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, runs.size, _AT_ONCE):
        block = runs[start : start + _AT_ONCE, None]
        hashed = (block * _FACTORS + _OFFSETS) >> np.uint64(32)
        np.minimum(smallest, hashed.min(axis=0), out=smallest)
    return smallest
