"""A table of the words seen so far and their token ids, looked up for many words at once.

Text repeats its words, so that nearly every word of a chunk has been met before. The table is an
open-addressing hash table in numpy arrays: a lookup is a few array operations for all the words of
a chunk together. It is exact: a key is the word itself, its bytes and its length in two integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_LONGEST = 15  # bytes of a word that fit in two 64-bit integers beside its length
_FEWEST_SLOTS = 1 << 15  # to begin with; twice as many whenever half of them are taken
_SLOTS = 1 << 18
_MOST_WORDS = _SLOTS // 2  # at these bounds all is forgotten: 6 MB of table,
_MOST_IDS = 1 << 21  # 8 MB of ids,
_MOST_LONG_WORDS = 1 << 15  # and, in a dictionary, at most 16 MB of words that fit no key
_LONGEST_KEPT = 256
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # odd, from xxHash

# Which bits of the first and of the second eight bytes belong to a word of 0 to 16 bytes.
_LOW_BITS = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], np.uint64)
_HIGH_BITS = np.array([(1 << 8 * min(max(n - 8, 0), 7)) - 1 for n in range(17)], np.uint64)


class WordTable:
    """Looks up the ids of words; asks `encode_word` for those it has not met, and keeps them.

    >>> table = WordTable(list)
    >>> data = np.frombuffer(b"abab" + bytes(16), np.uint8)
    >>> table.ids_of(data, np.array([0, 2, 4])).tolist()
    [97, 98, 97, 98]
    """

    def __init__(self, encode_word: Callable[[bytes], list[int]]) -> None:
        self._encode_word = encode_word
        self._forget()

    def ids_of(self, padded: NDArray[np.uint8], starts: NDArray[np.intp]) -> NDArray[np.uint32]:
        """Return the ids, end to end, of the words `padded[starts[i]:starts[i + 1]]`."""
        if starts.size < 2:
            return np.empty(0, np.uint32)
        if self._is_full():
            self._forget()
        low, high = _keys(padded, starts)
        slots, unmet = self._find(low, high)
        places = self._places[slots]
        if unmet.size:
            places[unmet] = self._learn(padded, starts, unmet)
            self._insert(low[unmet], high[unmet], places[unmet])
        return self._ids_at(places)

    def _forget(self) -> None:
        self._empty(_FEWEST_SLOTS)
        self._words = 0
        self._ids = np.zeros(1 << 16, np.uint32)
        self._used = 0
        self._long_words: dict[bytes, int] = {}

    def _empty(self, slots: int) -> None:
        self._low = np.zeros(slots, np.uint64)
        self._high = np.zeros(slots, np.uint64)  # 0: the slot is free
        self._places = np.zeros(slots, np.uint64)  # where in `_ids`, shifted by 32, and how many

    def _is_full(self) -> bool:
        return (
            self._words > _MOST_WORDS
            or self._used > _MOST_IDS
            or len(self._long_words) > _MOST_LONG_WORDS
        )

    def _find(
        self, low: NDArray[np.uint64], high: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the slot of each word, and which words have none yet."""
        slots = self._first_slots(low, high)
        pending = np.flatnonzero((self._low[slots] != low) | (self._high[slots] != high))
        unmet: list[NDArray[np.intp]] = [pending[:0]]
        while pending.size:
            free = self._high[slots[pending]] == 0
            unmet.append(pending[free])
            pending = pending[~free]
            at = slots[pending] = (slots[pending] + 1) & (self._low.size - 1)
            pending = pending[(self._low[at] != low[pending]) | (self._high[at] != high[pending])]
        return slots, np.concatenate(unmet)

    def _learn(
        self, padded: NDArray[np.uint8], starts: NDArray[np.intp], unmet: NDArray[np.intp]
    ) -> NDArray[np.uint64]:
        """Return the places of words that the table lacks, encoding those not met at all."""
        text = padded.tobytes()
        fresh: dict[bytes, int] = {}
        ids: list[int] = []
        places: list[int] = []
        for begin, end in zip(starts[unmet].tolist(), starts[unmet + 1].tolist(), strict=True):
            word = text[begin:end]
            known = self._long_words if _LONGEST < len(word) <= _LONGEST_KEPT else fresh
            if word not in known:
                of_word = self._encode_word(word)
                known[word] = (self._used + len(ids)) << 32 | len(of_word)
                ids += of_word
            places.append(known[word])
        self._keep(ids)
        return np.array(places, np.uint64)

    def _keep(self, ids: list[int]) -> None:
        end = self._used + len(ids)
        if end > self._ids.size:
            room = np.zeros(max(end, 2 * self._ids.size) - self._ids.size, np.uint32)
            self._ids = np.concatenate([self._ids, room])
        self._ids[self._used : end] = ids
        self._used = end

    def _insert(
        self, low: NDArray[np.uint64], high: NDArray[np.uint64], places: NDArray[np.uint64]
    ) -> None:
        """Give a slot to each word that is short enough for a key, while there is room."""
        _, once = np.unique(places, return_index=True)
        once = once[(high[once] >> np.uint64(56)) <= _LONGEST]
        once = once[: max(0, _SLOTS * 3 // 4 - self._words)]
        self._words += once.size
        if self._words > self._low.size // 2 and self._low.size < _SLOTS:
            self._grow()
        self._put(low[once], high[once], places[once])

    def _grow(self) -> None:
        """Make the slots twice as many until half of them are enough, or there are _SLOTS."""
        slots = self._low.size
        while slots < min(2 * self._words, _SLOTS):
            slots *= 2
        taken = self._high != 0
        words = self._low[taken], self._high[taken], self._places[taken]
        self._empty(slots)
        self._put(*words)

    def _put(
        self, low: NDArray[np.uint64], high: NDArray[np.uint64], places: NDArray[np.uint64]
    ) -> None:
        """Put words, each once, into the next free slots after their first."""
        slots = self._first_slots(low, high)
        while slots.size:
            free = self._high[slots] == 0
            self._low[slots[free]] = low[free]  # of two words at one slot the last is written
            self._high[slots[free]] = high[free]
            won = free & (self._low[slots] == low) & (self._high[slots] == high)
            self._places[slots[won]] = places[won]
            low, high, places = low[~won], high[~won], places[~won]
            slots = (slots[~won] + 1) & (self._low.size - 1)

    def _first_slots(self, low: NDArray[np.uint64], high: NDArray[np.uint64]) -> NDArray[np.intp]:
        shift = np.uint64(65 - self._low.size.bit_length())
        return ((low * _FACTORS[0] + high * _FACTORS[1]) >> shift).astype(np.intp)

    def _ids_at(self, places: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Return the ids at all places, end to end."""
        counts = (places & np.uint64(0xFFFFFFFF)).astype(np.intp)
        ends = np.cumsum(counts)
        shifts = (places >> np.uint64(32)).astype(np.intp) - (ends - counts)
        return self._ids[np.repeat(shifts, counts) + np.arange(ends[-1])]


def _keys(
    padded: NDArray[np.uint8], starts: NDArray[np.intp]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return bytes 0-7 of each word, and bytes 8-14 below its length (16 for all longer ones)."""
    eight_from = np.ndarray((padded.size - 7,), np.dtype("<u8"), padded, strides=(1,))
    lengths = np.diff(starts)
    capped = np.minimum(lengths, _LONGEST + 1)
    low = eight_from[starts[:-1]] & _LOW_BITS[capped]
    high = capped.astype(np.uint64) << np.uint64(56)
    long = np.flatnonzero(capped > 8)
    high[long] |= eight_from[starts[long] + 8] & _HIGH_BITS[capped[long]]
    return low, high
