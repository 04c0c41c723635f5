"""A compact set of 64-bit hashes."""

# pyright: strict

from __future__ import annotations

import numpy as np

_RECENT = 1 << 16  # hashes kept in a Python set until they are merged into the sorted array


class SeenHashes:
    """A set of 64-bit hashes that takes little more than 8 bytes for each.

    >>> seen = SeenHashes()
    >>> [seen.add(7), seen.add(9), seen.add(7), 9 in seen]
    [True, True, False, True]
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def __contains__(self, value: int) -> bool:
        if value in self._recent:
            return True
        place = int(self._sorted.searchsorted(np.uint64(value)))
        return place < self._sorted.size and int(self._sorted[place]) == value

    def add(self, value: int) -> bool:
        """Return whether the value is new, and remember it."""
        if value in self:
            return False
        self._recent.add(value)
        if len(self._recent) >= max(_RECENT, self._sorted.size >> 7):
            self._merge()
        return True

    def _merge(self) -> None:
        old = self._sorted.size
        self._sorted.resize(old + len(self._recent), refcheck=False)  # in place where it can be
        self._sorted[old:] = np.fromiter(self._recent, np.uint64, len(self._recent))
        self._sorted.sort()
        self._recent.clear()
