"""Which runs of words a text shares with the training text: exact, in one pass over the latter.

The texts are few, the training text is large. So the texts are put in a suffix array (Manber and
Myers, 1993), and the training text streams past it: from each of its words, all at once, the match
is made longer word by word until no text goes on like that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

_CHUNK_WORDS = 200_000  # of the training text, at a time
_UNKNOWN = -1  # a training word that no text has, or the end of a training document

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Copies:
    """The words of a text, and how long a copied run begins at each."""

    words: list[str]  # what white space separates
    lengths: Integers  # (words,) the longest run from here that the training text has too

    @property
    def longest(self) -> int:
        """How many words the longest copied run has."""
        return int(self.lengths.max(initial=0))

    @property
    def longest_run(self) -> str:
        """The longest copied run, its words set apart by spaces; the first one of several."""
        if not self.words:
            return ""
        start = int(self.lengths.argmax())
        return " ".join(self.words[start : start + self.longest])

    def words_in_runs(self, at_least: int) -> int:
        """Return how many words are inside copied runs of `at_least` words."""
        starts = np.flatnonzero(self.lengths >= at_least)
        edges = np.zeros(len(self.words) + 1, np.int64)
        np.add.at(edges, starts, 1)
        np.add.at(edges, starts + self.lengths[starts], -1)
        return int(np.count_nonzero(edges.cumsum()))


def find_copies(texts: Sequence[str], training: Iterable[str]) -> list[Copies]:
    """Return what each text shares with the training documents, which are read once.

    A run stays within one document. Memory is that of the texts and of the longest document.

    >>> [found] = find_copies(["the cat sat on it"], ["a cat sat on the mat", "on it"])
    >>> found.lengths.tolist(), found.longest_run
    ([1, 3, 2, 2, 1], 'cat sat on')
    """
    if not texts:
        return []
    words = [text.split() for text in texts]
    vocabulary = {word: number for number, word in enumerate(sorted({w for t in words for w in t}))}
    index = _SuffixArray([[vocabulary[word] for word in text] for text in words], len(vocabulary))
    for chunk in _chunks(training, vocabulary):
        index.read(chunk)
    ends = np.cumsum([len(text) + 1 for text in words], dtype=np.int64)
    lengths = np.split(index.lengths(), ends[:-1])
    return [Copies(text, found[:-1]) for text, found in zip(words, lengths, strict=True)]


def _chunks(documents: Iterable[str], vocabulary: dict[str, int]) -> Iterator[Integers]:
    """Yield the numbers of the training words, whole documents together, each with an end."""
    chunk: list[int] = []
    for document in documents:
        chunk += map(vocabulary.get, document.split(), repeat(_UNKNOWN))
        chunk.append(_UNKNOWN)
        if len(chunk) >= _CHUNK_WORDS:
            yield np.array(chunk, np.int64)
            chunk = []
    yield np.array(chunk, np.int64)


@dataclass
class _Matches:
    """Places in the training text, and the suffixes that go on as it does there: [low, high)."""

    places: Integers
    low: Integers
    high: Integers

    def keep(self, kept: NDArray[np.bool_]) -> _Matches:
        return _Matches(self.places[kept], self.low[kept], self.high[kept])


@dataclass
class _SuffixArray:
    """The suffixes of all texts in order, and the longest run of each that was seen so far."""

    texts: list[list[int]]
    vocabulary_size: int
    _words: Integers = field(init=False)  # of all texts, each with an end of its own
    _order: Integers = field(init=False)  # where the suffixes begin, the least first
    _longest: Integers = field(init=False)  # (suffixes,) in that order

    def __post_init__(self) -> None:
        # The end of a text is unlike any word and any other end, so no run crosses it.
        ends = range(self.vocabulary_size, self.vocabulary_size + len(self.texts))
        words = [w for text, end in zip(self.texts, ends, strict=True) for w in (*text, end)]
        self._words = np.array(words, np.int64)
        self._order = _sort_suffixes(self._words)
        self._longest = np.zeros(self._words.size, np.int64)
        firsts = self._words[self._order]
        numbers = np.arange(self.vocabulary_size)
        self._low = np.searchsorted(firsts, numbers)
        self._high = np.searchsorted(firsts, numbers, side="right")

    def lengths(self) -> Integers:
        """Return the longest run seen from each word and end of the texts on."""
        lengths = np.zeros_like(self._longest)
        lengths[self._order] = self._longest
        return lengths

    def read(self, chunk: Integers) -> None:
        """Take note of all runs that a part of the training text has in common with the texts."""
        places = np.flatnonzero(chunk != _UNKNOWN)
        words = chunk[places]
        matches = _Matches(places, self._low[words], self._high[words])
        depth = 1
        while matches.places.size:
            self._note(matches, depth)
            matches = matches.keep(matches.places + depth < chunk.size)
            words = chunk[matches.places + depth]
            known = words != _UNKNOWN
            matches, words = matches.keep(known), words[known]
            low = self._search(matches, depth, words)
            high = self._search(matches, depth, words + 1)
            matches = _Matches(matches.places, low, high).keep(low < high)
            depth += 1

    def _note(self, matches: _Matches, depth: int) -> None:
        """Note that the suffixes in the matches have `depth` words in common with the training."""
        # Two intervals of one depth are the same or have nothing in common.
        low, first = np.unique(matches.low, return_index=True)
        edges = np.zeros(self._longest.size + 1, np.int64)
        edges[low] += 1
        edges[matches.high[first]] -= 1
        inside = edges[:-1].cumsum() > 0
        self._longest[inside] = np.maximum(self._longest[inside], depth)

    def _search(self, matches: _Matches, depth: int, words: Integers) -> Integers:
        """Return, in each match's interval, where the word at `depth` is `words` or more."""
        low, high = matches.low.copy(), matches.high.copy()
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) // 2
            suffix = self._order[np.minimum(middle, self._order.size - 1)]
            at = np.minimum(suffix + depth, self._words.size - 1)
            less = (low < high) & (self._words[at] < words)
            low = np.where(less, middle + 1, low)
            high = np.where(less, high, middle)
        return low


def _sort_suffixes(words: Integers) -> Integers:
    """Return where the suffixes begin, in order: by 1 word, then 2, 4, 8, ... (prefix doubling)."""
    rank = np.unique(words, return_inverse=True)[1].astype(np.int64)
    length = 1
    while rank.size and int(rank.max()) < rank.size - 1:
        following = np.concatenate([rank[length:] + 1, np.zeros(min(length, rank.size), np.int64)])
        rank = np.unique(rank * (rank.size + 1) + following, return_inverse=True)[1]
        rank = rank.astype(np.int64)
        length *= 2
    return np.argsort(rank)
