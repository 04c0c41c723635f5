"""The first pass over the text: what there is, what is kept, and where the split lies.

It leaves a file with the content hash of every document (0 for a dropped one), which the second
pass follows, and two samples: training text to make a tokenizer from, and validation text for the
n-gram baseline. Memory stays the same for any amount of text, but for the hashes of seen documents.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from seedbed.data.cleaning import (
    DROPPED,
    Cleaner,
    content_hash,
    default_validation_fraction,
    validation_threshold,
)
from seedbed.data.documents import Document
from seedbed.errors import DataError

TOKENIZER_SAMPLE_BYTES = 16_000_000
VALIDATION_SAMPLE_BYTES = 500_000
_LONGEST_IN_SAMPLE = 1 << 20
_MIX = 0x9E3779B97F4A7C15  # odd, so that all hashes stay different
FEWEST_BYTES = 2_048


class HashSample:
    """A uniform sample of at most `size` bytes: the documents whose priorities are the lowest.

    >>> sample = HashSample(10)
    >>> for priority, text in [(5, b"five"), (9, b"nine"), (1, b"one"), (7, b"seven")]:
    ...     sample.add(text, key=0, priority=priority)
    >>> sample.texts(range(1))
    [b'five', b'one']
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._below = 1 << 64
        self._number = 0
        self._heap: list[tuple[int, int, int, bytes]] = []  # (-priority, number, key, text)

    def add(self, text: bytes, *, key: int, priority: int) -> None:
        """Offer a document to the sample; of a very long one its first MB."""
        if priority >= self._below:
            return
        self._number += 1
        heapq.heappush(self._heap, (-priority, self._number, key, text[:_LONGEST_IN_SAMPLE]))
        self._left -= min(len(text), _LONGEST_IN_SAMPLE)
        while self._left < 0 and len(self._heap) > 1:
            highest, _, _, dropped = heapq.heappop(self._heap)
            self._left += len(dropped)
            self._below = -highest

    def texts(self, keys: range) -> list[bytes]:
        """Return the documents of the sample whose keys are among `keys`, in reading order."""
        return [text for _, text in sorted((n, t) for _, n, key, t in self._heap if key in keys)]


@dataclass(frozen=True)
class Survey:
    """What the first pass found."""

    documents_read: int
    from_validation_source: int  # of these: they are read first
    bytes_kept: int
    threshold: int  # documents with a hash below it are for validation
    content: str  # SHA-256 of the hashes of all documents, in order
    drops: dict[str, dict[str, int | str]]
    normalised: int = 0  # documents that normalisation changed


@dataclass(frozen=True)
class Samples:
    """Text kept from the first pass."""

    training: list[bytes]
    validation: list[bytes]
    characters: frozenset[str]  # of all text; empty when they were not asked for

    @classmethod
    def of(cls, training: list[bytes]) -> Samples:
        """Return samples of this training text alone."""
        text = b"".join(training).decode("utf-8", "ignore")
        return cls(training, [], frozenset(text))


class Surveyor:
    """Reads every document once, cleans it, and writes its hash down."""

    def __init__(self, cleaner: Cleaner, hashes: BinaryIO, *, characters: bool) -> None:
        self._cleaner = cleaner
        self._hashes = hashes
        self._characters: set[str] | None = set() if characters else None
        self._training = HashSample(TOKENIZER_SAMPLE_BYTES)
        self._validation = HashSample(VALIDATION_SAMPLE_BYTES)
        self._read = {"train": 0, "val": 0}
        self._kept = {"train": 0, "val": 0}  # bytes

    def read(self, documents: Iterable[Document], origin: Literal["train", "val"]) -> Iterator[int]:
        """Clean all documents; yield how many bytes were kept so far, about every MB and at last.

        `origin` is "val" for the documents of a validation source; they come first.
        """
        told = 0
        for document in documents:
            self._take(document, origin)
            kept = self._kept["train"] + self._kept["val"]
            if kept - told >= 1 << 20:
                told = kept
                yield kept
        yield self._kept["train"] + self._kept["val"]

    def _take(self, document: Document, origin: Literal["train", "val"]) -> None:
        self._read[origin] += 1
        data = self._cleaner.encode(document, validation=origin == "val")
        key = content_hash(data) if data else DROPPED
        self._hashes.write(key.to_bytes(8, "little"))
        if not data:
            return
        self._kept[origin] += len(data)
        if self._characters is not None:
            self._characters.update(document.text)
        if origin == "train":
            self._training.add(data, key=key, priority=key * _MIX % (1 << 64))
        if origin == "val" or not self._read["val"]:  # the lowest hashes will be for validation
            self._validation.add(data, key=key, priority=key)

    def finish(self, hashes: Path, fraction: float | None) -> tuple[Survey, Samples]:
        """Return what was found, the split decided. Raises DataError when it is too little."""
        self._refuse_no_text()
        self._refuse_too_little(self._kept["train"], "")
        kept = sum(self._kept.values())
        keys = np.fromfile(hashes, "<u8")
        content = hashlib.sha256(keys.data).hexdigest()
        threshold = 0
        if not self._read["val"]:
            keys.sort()
            keys = keys[np.searchsorted(keys, DROPPED, side="right") :]
            threshold = validation_threshold(keys, fraction or default_validation_fraction(kept))
        read, drops = self._read["train"] + self._read["val"], self._cleaner.drops.facts()
        survey = Survey(read, self._read["val"], kept, threshold, content, drops)
        everything = range(1 << 64)
        samples = Samples(
            self._training.texts(everything[threshold:]),
            self._validation.texts(everything[:threshold] if threshold else everything),
            frozenset(self._characters or ()),
        )
        self._refuse_too_little(sum(map(len, samples.training)), " for training")
        return survey, samples

    @property
    def _dropped(self) -> str:
        told = ", ".join(f"{n:,} {reason}" for reason, n in self._cleaner.drops.counts.items())
        return f" ({told})" if told else ""

    def _refuse_no_text(self) -> None:
        for origin, name in (("val", "--val SOURCE"), ("train", "SOURCE")):
            if not self._kept[origin] and (self._read[origin] or origin == "train"):
                raise DataError(
                    f"{name} holds no text: {self._read[origin]:,} documents read, "
                    f"none of them kept{self._dropped}."
                )

    def _refuse_too_little(self, size: int, what_for: str) -> None:
        if size < FEWEST_BYTES:
            raise DataError(
                f"There is too little text{what_for}: {size:,} bytes{self._dropped}, and at least "
                f"{FEWEST_BYTES:,} are needed. A model of any use wants a million or more."
            )
