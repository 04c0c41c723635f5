"""The merges of a byte-level BPE, learnt from how often each word occurs.

Text repeats its words: 34 MB of mixed English and code has 78 thousand of them, in 0.6 MB. So the
words are counted first, with the split that encoding uses, and the merges are found in these.

A merge is a few array operations on the places where its pair stands. How often a pair occurs is
not kept up to date: it can only have become rarer since it arose, when the younger of its two
tokens did. So a pair is counted again only when its old count makes it the next candidate.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from seedbed.tokenizers.splitting import PADDING, word_starts
from seedbed.tokenizers.tokenizer_json import byte_characters
from seedbed.tokenizers.utf8 import chunk_documents
from seedbed.tokenizers.words import WordTable

_FEWEST = 2  # a pair that occurs once is not worth a token
_OUTSIDE = -1  # stands between words, and inside tokens

Places = NDArray[np.intp]


def count_words(texts: Iterable[str]) -> dict[bytes, int]:
    r"""Return how often each word occurs, as encoding splits them; the end of a text is b"\xff".

    >>> count_words(["so long, so long"])
    {b'so': 1, b' long': 2, b',': 1, b' so': 1, b'\xff': 1}
    """
    numbers: dict[bytes, int] = {}
    table = WordTable(lambda word: [numbers.setdefault(word, len(numbers))])
    counts = np.zeros(1, np.int64)
    for chunk in chunk_documents(texts):
        padded = np.frombuffer(chunk + PADDING, np.uint8)
        found = table.ids_of(padded, word_starts(padded))
        if len(numbers) > counts.size:
            counts = np.concatenate([counts, np.zeros(len(numbers), np.int64)])
        np.add.at(counts, found, 1)
    return dict(zip(numbers, counts.tolist(), strict=False))


def learn_merges(words: Mapping[bytes, int], number: int) -> list[tuple[str, str]]:
    """Return at most `number` merges: each time, of the pair that occurs most often.

    Of pairs that occur equally often, the one with the lower ids comes first, the left one's before
    the right one's. These are the merges that HF tokenizers' BpeTrainer finds in the same words.

    >>> learn_merges({b"so": 1, b" so": 2, b" long": 2}, 3)
    [('s', 'o'), ('l', 'o'), ('n', 'g')]
    """
    number = min(number, sum(map(len, words)))  # each merge leaves at least one token less
    tokens = sorted(byte_characters())
    text = _Tokens(words, tokens, len(tokens) + number)
    candidates = _Candidates(text)
    candidates.add(*text.byte_pairs())
    merges: list[tuple[str, str]] = []
    while len(merges) < number and (best := candidates.pop()):
        left, right, places = best
        merges.append((tokens[left], tokens[right]))
        # Never one that is there already: between the same two borders, the same bytes have at any
        # time been merged alike, so that the first pair to make a token is the only one.
        tokens.append(tokens[left] + tokens[right])
        candidates.add(*text.merge(left, right, places, len(tokens) - 1))
    return merges


class _Tokens:
    """All words as tokens, in one array: the id of a token stands at its first and its last byte.

    Elsewhere is _OUTSIDE. What a token leaves behind when it is merged is never taken for one: at
    any place the ids that follow each other belong to ever longer tokens.
    """

    def __init__(self, words: Mapping[bytes, int], byte_tokens: list[str], most: int) -> None:
        lengths = np.fromiter(map(len, words), np.intp, len(words)) + 1
        ids = bytes(map(byte_tokens.index, byte_characters()))
        data = b"\0".join([b"", *words, b""]).translate(ids)
        self._ids = np.frombuffer(data, np.uint8).astype(np.int32)
        self._ids[np.append(0, np.cumsum(lengths))] = _OUTSIDE
        counts = np.array([0, *words.values()])
        self._counts = np.repeat(counts.astype(np.min_scalar_type(counts.max())), [1, *lengths])
        self._lengths = np.ones(most, np.intp)

    def byte_pairs(self) -> tuple[Places, NDArray[np.int32], NDArray[np.int32]]:
        """Return all pairs as they are before the first merge: places, left ids, right ids."""
        ids = self._ids
        places = np.flatnonzero((ids[:-1] != _OUTSIDE) & (ids[1:] != _OUTSIDE))
        return places, ids[places], ids[places + 1]

    def still_there(self, left: int, right: int, places: Places) -> Places:
        """Return those of the places where the pair has not been merged with something else."""
        places = places[self._ids[places] == left]
        return places[self._ids[places + self._lengths[left]] == right]

    def counts_at(self, places: Places) -> NDArray[np.unsignedinteger]:
        """Return how often the word at each place occurs."""
        return self._counts[places]

    def merge(
        self, left: int, right: int, places: Places, merged: int
    ) -> tuple[Places, NDArray[np.int32], NDArray[np.int32]]:
        """Put `merged` where the pair stands; return the pairs that arise: places and both ids."""
        ids, lengths = self._ids, self._lengths
        middle, length = lengths[left], lengths[left] + lengths[right]
        lengths[merged] = length
        if left == right:
            places = _without_overlaps(np.sort(places), middle)
        ids[places + (middle - 1)] = ids[places + middle] = _OUTSIDE
        ids[places] = ids[places + (length - 1)] = merged
        before, after = ids[places - 1], ids[places + length]
        has_left = before != _OUTSIDE
        has_right = (after != _OUTSIDE) & (after != merged)  # two of `merged`: the second's left
        before, after = before[has_left], after[has_right]
        return (
            np.concatenate([places[has_left] - lengths[before], places[has_right]]),
            np.concatenate([before, np.full_like(after, merged)]),
            np.concatenate([np.full_like(before, merged), after]),
        )


def _without_overlaps(places: Places, step: np.intp) -> Places:
    """Return every other place, the first included, of each run of places a step apart.

    >>> _without_overlaps(np.array([1, 2, 3, 7, 8]), np.intp(1)).tolist()
    [1, 3, 7]
    """
    number = np.arange(places.size)
    first = np.diff(places, prepend=-1) != step
    return places[(number - np.maximum.accumulate(number * first)) % 2 == 0]


_Pair = tuple[int, int, Places]  # its count times -1, left id << 32 | right id, where it stands


class _Candidates:
    """Pairs of tokens, the most frequent first.

    Pairs that arise together are sorted once, and only the first of them waits in the heap.
    """

    def __init__(self, text: _Tokens) -> None:
        self._text = text
        self._heap: list[tuple[_Pair, Iterator[_Pair]]] = []  # and those that arose with it

    def add(self, places: Places, left: NDArray[np.int32], right: NDArray[np.int32]) -> None:
        """Add pairs that are new, all places of each."""
        if places.size:
            self._push(self._sorted(places, left.astype(np.int64) << 32 | right))

    def pop(self) -> tuple[int, int, Places] | None:
        """Return the pair that occurs most often, left id and right id, and its places."""
        while self._heap:
            (bound, pair, places), others = heapq.heappop(self._heap)
            self._push(others)
            left, right = pair >> 32, pair & 0xFFFFFFFF
            places = self._text.still_there(left, right, places)
            count = int(self._text.counts_at(places).sum(dtype=np.int64))
            if count == -bound:
                return left, right, places
            if count >= _FEWEST:
                self._push(iter([(-count, pair, places)]))
        return None

    def _push(self, pairs: Iterator[_Pair]) -> None:
        for first in pairs:
            heapq.heappush(self._heap, (first, pairs))
            break

    def _sorted(self, places: Places, pairs: NDArray[np.int64]) -> Iterator[_Pair]:
        order = np.argsort(pairs)
        places, pairs = places[order], pairs[order]
        starts = np.flatnonzero(np.diff(pairs, prepend=-1))
        ends = np.append(starts[1:], places.size)
        pairs = pairs[starts]
        counts = np.add.reduceat(self._text.counts_at(places), starts, dtype=np.int64)
        often = np.flatnonzero(counts >= _FEWEST)
        often = often[np.argsort(-counts[often], kind="stable")]  # `pairs` is in order already
        for i in often.tolist():
            yield -int(counts[i]), int(pairs[i]), places[starts[i] : ends[i]]
