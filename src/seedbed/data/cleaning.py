"""Which documents are kept: no empty ones, no broken text, no copies, none that the filters name.

Every drop is counted.

A document's content hash (64 bits of BLAKE2b) decides whether it was seen before, and on which side
of the split it goes; so copies cannot stand on both sides. At 64 bits, a million documents hold
one false duplicate with a chance of 1 in 37 million.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seedbed.data.documents import Document
from seedbed.data.drops import BROKEN_UTF8, EMPTY, EXACT, IN_VALIDATION, NEAR, Drops
from seedbed.data.filters import Filters
from seedbed.data.near_duplicates import NearDuplicates
from seedbed.data.seen_hashes import SeenHashes
from seedbed.errors import DataError

Dedup = Literal["none", "exact", "near"]

DROPPED = 0  # stands for a document that is not kept, where others have their content hash


def content_hash(data: bytes) -> int:
    """Return 64 bits that stand for the content, never 0.

    >>> content_hash(b"once") == content_hash(b"once") != content_hash(b"Once")
    True
    """
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


class Cleaner:
    """Decides, document by document in reading order, what is kept.

    >>> cleaner = Cleaner("exact")
    >>> texts = ["Once.", "", "Once.", "Twice."]
    >>> [cleaner.encode(Document(t, "a.txt", n)) for n, t in enumerate(texts)]
    [b'Once.', None, None, b'Twice.']
    >>> cleaner.drops.counts
    {'empty': 1, 'exact duplicate': 1}
    """

    def __init__(
        self,
        dedup: Dedup = "exact",
        *,
        filters: Filters | None = None,
        drops: Drops | None = None,
    ) -> None:
        self.drops = drops if drops is not None else Drops()
        self._filters = filters or Filters()
        self._seen = SeenHashes() if dedup != "none" else None
        self._near = NearDuplicates() if dedup == "near" else None
        self._validation = SeenHashes()
        self._kept = 0

    def encode(self, document: Document, *, validation: bool = False) -> bytes | None:
        """Return the document's UTF-8, or None when it is dropped, which is counted.

        `validation`: the document comes from a validation source, which is read first; documents
        that equal it are dropped from the training text. Raises DataError when the text is not
        UTF-8 for the most part.
        """
        try:
            data = document.text.encode()
        except UnicodeEncodeError:
            self._refuse_if_most_are_broken(document)
            return self._drop(BROKEN_UTF8, document)
        if not data:
            return self._drop(EMPTY, document)
        reason = self._filters.reason_to_drop(document.text) or self._copy_of_another(
            document, content_hash(data), validation=validation
        )
        if reason:
            return self._drop(reason, document)
        self._kept += 1
        return data

    def _copy_of_another(self, document: Document, key: int, *, validation: bool) -> str | None:
        if not validation and key in self._validation:
            return IN_VALIDATION
        if self._seen is not None and not self._seen.add(key):
            return EXACT
        if validation:
            self._validation.add(key)
        return NEAR if self._near is not None and not self._near.add(document.text) else None

    def _drop(self, reason: str, document: Document) -> None:
        self.drops.add(reason, document.place)

    def _refuse_if_most_are_broken(self, document: Document) -> None:
        broken = self.drops.counts.get(BROKEN_UTF8, 0) + 1
        if broken >= 10 and broken > self._kept:
            first = self.drops.first[BROKEN_UTF8]
            raise DataError(
                f"{broken:,} of the first {broken + self._kept:,} documents are not valid UTF-8 "
                f"(the first: {first}). Convert the text, for instance with "
                f"`iconv -f ISO-8859-1 -t UTF-8 {document.source}`."
            )


def validation_threshold(hashes: NDArray[np.uint64], fraction: float) -> int:
    """Return the content hash below which a document is for validation; `hashes` are sorted.

    About `fraction` of the documents are, and at least one on each side. Raises DataError when
    there are no two different documents.

    >>> validation_threshold(np.array([1, 5, 7, 9], np.uint64), fraction=0.25)
    5
    """
    lowest = int(hashes[0])
    after_first = int(np.searchsorted(hashes, np.uint64(lowest), side="right"))
    if after_first == hashes.size:
        raise DataError(
            "There is too little text for a validation split: a single document, or copies of it. "
            "Add text, or name other text with --val SOURCE."
        )
    count = min(max(1, round(fraction * hashes.size)), hashes.size - 1)
    return int(hashes[max(count, after_first)])  # the lowest hash itself is for validation


def default_validation_fraction(total_bytes: int) -> float:
    """Return how much of a text is for validation: a tenth, about 2 MB, or 0.5 % of a large one.

    >>> [default_validation_fraction(n) for n in (1_000_000, 100_000_000, 10_000_000_000)]
    [0.1, 0.02, 0.005]
    """
    return min(0.1, max(0.005, 2_000_000 / max(1, total_bytes)))
