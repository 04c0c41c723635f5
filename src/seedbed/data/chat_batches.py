"""Whole conversations packed into rows, each of which sees itself alone.

A batch is a function of (seed, row number), as in batches.py.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seedbed.data.batches import IGNORED, Batch, in_keyed_order
from seedbed.data.token_shards import TokenShards
from seedbed.errors import DataError


class ChatSampler:
    """Rows of `window` tokens with whole conversations, each conversation once an epoch.

    Which of them share a row stays; the order of the rows changes with the epoch. Raises DataError
    for a conversation that is longer.
    """

    def __init__(self, shards: TokenShards, window: int, seed: int) -> None:
        assert shards.trained is not None
        self._shards, self._window, self._seed = shards, window, seed
        sizes = np.diff(shards.offsets) - 1  # inputs: all ids but the last
        self._rows = best_fit(sizes.tolist(), window)

    @property
    def rows_per_epoch(self) -> int:
        """How many rows hold every conversation once."""
        return len(self._rows)

    def batch(self, first: int, rows: int) -> Batch:
        """Return `rows` rows from number `first` on, of the endless sequence of rows."""
        numbers = np.arange(first, first + rows)
        order: list[int] = in_keyed_order(numbers, self.rows_per_epoch, self._seed).tolist()
        groups = [self._rows[i] for i in order]
        return Batch(*packed_rows(self._shards, groups, self._window))


def packed_rows(
    shards: TokenShards, groups: Iterable[Sequence[int]], window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inputs, targets and documents of rows, each with a group of conversations."""
    rows = [
        pack([(shards.document(i), shards.trained_of(i)) for i in group], window)
        for group in groups
    ]
    inputs, targets, documents = (torch.tensor(np.stack(p)) for p in zip(*rows, strict=True))
    return inputs, targets, documents


def pack(
    conversations: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the inputs, targets and documents of a row, (window,) each: `Batch` has many.

    A conversation comes as its ids and, for each, whether it is to be learned.
    """
    inputs = np.zeros(window, np.int64)
    targets = np.full(window, IGNORED, np.int64)
    documents = np.full(window, -1, np.int64)
    start = 0
    for number, (ids, trained) in enumerate(conversations):
        end = start + len(ids) - 1
        inputs[start:end] = ids[:-1]
        targets[start:end] = np.where(trained[1:], ids[1:].astype(np.int64), IGNORED)
        documents[start:end] = number
        start = end
    return inputs, targets, documents


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Return groups of indices whose sizes fit into `room`: the longest first, where least is left.

    Best-fit decreasing, which wastes hardly more than the best packing (Ding et al., 2024, "Fewer
    truncations improve language modeling"). Raises DataError for a size that does not fit.

    >>> best_fit([5, 3, 4, 2], 7)
    [[0, 3], [2, 1]]
    """
    groups: list[list[int]] = []
    open_groups: dict[int, list[int]] = defaultdict(list)  # room that is left -> groups
    rooms: list[int] = []  # those that some group has, in order
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        size = sizes[index]
        if size > room:
            raise DataError(f"A conversation has {size:,} tokens, but a row has {room:,}.")
        place = bisect_left(rooms, size)
        if place == len(rooms):
            left = room
            groups.append([])
            group = len(groups) - 1
        else:
            left = rooms[place]
            group = open_groups[left].pop()
            if not open_groups[left]:
                rooms.pop(place)
        groups[group].append(index)
        left -= size
        if not open_groups[left]:
            insort(rooms, left)
        open_groups[left].append(group)
    return groups
