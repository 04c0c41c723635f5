"""How datasets stand to each other: what one teaches about another, and what they have in common.

Each result is a square: the row is the dataset that is learnt from, or asked about; the column the
one that is predicted, or looked into.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seedbed.data.cleaning import content_hash
from seedbed.data.dataset_counts import DatasetCounts
from seedbed.data.duplicates import Sketches
from seedbed.data.estimates import Figure, estimate, ratio
from seedbed.data.ngrams import ByteNgrams, first_bytes

TRAINING_BYTES = 1_000_000
HELD_OUT_BYTES = 200_000
HELD_OUT = 0.2  # of the sampled documents, copies being on one side
_FEWEST_BYTES = 2_048  # of training text
_UNITS = 40  # parts of the held-out documents, which the interval is over

Square = list[list[Figure]]


@dataclass(frozen=True)
class Comparison:
    """Figures for each pair of datasets, [row][column], in the order of the datasets."""

    training_bytes: int  # what each n-gram model counted
    bits_per_byte: Square  # that a model of the row's text takes for held-out text of the column's
    documents: Square  # the share of the row's different documents that the column has too
    near_documents: Square | None  # that are near duplicates of one there; None: no datasketch
    runs: Square  # the share of the row's different runs of 13 words that the column has too


def compare(counts: Sequence[DatasetCounts], samples: Sequence[Sequence[str]]) -> Comparison:
    """Return how datasets stand to each other, given what was counted and a sample of each."""
    parts = [_split(sample) for sample in samples]
    size = min([TRAINING_BYTES, *(sum(map(len, training)) for training, _ in parts)])
    sketches = [c.sketches for c in counts]
    return Comparison(
        training_bytes=size,
        bits_per_byte=_cross_bits(parts, size),
        documents=[[a.contents.share_in(b.contents) for b in counts] for a in counts],
        near_documents=_near(sketches) if all(map(len, sketches)) else None,
        runs=[[a.runs.share_in(b.runs) for b in counts] for a in counts],
    )


def _near(sketches: Sequence[Sketches]) -> Square:
    return [[a.share_in(b) for b in sketches] for a in sketches]


def _split(sample: Sequence[str]) -> tuple[list[bytes], list[bytes]]:
    """Return the documents to train on, and those held out: those with the lowest hashes."""
    texts = [text.encode() for text in sample]
    below = HELD_OUT * 2**64
    held_out = [text for text in texts if content_hash(text) < below]
    return [text for text in texts if content_hash(text) >= below], held_out


def _cross_bits(parts: Sequence[tuple[list[bytes], list[bytes]]], size: int) -> Square:
    """Return the bits per byte of a model of each dataset on held-out text of each."""
    if size < _FEWEST_BYTES:
        return [[None] * len(parts) for _ in parts]
    units = [_units(first_bytes(held_out, HELD_OUT_BYTES)) for _, held_out in parts]
    rows: Square = []
    for training, _ in parts:
        model = ByteNgrams(first_bytes(training, size))
        rows.append([_bits_per_byte(model, held_out) for held_out in units])
    return rows


def _units(documents: Sequence[bytes]) -> list[list[bytes]]:
    """Return the documents in parts of about as many."""
    bounds = np.linspace(0, len(documents), min(_UNITS, len(documents)) + 1).astype(int).tolist()
    return [list(documents[a:b]) for a, b in pairwise(bounds)]


def _bits_per_byte(model: ByteNgrams, units: Sequence[Sequence[bytes]]) -> Figure:
    sums = {
        "bits": [model.bits(unit) for unit in units],
        "bytes": [sum(map(len, unit)) for unit in units],
    }
    return estimate(sums, {"bits": ratio("bits", "bytes")})["bits"] if units else None
