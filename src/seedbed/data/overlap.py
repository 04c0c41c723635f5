"""Which evaluation documents occur in a training text: what a score on them would be worth.

A document's runs of 13 words (as in Brown et al., "Language models are few-shot learners", 2020,
appendix C) are looked for in the whole training text, letter case, punctuation and white space left
aside; a document of fewer words is looked for as a whole. Beside that, MinHash finds training
documents that nearly equal it (near_duplicates.py).

A document occurs in the training text when that has 30 % of its runs. Of 295 stories for the
validation of TinyStories, no one shared more than 7 % with 4,873 others; of copies with 2, 3, 5 and
8 % of their words replaced at random, 100, 99, 94 and 63 % were found.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.data.near_duplicates import Sketcher
from seedbed.data.word_runs import Hashes, run_hashes, word_codes

RUN = 13  # words
MUCH = 0.3


@dataclass(frozen=True)
class Match:
    """An evaluation document that occurs in the training text."""

    document: int  # its number among the evaluation documents, from 0
    shared: float  # of its different runs of 13 words, how many the training text has: 0 to 1
    near_duplicate: bool  # of a training document


class ContaminationIndex:
    """The runs and sketches of evaluation documents, to be found in training documents.

    It takes about 40 bytes for each word of the evaluation documents, and nothing for the training
    documents, which are read once. `near` is False: runs of words only, which needs no datasketch
    and takes a third of the time. Raises DataError where datasketch is missing.

    >>> story = "One day a small dog ran over the green hill and found a red ball by the gate."
    >>> index = ContaminationIndex(["A text of which nothing is known.", story])
    >>> index.scan(["Before. " + story.upper() + " After."])
    [Match(document=1, shared=1.0, near_duplicate=True)]
    """

    def __init__(self, evaluation_documents: Iterable[str], *, near: bool = True) -> None:
        self.sketcher = Sketcher() if near else None
        self.by_band: dict[int, list[int]] = {}  # a band to the documents that have it
        runs: list[Hashes] = []
        for number, text in enumerate(evaluation_documents):
            codes = word_codes(text)
            runs.append(np.unique(run_hashes(codes, RUN)))
            if self.sketcher:
                for band in self.sketcher.bands(codes).tolist():
                    self.by_band.setdefault(band, []).append(number)
        self.sizes = np.array([run.size for run in runs], np.int64)  # (documents,)
        joined = np.concatenate([np.empty(0, np.uint64), *runs])
        self.runs, self.places = np.unique(joined, return_inverse=True)

    @property
    def documents(self) -> int:
        """How many evaluation documents there are."""
        return self.sizes.size

    def scan(self, training_documents: Iterable[str], *, at_least: float = MUCH) -> list[Match]:
        """Return the evaluation documents that occur in the training documents, in order.

        Those that share `at_least` so much of their runs with all training documents together, or
        are near duplicates of one.
        """
        scan = Scan(self)
        for text in training_documents:
            codes = word_codes(text)
            scan.read(codes, self.sketcher.bands(codes) if self.sketcher else None)
        return scan.matches(at_least=at_least)


class Scan:
    """How far one training text has been looked through for the documents of an index."""

    def __init__(self, index: ContaminationIndex) -> None:
        self._index = index
        self._found = np.zeros(index.runs.size, np.bool_)  # of the different runs
        self._near: set[int] = set()

    def read(self, codes: Hashes, bands: Hashes | None) -> None:
        """Look through one more training document, given its word codes and the bands of them."""
        index = self._index
        if not index.runs.size:
            return
        hashes = run_hashes(codes, RUN)
        places = np.minimum(np.searchsorted(index.runs, hashes), index.runs.size - 1)
        self._found[places[index.runs[places] == hashes]] = True
        for band in bands if bands is not None else ():
            self._near.update(index.by_band.get(int(band), ()))

    @property
    def share_of_runs(self) -> float | None:
        """The share of all different runs of the evaluation documents that were found."""
        return float(self._found.mean()) if self._found.size else None

    def shared(self) -> NDArray[np.float64]:
        """Return the share of each evaluation document's runs that were found: (documents,)."""
        if not self._index.documents:
            return np.empty(0)
        starts = np.cumsum(self._index.sizes) - self._index.sizes
        found = self._found[self._index.places].astype(np.int64)
        return np.add.reduceat(found, starts) / self._index.sizes

    def matches(self, *, at_least: float = MUCH) -> list[Match]:
        """Return the evaluation documents that were found, in order."""
        return [
            Match(number, share, number in self._near)
            for number, share in enumerate(self.shared().tolist())
            if share >= at_least or number in self._near
        ]
