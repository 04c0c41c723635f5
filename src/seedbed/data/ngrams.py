"""Bits per byte of an interpolated byte n-gram model: what counting alone reaches on a text.

A model that beats it has learned something; a model that does not, has not yet. The smoothing is
the modified Kneser-Ney of Chen and Goodman, "An empirical study of smoothing techniques for
language modeling" (TR-10-98, Harvard, 1998), interpolated down to 1/256 for any byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import DataError

MAX_TRAINING_BYTES = 8_000_000
MAX_VALIDATION_BYTES = 500_000
LONGEST_CONTEXT = 6
_START = 0xFF  # before a document; no UTF-8 text has this byte
_BYTE = np.uint64(8)

Keys = NDArray[np.uint64]  # an n-gram's bytes, the oldest highest


@dataclass(frozen=True)
class _Level:
    """The n-grams of one length, sorted, and the contexts that they begin with."""

    grams: Keys
    kept: NDArray[np.float64]  # counts less the discount
    contexts: Keys
    totals: NDArray[np.float64]  # of the counts of a context's grams
    freed: NDArray[np.float64]  # what the discount leaves to shorter contexts

    def interpolate(self, grams: Keys, shorter: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each gram's last byte, given those of the shorter contexts."""
        contexts, seen = _find(self.contexts, grams >> _BYTE)
        places, known = _find(self.grams, grams)
        kept = np.where(known, self.kept[places], 0.0)
        mixed = (kept + self.freed[contexts] * shorter) / self.totals[contexts]
        return np.where(seen, mixed, shorter)


class ByteNgrams:
    """A byte model that counts contexts of 0 to `longest` bytes within each document.

    >>> model = ByteNgrams([b"abab", b"abac"], longest=2)
    >>> model.bits([b"abab"]) < model.bits([b"bbaa"])
    True
    """

    def __init__(self, documents: Iterable[bytes], *, longest: int = LONGEST_CONTEXT) -> None:
        assert 0 <= longest <= 7, "an n-gram is kept in 64 bits"
        self._longest = longest
        grams = _grams_of(documents, longest)
        if not grams.size:
            raise DataError("There is no text to count n-grams in.")
        grams, counts = _count(grams)
        levels: list[_Level] = []
        for length in range(longest, -1, -1):
            levels.append(_level(grams, counts))
            grams, counts = _count(grams & _mask(length))  # in how many contexts it was seen
        self._levels = levels[::-1]  # the shortest context first

    def bits(self, documents: Iterable[bytes]) -> float:
        """Return the bits that the documents take, each modelled from its beginning."""
        grams, counts = _count(_grams_of(documents, self._longest))
        return float(-(counts * np.log2(self._probabilities(grams))).sum())

    def _probabilities(self, grams: Keys) -> NDArray[np.float64]:
        probabilities = np.full(grams.size, 1 / 256)
        for length, level in enumerate(self._levels):
            probabilities = level.interpolate(grams & _mask(length + 1), probabilities)
        return probabilities


def measure_baseline(
    training: Sequence[bytes], validation: Sequence[bytes]
) -> dict[str, float | int | str]:
    """Return the n-gram baseline of a dataset, as its manifest tells it.

    Counts at most 8 MB of the training documents, scores at most 0.5 MB of the validation
    documents. Ends of documents are not scored.
    """
    training = first_bytes(training, MAX_TRAINING_BYTES)
    validation = first_bytes(validation, MAX_VALIDATION_BYTES)
    scored = sum(map(len, validation))
    bits = ByteNgrams(training).bits(validation)
    return {
        "bits_per_byte": round(bits / max(1, scored), 4),
        "model": f"byte n-grams, contexts 0-{LONGEST_CONTEXT}, modified Kneser-Ney",
        "training_bytes": sum(map(len, training)),
        "validation_bytes": scored,
    }


def first_bytes(documents: Sequence[bytes], size: int) -> list[bytes]:
    """Return the first documents that have `size` bytes together, the last one cut."""
    taken: list[bytes] = []
    for document in documents:
        if size <= 0:
            break
        taken.append(document[:size])
        size -= len(document)
    return taken


def _grams_of(documents: Iterable[bytes], longest: int) -> Keys:
    """Return the n-gram that each byte ends, `longest` bytes of context included."""
    start = bytes([_START] * longest)
    data = np.frombuffer(b"".join(start + document for document in documents), np.uint8)
    grams = np.zeros(max(0, data.size - longest), np.uint64)
    for offset in range(longest + 1):
        grams <<= _BYTE
        grams |= data[offset : offset + grams.size]
    return grams[data[longest:] != _START]


def _count(grams: Keys) -> tuple[Keys, NDArray[np.int64]]:
    """Return the distinct grams in order, and how often each occurs."""
    grams = np.sort(grams)
    first = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]]))[: grams.size]
    return grams[first], np.diff(first, append=grams.size)


def _level(grams: Keys, counts: NDArray[np.int64]) -> _Level:
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    contexts, sizes = _count(grams >> _BYTE)
    starts = np.cumsum(sizes) - sizes
    totals = np.add.reduceat(counts, starts).astype(np.float64)
    return _Level(grams, counts - discounts, contexts, totals, np.add.reduceat(discounts, starts))


def _discounts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what a count of 0, 1, 2, and 3 or more is lowered by (Chen and Goodman, eq. 26).

    A text too small to have such counts gives their usual size.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == n)) for n in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return np.array([0.0, 0.6, 1.0, 1.3])
    y = n1 / (n1 + 2 * n2)
    wanted = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    return np.clip(wanted, [0.0, 0.05, 0.05, 0.05], [0.0, 0.95, 1.9, 2.85])


def _find(table: Keys, wanted: Keys) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return where each wanted key is in the sorted table, and whether it is there."""
    places = np.minimum(np.searchsorted(table, wanted), table.size - 1)
    return places, table[places] == wanted


def _mask(length: int) -> np.uint64:
    return np.uint64((1 << 8 * length) - 1)
