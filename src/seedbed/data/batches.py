"""Batches as a function of (seed, step): there is no loader state to save.

Resuming, splitting over ranks and accumulating micro-batches all fall out of that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seedbed.errors import DataError

IGNORED = -100  # a target that nothing is asked of


@dataclass(frozen=True)
class Batch:
    """Token ids and what should follow each; IGNORED where nothing is asked.

    Rows that hold several documents say which token is of which: none sees another.
    """

    inputs: Tensor  # (batch, time), int64
    targets: Tensor  # (batch, time), int64
    documents: Tensor | None = None  # (batch, time), int64: 0, 1, ... along a row; -1 is padding

    @property
    def num_targets(self) -> int:
        """How many tokens are predicted."""
        return int((self.targets != IGNORED).sum())

    def to(self, device: torch.device) -> Self:
        """Return this batch on `device`."""
        if device.type == "cuda":
            return type(self)(*(t.pin_memory().to(device, non_blocking=True) for t in self.tensors))
        return type(self)(*(t.to(device) for t in self.tensors))

    def pieces(self, rows: int) -> list[Self]:
        """Return this batch in pieces of `rows` sequences, the last of which may have fewer."""
        return [
            type(self)(*(t[first : first + rows] for t in self.tensors))
            for first in range(0, len(self.inputs), rows)
        ]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that there is, in the order of the fields."""
        found = (getattr(self, field.name) for field in fields(self))
        return tuple(tensor for tensor in found if tensor is not None)


@dataclass(frozen=True)
class WindowSampler:
    """Windows of context_length + 1 tokens over a token stream.

    "epochs": every window once an epoch in a keyed order, the cuts between windows shifted by a
    random offset each epoch. "random": windows drawn with replacement, as nanoGPT does.
    """

    tokens: NDArray[np.unsignedinteger]
    context_length: int
    seed: int
    sampling: Literal["epochs", "random"] = "epochs"

    def __post_init__(self) -> None:
        if self.windows_per_epoch < 1:
            raise DataError(
                f"The training split has {len(self.tokens):,} tokens, too few for a context of "
                f"{self.context_length:,}. Take more text, or a smaller model.context_length."
            )

    @property
    def windows_per_epoch(self) -> int:
        """How many windows every offset leaves room for."""
        return (len(self.tokens) - 1 - (self.context_length - 1)) // self.context_length

    def batch(self, first: int, rows: int) -> Batch:
        """Return `rows` windows from number `first` on, of the endless sequence of windows."""
        starts = self._starts(np.arange(first, first + rows, dtype=np.int64))
        length = self.context_length + 1
        windows = np.stack([self.tokens[s : s + length] for s in starts]).astype(np.int64)
        both = torch.from_numpy(windows)  # pyright: ignore[reportUnknownMemberType] (its stub)
        return Batch(both[:, :-1].contiguous(), both[:, 1:].contiguous())

    def _starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.sampling == "random":
            room = len(self.tokens) - self.context_length
            return np.array([_draw(room, self.seed, int(i)) for i in numbers], dtype=np.int64)
        n = self.windows_per_epoch
        epochs, which = np.unique(numbers // n, return_inverse=True)
        offsets = [_draw(self.context_length, self.seed, int(epoch), 1) for epoch in epochs]
        places = in_keyed_order(numbers, n, self.seed, 2)
        return np.array(offsets, dtype=np.int64)[which] + places * self.context_length


def in_keyed_order(
    numbers: NDArray[np.int64], size: int, seed: int, *purpose: int
) -> NDArray[np.int64]:
    """Return which of `size` things each number stands for, of the endless sequence of epochs.

    Each epoch has all of them once, in an order that depends on (seed, epoch, purpose) alone.

    >>> in_keyed_order(np.arange(6), 3, 1).tolist()
    [2, 0, 1, 1, 0, 2]
    """
    epochs, places = np.divmod(numbers, size)
    things = np.empty_like(places)
    for epoch in np.unique(epochs):
        inside = epochs == epoch
        key = _draw(2**62, seed, int(epoch), *purpose)
        things[inside] = permute(places[inside], size, key=key)
    return things


def _draw(below: int, *key: int) -> int:
    """Return a random number below `below` that depends on `key` alone."""
    return int(np.random.default_rng(key).integers(below))


def permute(indices: NDArray[np.int64], size: int, *, key: int) -> NDArray[np.int64]:
    """Return the images of `indices` under a keyed permutation of range(size), without a table.

    A four-round Feistel network over the next even number of bits; values outside the range
    walk on until they are inside (Black and Rogaway, 2002).

    >>> sorted(permute(np.arange(10), 10, key=7).tolist()) == list(range(10))
    True
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    rounds = np.random.default_rng(key).integers(1, 2**63, size=4, dtype=np.uint64)
    values = indices.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left, right = values[outside] >> shift, values[outside] & mask
        for round_key in rounds:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        values[outside] = (left << shift) | right
        outside = values >= size
    return values.astype(np.int64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return well-mixed bits (the finaliser of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
