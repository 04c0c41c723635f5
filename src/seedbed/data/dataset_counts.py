"""One pass over the documents of a dataset: what is counted, hashed, sketched and kept of it.

What is counted is exact. Memory is bounded, whatever the size of the text: 50 MB of hashes at most
(hash_counts.py), 34 MB of sketches (duplicates.py), a sample of 2 MB, and one document.
"""

# pyright: strict

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import zstandard

from seedbed.data.cleaning import content_hash
from seedbed.data.drops import Drops
from seedbed.data.duplicates import MOST_SKETCHES, Sketches
from seedbed.data.hash_counts import HashCounts
from seedbed.data.near_duplicates import Sketcher
from seedbed.data.overlap import RUN, ContaminationIndex, Scan
from seedbed.data.survey import HashSample
from seedbed.data.text_statistics import count_sentences, personal_counts
from seedbed.data.vocabulary import ZSTD_LEVEL
from seedbed.data.word_runs import Hashes, run_hashes, word_codes
from seedbed.tokenizers.base import Tokenizer

SAMPLE_BYTES = 2_000_000
QUANTILES = (0, 1, 5, 10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 95, 99, 100)  # per cent
_ENCODE_BYTES = 1 << 20  # of text, encoded together
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")


class DatasetCounts:
    """What is known of the documents that were read.

    >>> counts = DatasetCounts()
    >>> for text in ("One two. Three!", "One two. Three!"):
    ...     counts.add(text)
    >>> counts.documents, counts.words, counts.sentences, counts.contents.distinct
    (2, 6, 4, 1)
    """

    def __init__(
        self,
        *,
        tokenizer: Tokenizer | None = None,
        sketcher: Sketcher | None = None,
        indexes: Sequence[ContaminationIndex] = (),
    ) -> None:
        self.bytes = self.characters = self.sentences = self.compressed = 0
        self.document_words: Counter[int] = Counter()  # how many documents have so many words
        self.personal: Counter[str] = Counter()
        self.contents, self.lines = HashCounts(), HashCounts()
        self.paragraphs, self.runs = HashCounts(), HashCounts()
        self.sketches = Sketches()
        self.scans = [Scan(index) for index in indexes]
        self.drops = Drops()  # documents that were left out before
        self.tokenizer = tokenizer
        self.tokens = 0  # those that begin and end documents counted
        self._sketcher = sketcher
        self._sample = HashSample(SAMPLE_BYTES)
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        self._to_encode: list[str] = []
        self._to_encode_size = 0

    @property
    def documents(self) -> int:
        """How many documents were read."""
        return self.contents.total

    @property
    def words(self) -> int:
        """How many words, of all documents: what white space separates."""
        return sum(words * documents for words, documents in self.document_words.items())

    @property
    def bytes_per_token(self) -> float | None:
        """How many bytes of text a token stands for, those around documents left aside."""
        if not self.tokenizer:
            return None
        around = 1 + len(self.tokenizer.special.before_document)
        return self.bytes / max(1, self.tokens - around * self.documents)

    def add(self, text: str) -> None:
        """Take note of one more document, which is valid and not empty."""
        data = text.encode()
        self.bytes += len(data)
        self.characters += len(text)
        self.document_words[len(text.split())] += 1
        self.sentences += count_sentences(text)
        self.personal.update(personal_counts(text))
        self.compressed += len(self._compressor.compress(data + b"\n"))
        key = content_hash(data)
        priority = content_hash(b"%d %d" % (key, self.documents))  # copies are drawn apart
        self._sample.add(data, key=0, priority=priority)
        self.contents.add(np.array([key], np.uint64))
        self.lines.add(_hashes(text.splitlines()))
        self.paragraphs.add(_hashes(_PARAGRAPH_END.split(text)))
        self._add_runs(text)
        if self.tokenizer:
            self._to_encode.append(text)
            self._to_encode_size += len(data)
            if self._to_encode_size >= _ENCODE_BYTES:
                self._encode(self.tokenizer)

    def _add_runs(self, text: str) -> None:
        codes = word_codes(text)
        if codes.size >= RUN:
            self.runs.add(run_hashes(codes, RUN))
        bands = None
        if self._sketcher and (self.scans or len(self.sketches) < MOST_SKETCHES):
            bands = self._sketcher.bands(codes)
            self.sketches.add(bands)
        for scan in self.scans:
            scan.read(codes, bands)

    def _encode(self, tokenizer: Tokenizer) -> None:
        _, lengths = tokenizer.encode_documents(self._to_encode)
        self.tokens += sum(lengths)
        self._to_encode, self._to_encode_size = [], 0

    def finish(self) -> None:
        """Do what was put off until more documents would have come."""
        self.compressed += len(self._compressor.flush())
        if self.tokenizer and self._to_encode:
            self._encode(self.tokenizer)

    def word_quantiles(self) -> dict[str, int]:
        """Return how many words a document has that stands at each of QUANTILES, by its name.

        The lowest number that at least so many per cent of the documents do not exceed.
        """
        lengths = sorted(self.document_words)
        up_to = np.cumsum([self.document_words[length] for length in lengths])
        places = np.searchsorted(up_to, [self.documents * q / 100 for q in QUANTILES])
        return {f"p{q}": lengths[int(at)] for q, at in zip(QUANTILES, places, strict=True)}

    def sample(self) -> list[str]:
        """Return a sample of the documents, at most 2 MB and of each the first MB, in any order."""
        texts = self._sample.texts(range(1))
        order = np.random.default_rng(0).permutation(len(texts))
        return [texts[int(number)].decode("utf-8", "ignore") for number in order]


def _hashes(parts: Iterable[str]) -> Hashes:
    """Return the content hashes of the parts that are not blank, outer white space left aside."""
    return np.array(array("Q", _each_hash(parts)), np.uint64)


def _each_hash(parts: Iterable[str]) -> Iterator[int]:
    return (content_hash(part.encode()) for part in map(str.strip, parts) if part)
