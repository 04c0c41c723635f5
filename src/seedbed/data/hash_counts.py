"""How often values occur, by their hashes, in bounded memory: exact until that is full.

Then only values whose hashes are in the lower half of all are counted, later the lower quarter and
so on, each with all its occurrences (Flajolet, "On adaptive sampling", 1990). All sets of values
are thinned by the same hashes, so what is left of two still shows what they have in common
(FracMinHash: Irber et al., "Lightweight compositional analysis of metagenomes", 2022).
"""

# pyright: strict

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seedbed.data.estimates import Figure, estimate, ratio
from seedbed.data.word_runs import Hashes

CAPACITY = 1 << 19  # values: 24 bytes each, and as much again while they are put in order


class HashCounts:
    """Counts hashes of 64 bits.

    >>> counts = HashCounts()
    >>> counts.add(np.array([7, 9, 7], np.uint64))
    >>> counts.total, counts.distinct, counts.share_of_copies()
    (3, 2, 0.3333333333333333)
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._halvings = 0
        self._values = np.empty(0, np.uint64)  # in order
        self._counts = np.empty(0, np.int64)
        self._pending = bytearray()
        self.total = 0  # occurrences, those left out too

    def add(self, hashes: Hashes) -> None:
        """Count one more occurrence of each hash."""
        self.total += hashes.size
        if self._halvings:
            hashes = hashes[hashes < self._below]
        self._pending += hashes.tobytes()
        if len(self._pending) >= 8 * self._capacity:
            self._merge()

    @property
    def is_exact(self) -> bool:
        """Whether all values are counted."""
        self._merge()
        return not self._halvings

    @property
    def values(self) -> Hashes:
        """The hashes that are counted, in order."""
        self._merge()
        return self._values

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each of `values` occurs."""
        self._merge()
        return self._counts

    @property
    def distinct(self) -> int:
        """How many different values there are: an estimate unless `is_exact`."""
        return self.values.size << self._halvings

    def share_of_copies(self) -> Figure:
        """Return the share of occurrences that are not the first of their value."""
        counts = self.counts
        if not counts.size:
            return None
        if self.is_exact:
            return float((counts - 1).sum() / counts.sum())
        sums = {"copies": counts - 1, "occurrences": counts}
        return estimate(sums, {"share": ratio("copies", "occurrences")})["share"]

    def share_in(self, other: HashCounts) -> Figure:
        """Return the share of the different values here that are also in `other`.

        >>> a, b = HashCounts(), HashCounts()
        >>> a.add(np.array([1, 2, 3, 3], np.uint64)); b.add(np.array([3, 4], np.uint64))
        >>> a.share_in(b), b.share_in(a)
        (0.3333333333333333, 0.5)
        """
        values = self.values[other._kept(self.values)]
        if not values.size:
            return None
        inside = np.isin(values, other.values, assume_unique=True)
        if self.is_exact and other.is_exact:
            return float(inside.mean())
        sums = {"inside": inside, "values": np.ones(values.size)}
        return estimate(sums, {"share": ratio("inside", "values")})["share"]

    @property
    def _below(self) -> np.uint64:
        return np.uint64(1 << (64 - self._halvings))

    def _kept(self, hashes: Hashes) -> NDArray[np.bool_]:
        return hashes < self._below if self._halvings else np.ones(hashes.size, np.bool_)

    def _merge(self) -> None:
        """Put what is pending into order; leave out half of all values until they fit."""
        if not self._pending:
            return
        new, counts = np.unique(np.frombuffer(bytes(self._pending), np.uint64), return_counts=True)
        self._pending.clear()
        places = np.searchsorted(self._values, new)
        known = np.zeros(new.size, np.bool_)
        inside = places < self._values.size
        known[inside] = self._values[places[inside]] == new[inside]
        self._counts[places[known]] += counts[known]
        self._values = np.insert(self._values, places[~known], new[~known])
        self._counts = np.insert(self._counts, places[~known], counts[~known])
        while self._values.size > self._capacity:
            self._halvings += 1
            kept = self._kept(self._values)
            self._values, self._counts = self._values[kept], self._counts[kept]
