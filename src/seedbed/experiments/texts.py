"""The texts of an experiment: what is there, what is held out, and which documents a run sees.

Documents are told by their content hashes, so copies of one are always on the same side: held out
or in training, in one part or another. The lowest hashes are held out, as `prepare` does it.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from seedbed.data.cleaning import Cleaner, Dedup, content_hash
from seedbed.data.dataset_texts import DatasetText
from seedbed.data.documents import Document
from seedbed.data.drops import Drops
from seedbed.data.filters import Filters
from seedbed.data.pieces import ReadOptions
from seedbed.errors import DataError

HELD_OUT_SHARE = 0.1  # of a text, at most
HELD_OUT_DOCUMENTS = 2  # at least
FEWEST_DOCUMENTS = 10  # of a dataset
MOST_PIECES = 20  # an evaluation document is cut to the set's bytes through this

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Contents:
    """Different documents of a text: arrays of shape (documents,)."""

    hashes: Hashes
    sizes: NDArray[np.int64]  # in bytes of UTF-8, all copies of it counted

    def __len__(self) -> int:
        """Return how many there are."""
        return self.hashes.size

    @property
    def bytes(self) -> int:
        """All bytes."""
        return int(self.sizes.sum())

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Contents:
        """Return those chosen, in that order."""
        return Contents(self.hashes[chosen], self.sizes[chosen])

    def without(self, hashes: Hashes) -> Contents:
        """Return those that are not among `hashes`."""
        return self.take(~np.isin(self.hashes, hashes))

    def shuffled(self, seed: int) -> Contents:
        """Return the same in an order that the contents and the seed decide."""
        ordered = self.take(np.argsort(self.hashes))
        return ordered.take(np.random.default_rng((seed, 1)).permutation(len(self)))

    def parts(self, number: int) -> list[Contents]:
        """Return `number` disjoint parts of about the same bytes, in the order that they have.

        >>> sizes = np.array([3, 1, 2, 2, 3, 1])
        >>> [p.sizes.tolist() for p in Contents(np.arange(6, dtype=np.uint64), sizes).parts(3)]
        [[3, 1], [2, 2], [3, 1]]
        """
        middles = np.cumsum(self.sizes) - self.sizes / 2
        part = np.minimum(middles * number // max(1, self.bytes), number - 1)
        return [self.take(part == n) for n in range(number)]

    def first_bytes(self, size: float) -> Contents:
        """Return the first ones that have `size` bytes together, or all."""
        return self.take(np.cumsum(self.sizes) - self.sizes < size)


class Text:
    """Sources that are read as one, cleaned; each reading gives the same documents."""

    def __init__(
        self,
        name: str,
        sources: Sequence[str],
        *,
        options: ReadOptions,
        filters: Filters | None = None,
        dedup: Dedup = "exact",
    ) -> None:
        self.name, self.sources = name, tuple(sources)
        self.drops = Drops()
        self.documents = 0  # once surveyed; copies that cleaning keeps counted
        self._texts = [DatasetText(source, options) for source in sources]
        self._filters = filters or Filters()
        self._dedup: Dedup = dedup

    def survey(self, *, at_least: int) -> Contents:
        """Return what cleaning keeps. Raises DataError where it is fewer documents."""
        cleaner = Cleaner(self._dedup, filters=self._filters, drops=self.drops)
        hashes: list[int] = []
        sizes: list[int] = []
        for text in self._read(self.drops):
            data = cleaner.encode(Document(text, self.name, len(hashes) + 1))
            if data is not None:
                hashes.append(content_hash(data))
                sizes.append(len(data))
        self.documents = len(hashes)
        unique, where = np.unique(np.array(hashes, np.uint64), return_inverse=True)
        if unique.size < at_least:
            documents = "document" if unique.size == 1 else "documents"
            raise DataError(
                f"`{self.name}` ({', '.join(self.sources)}) has {unique.size} different "
                f"{documents}, but {at_least} are the fewest to compare by. Give more text, or say "
                "with `document_separator` where documents end."
            )
        totals = np.bincount(where, weights=np.array(sizes, np.float64), minlength=unique.size)
        return Contents(unique, totals.astype(np.int64))

    def read(self, wanted: Collection[int]) -> Iterator[tuple[int, str]]:
        """Yield the documents whose hashes are wanted, in reading order; copies where kept."""
        missing = set(wanted)
        for text in self._read(Drops()):
            key = content_hash(text.encode())
            if key in missing or (self._dedup == "none" and key in wanted):
                missing.discard(key)
                yield key, text
        if missing:
            raise DataError(f"The text of `{self.name}` changed while it was read. Start anew.")

    def _read(self, drops: Drops) -> Iterator[str]:
        return (document for text in self._texts for document in text.documents(drops))


@dataclass
class Found:
    """What the texts of an experiment turned out to have, by the name of each."""

    texts: dict[str, Text] = field(default_factory=dict[str, Text])  # to learn from, to judge by
    contents: dict[str, Contents] = field(default_factory=dict[str, Contents])  # to learn from
    held_out: dict[str, Contents] = field(default_factory=dict[str, Contents])
    training: dict[str, Contents] = field(default_factory=dict[str, Contents])  # shuffled
    evals: dict[str, dict[int, str]] = field(default_factory=dict[str, dict[int, str]])  # by hash
    bytes_per_token: dict[str, float] = field(default_factory=dict[str, float])  # from a sample
    tokenizer_bytes: int = 0  # of each text that the tokenizer was made of
    # An evaluation document (set, hash), and the texts whose training documents have it.
    contamination: dict[tuple[str, int], list[str]] = field(
        default_factory=dict[tuple[str, int], list[str]]
    )


def can_sketch() -> bool:
    """Return whether near duplicates can be looked for."""
    return find_spec("datasketch") is not None


def hold_out(contents: Contents, size: int, *, share: float = HELD_OUT_SHARE) -> Contents:
    """Return the documents that models are judged on: about `size` bytes of what is scored.

    Those with the lowest hashes: at most `share` of all bytes, and two documents at least.
    """
    ordered = contents.take(np.argsort(contents.hashes))
    scored = np.minimum(ordered.sizes, longest_scored(size))
    enough = (np.cumsum(scored) <= size) & (np.cumsum(ordered.sizes) <= share * ordered.bytes)
    return ordered.take(slice(0, max(HELD_OUT_DOCUMENTS, int(enough.sum()))))


def longest_scored(size: int) -> int:
    """Return of how many bytes an evaluation document is at most in a set of `size` bytes."""
    return max(1, size // MOST_PIECES)


def cut_to(text: str, size: int) -> str:
    """Return the beginning of a text that has at most `size` bytes of UTF-8.

    >>> cut_to("né", 2)
    'n'
    """
    return text.encode()[:size].decode("utf-8", "ignore")


def repeat_to(contents: Contents, size: float) -> dict[int, float]:
    """Return how often each document is taken so that `size` bytes come together: a mixture's part.

    Of one document, the beginning is taken once more: 1.5 is all of it, and the first half again.

    >>> repeat_to(Contents(np.array([7, 8], np.uint64), np.array([10, 10])), 25)
    {7: 1.5, 8: 1.0}
    """
    rounds, left = divmod(size, max(1, contents.bytes))
    before = np.cumsum(contents.sizes) - contents.sizes
    times = rounds + np.clip((left - before) / contents.sizes, 0, 1)
    taken = zip(contents.hashes.tolist(), times.tolist(), strict=True)
    return {key: often for key, often in taken if often > 0}
