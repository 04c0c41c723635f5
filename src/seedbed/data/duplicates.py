"""Groups of documents that are equal, or nearly so, and how large the groups are."""

# pyright: strict

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.data.estimates import Figure
from seedbed.data.hash_counts import HashCounts
from seedbed.data.near_duplicates import BANDS
from seedbed.data.word_runs import Hashes

MOST_SKETCHES = 1 << 18  # documents of which the bands are kept: 128 bytes each

_SIZES = ((2, 2, "2"), (3, 3, "3"), (4, 4, "4"), (5, 9, "5-9"), (10, 99, "10-99"))
_LARGEST = "100 or more"


@dataclass(frozen=True)
class Clusters:
    """Groups of documents that are alike."""

    examined: int  # documents that were put into groups; fewer than all where memory is bounded
    copies: Figure  # the share of these that are not the first of their group
    groups: int  # of two documents or more
    largest: int  # documents of the largest group
    sizes: dict[str, int]  # how many groups have 2, 3, 4, 5-9, ... documents

    @classmethod
    def of(cls, sizes: NDArray[np.int64], copies: Figure) -> Clusters:
        """Return what there is to say of groups of these sizes, single documents included."""
        several = sizes[sizes > 1]
        told = {name: int(((several >= a) & (several <= b)).sum()) for a, b, name in _SIZES}
        told[_LARGEST] = int((several >= 100).sum())
        return cls(
            examined=int(sizes.sum()),
            copies=copies,
            groups=several.size,
            largest=int(sizes.max(initial=0)),
            sizes={name: count for name, count in told.items() if count},
        )


def exact_clusters(contents: HashCounts) -> Clusters:
    """Return the groups of equal documents, from the counts of their content hashes.

    >>> counts = HashCounts()
    >>> counts.add(np.array([5, 5, 5, 6, 6, 7], np.uint64))
    >>> exact_clusters(counts)
    Clusters(examined=6, copies=0.5, groups=2, largest=3, sizes={'2': 1, '3': 1})
    """
    return Clusters.of(contents.counts, contents.share_of_copies())


class Sketches:
    """The bands of documents (near_duplicates.py), those of the first 262,144 of them."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data) // (8 * BANDS)

    def add(self, bands: Hashes) -> None:
        """Keep the bands of one more document, unless there are too many."""
        if len(self) < MOST_SKETCHES:
            self._data += bands.tobytes()

    @property
    def bands(self) -> Hashes:
        """The bands of all documents that are kept: (documents, bands)."""
        return np.frombuffer(bytes(self._data), np.uint64).reshape(-1, BANDS)

    def clusters(self) -> Clusters:
        """Return the groups of near duplicates: two are in one when a chain of them leads over."""
        labels = group(self.bands)
        sizes = np.bincount(labels)
        sizes = sizes[sizes > 0]
        copies = (labels.size - sizes.size) / labels.size if labels.size else None
        return Clusters.of(sizes, copies)

    def share_in(self, other: Sketches) -> Figure:
        """Return the share of documents that are near duplicates of one in `other`."""
        if not len(self):
            return None
        near = np.zeros(len(self), np.bool_)
        for here, there in zip(self.bands.T, other.bands.T, strict=True):
            near |= np.isin(here, there)
        return float(near.mean())


def group(bands: Hashes) -> NDArray[np.intp]:
    """Return for each document the number of the first one of its group: (documents,).

    `bands` is (documents, bands); documents that agree in a band are in one group.

    >>> group(np.array([[1, 2], [3, 4], [1, 5], [6, 5]], np.uint64)).tolist()
    [0, 1, 0, 0]
    """
    labels = np.arange(len(bands))
    links = [_agreeing(band) for band in bands.T]
    while True:
        before = labels.copy()
        for documents, starts in links:
            lowest = np.minimum.reduceat(labels[documents], starts) if starts.size else labels[:0]
            sizes = np.diff(starts, append=documents.size)
            labels[documents] = np.repeat(lowest, sizes)
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def _agreeing(band: Hashes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the documents whose band another one has too, side by side, and where each begins."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    same = ordered[1:] == ordered[:-1]
    several = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    documents, ordered = order[several], ordered[several]
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    starts = np.concatenate([np.zeros(min(1, documents.size), np.intp), changes])
    return documents, starts.astype(np.intp)
