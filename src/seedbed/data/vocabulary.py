"""How rich the words of a text are, on samples of the same length, for lengths decide.

The share of different words falls with the length of a text, and so does what compression leaves.
So datasets are compared on samples of the same number of words, as the standardised type-token
ratio does (Scott, WordSmith Tools, 1996), and what is told is the mean over samples.
"""

# pyright: strict

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from seedbed.data.estimates import Estimate, Floats, mean_of
from seedbed.data.text_statistics import WORD

SAMPLE_WORDS = 10_000
MOST_SAMPLES = 20
FEWEST_SAMPLES = 5  # a smaller text gets shorter samples
ZIPF_RANKS = 1000
ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Vocabulary:
    """Means over samples of `sample_words` words, documents following each other at random."""

    sample_words: int
    samples: int
    type_token: Estimate | None  # different words per word
    distinct_2: Estimate | None  # different pairs of words per pair
    distinct_3: Estimate | None
    compression: Estimate | None  # bytes per byte that zstd leaves of a sample
    zipf_exponent: Estimate | None  # of the 1,000 most frequent words of all samples
    rank_frequencies: list[tuple[int, float]]  # (rank, share of all words), for a plot


def sample_words_for(texts_of_datasets: Iterable[Sequence[str]]) -> int:
    """Return the length of samples of which even the smallest dataset has five, 10,000 at most."""
    sizes = [sum(len(WORD.findall(text)) for text in texts) for texts in texts_of_datasets]
    return max(1, min([SAMPLE_WORDS, *(size // FEWEST_SAMPLES for size in sizes)]))


def measure_vocabulary(texts: Sequence[str], sample_words: int) -> Vocabulary:
    """Return the figures of a dataset from a sample of its documents, in random order."""
    samples = list(cut(texts, sample_words))[:MOST_SAMPLES]
    words = [[word.lower() for text in sample for word in WORD.findall(text)] for sample in samples]
    counts = Counter(word for sample in words for word in sample)
    ranked = [count for _, count in counts.most_common()]
    return Vocabulary(
        sample_words=sample_words,
        samples=len(samples),
        type_token=mean_of([distinct(sample, 1) for sample in words]),
        distinct_2=mean_of([distinct(sample, 2) for sample in words]),
        distinct_3=mean_of([distinct(sample, 3) for sample in words]),
        compression=mean_of([compression(sample) for sample in samples]),
        zipf_exponent=_zipf(words, [word for word, _ in counts.most_common(ZIPF_RANKS)]),
        rank_frequencies=_points(ranked),
    )


def cut(texts: Iterable[str], sample_words: int) -> Iterable[list[str]]:
    """Yield the texts in samples of exactly so many words; what is left at the end is left out.

    >>> list(cut(["One two, three.", "Four."], 2))
    [['One two'], [', three.', 'Four.']]
    """
    sample: list[str] = []
    missing = sample_words
    for text in texts:
        start = 0
        ends = [match.end() for match in WORD.finditer(text)]
        done = 0
        while len(ends) - done >= missing:
            done += missing
            # The last words of a document take what follows them along.
            end = len(text) if done == len(ends) else ends[done - 1]
            yield [*sample, text[start:end]]
            sample, missing, start = [], sample_words, end
        if done < len(ends):
            sample.append(text[start:])
            missing -= len(ends) - done


def distinct(words: Sequence[str], n: int) -> float:
    """Return the share of runs of n words that are different ones; NaN without any.

    Li et al., "A diversity-promoting objective function for neural conversation models" (NAACL
    2016), with the count of runs where theirs is of words.

    >>> distinct("a b a b".split(), 2)  # ab ba ab
    0.6666666666666666
    """
    runs = list(zip(*(words[offset:] for offset in range(n)), strict=False))
    return len(set(runs)) / len(runs) if runs else math.nan


def compression(texts: Sequence[str]) -> float:
    """Return how many times shorter zstd, at its usual level, makes texts."""
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    return len(data) / len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data))


def zipf_exponent(counts: Floats) -> Floats:
    """Return s where the r-th most frequent word has a probability in proportion to r ** -s.

    The most likely s for the words of the ranks given (Clauset, Shalizi and Newman, "Power-law
    distributions in empirical data", 2009, for a finite range): the one that gives the mean of
    log r that is seen. `counts` is (texts, ranks), the largest first; the result is (texts,).

    >>> round(float(zipf_exponent(np.array([[60.0, 30, 20, 15, 12]]))[0]), 6)  # 60 / r
    1.0
    """
    logs: Floats = np.log(np.arange(1, counts.shape[1] + 1, dtype=np.float64))
    seen = counts @ logs / counts.sum(axis=1)
    low, high = np.full(len(counts), -5.0), np.full(len(counts), 20.0)
    for _ in range(50):
        middle = (low + high) / 2
        weights = np.exp(-middle[:, None] * logs)
        too_flat = weights @ logs / weights.sum(axis=1) > seen
        low, high = np.where(too_flat, middle, low), np.where(too_flat, high, middle)
    return (low + high) / 2


def _zipf(samples: Sequence[Sequence[str]], words: Sequence[str]) -> Estimate | None:
    """Return the Zipf exponent of the most frequent words, drawn anew over the samples."""
    if len(words) < 2:
        return None
    numbers = {word: number for number, word in enumerate(words)}
    counts = np.array([_counts_of(sample, numbers) for sample in samples], np.float64)
    whole = zipf_exponent(_ranked(counts.sum(axis=0, keepdims=True)))[0]
    if len(samples) < 2:
        return Estimate(float(whole), None, None)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(samples), np.full(len(samples), 1 / len(samples)), size=200)
    drawn = zipf_exponent(_ranked(weights.astype(np.float64) @ counts))
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return Estimate(float(whole), low, high)


def _counts_of(sample: Iterable[str], numbers: dict[str, int]) -> NDArray[np.int64]:
    found = [numbers[word] for word in sample if word in numbers]
    return np.bincount(np.array(found, np.intp), minlength=len(numbers))


def _ranked(counts: Floats) -> Floats:
    return -np.sort(-counts, axis=1)


def _points(ranked: Sequence[int]) -> list[tuple[int, float]]:
    """Return the shares of about 40 ranks, the first ones and then ever wider apart."""
    if not ranked:
        return []
    ranks = np.unique(np.geomspace(1, len(ranked), 40).round().astype(int)).tolist()
    total = sum(ranked)
    return [(rank, ranked[rank - 1] / total) for rank in ranks]
