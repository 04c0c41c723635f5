"""Documents that nearly equal an earlier one, found by MinHash and locality-sensitive hashing.

Two documents are compared by their runs of five words. The minimum over a document of each of 128
hash functions (datasketch) agrees between two documents with a chance of their Jaccard similarity s
(Broder, "On the resemblance and containment of documents", 1997). The minima are taken in 16 bands
of 8; a document that agrees in a whole band with an earlier one is a near duplicate: a chance of
1 - (1 - s^8)^16, which is 6 % at s = 0.5, 61 % at 0.7, 95 % at 0.8, 100 % at 0.9. So a few that are
less alike go too, and a few that are more alike stay. THRESHOLD is where most begin to go.

It took 5.9 s for 20 MB of stories (24,365 of them), and takes about 140 bytes of memory for each
document kept, beside at most 100 MB for the latest 65,536.
"""

# pyright: strict

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from seedbed.data.seen_hashes import SeenHashes
from seedbed.data.word_runs import Hashes, random_odd, run_hashes, word_codes
from seedbed.errors import DataError, how_to_install

BANDS = 16
_ROWS = 8
_RUN = 5  # words
THRESHOLD = round((1 / BANDS) ** (1 / _ROWS), 2)  # the similarity for which b s^r = 1
_AT_ONCE = 1024  # runs hashed together
_BAND_FACTORS = random_odd(_ROWS, seed=3)


class Sketcher:
    """Sketches documents: those that agree in a whole band are near duplicates.

    Raises DataError when datasketch is not installed.
    """

    def __init__(self) -> None:
        try:
            minhash = importlib.import_module("datasketch").MinHash
        except ImportError:
            raise DataError(f"Near duplicates need datasketch: {how_to_install('data')}") from None
        self._empty: Any = minhash(BANDS * _ROWS, seed=1, hashfunc=int)  # runs are hashed already

    def bands(self, codes: Hashes) -> Hashes:
        """Return a hash for each of the 16 bands of the 128 minima of a text's word codes."""
        runs = np.unique(run_hashes(codes, _RUN) >> np.uint64(32)).tolist()
        sketch = self._empty.copy()
        for start in range(0, len(runs), _AT_ONCE):
            sketch.update_batch(runs[start : start + _AT_ONCE])
        minima: Hashes = sketch.hashvalues.astype(np.uint64).reshape(BANDS, _ROWS)
        return (minima * _BAND_FACTORS).sum(axis=1, dtype=np.uint64)


class NearDuplicates:
    """Remembers documents, and tells when a new one is nearly one of them.

    Raises DataError when datasketch is not installed.

    >>> known = NearDuplicates()
    >>> story = "The small dog ran over the hill and found a red ball under the old apple tree. "
    >>> [known.add(story * 3), known.add(story.upper() * 3), known.add("Something else.")]
    [True, False, True]
    """

    def __init__(self) -> None:
        self._sketcher = Sketcher()
        self._seen = [SeenHashes() for _ in range(BANDS)]

    def add(self, text: str) -> bool:
        """Return whether no earlier document is nearly this one; if so, remember it."""
        bands: list[int] = self._sketcher.bands(word_codes(text)).tolist()
        if any(band in seen for band, seen in zip(bands, self._seen, strict=True)):
            return False
        for band, seen in zip(bands, self._seen, strict=True):
            seen.add(band)
        return True
