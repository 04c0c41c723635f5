"""The figures of a set of texts, each with what chance may have done to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from seedbed.evaluation.copies import Copies
from seedbed.evaluation.variety import Words, distinct, loops, repetition
from seedbed.generation.engine import Generation
from seedbed.statistics import ratio_standard_error

COPIED_RUN = 10  # words; shorter runs in common are the language's own
LONGEST_NGRAM = 4


@dataclass(frozen=True)
class Estimate:
    """A figure over texts, and its standard error over prompts. None: too few texts to tell."""

    value: float | None
    standard_error: float | None

    @classmethod
    def of(cls, value: float, standard_error: float) -> Estimate:
        """Return the estimate, with None for what is not a number: JSON has no word for it."""
        finite = [number if math.isfinite(number) else None for number in (value, standard_error)]
        return cls(*finite)


@dataclass(frozen=True)
class CopyFigures:
    """What texts share with the training text, word for word."""

    longest: Estimate  # words of the longest copied run, mean over texts
    longest_of_all: int  # the same, of any text
    share: Estimate  # of words that are inside copied runs of COPIED_RUN words or more


@dataclass(frozen=True)
class TextFigures:
    """What a set of texts is like. A word is what white space separates."""

    texts: int
    tokens: Estimate  # a text; the end of a document counts as one
    words: Estimate  # a text
    word_quantiles: tuple[float, float, float]  # words of a text at 10, 50 and 90 %
    finished: Estimate  # share that came to the end of the document
    distinct: tuple[Estimate, ...]  # share of 1-, 2-, 3- and 4-grams of words that are distinct
    repetition: Estimate  # share of 4-grams that came before in their text, mean over texts
    loops: Estimate  # share of texts where a run of words comes three times in a row
    copies: CopyFigures | None  # None: the training text is not known


def text_figures(
    texts: Sequence[Generation], samples: int, copies: Sequence[Copies] | None
) -> TextFigures:
    """Return the figures of texts: `samples` of the first prompt, as many of the next.

    Standard errors are over prompts, whose samples are not independent of each other.
    """
    words = [text.text.split() for text in texts]
    lengths = [len(own) for own in words]
    shares = [distinct(rounds(words, samples), n) for n in range(1, LONGEST_NGRAM + 1)]
    low, middle, high = np.quantile(lengths, [0.1, 0.5, 0.9]).tolist()
    return TextFigures(
        texts=len(texts),
        tokens=mean_estimate([text.tokens for text in texts], samples),
        words=mean_estimate(lengths, samples),
        word_quantiles=(low, middle, high),
        finished=mean_estimate([text.finished == "end" for text in texts], samples),
        distinct=tuple(Estimate.of(*share) for share in shares),
        repetition=mean_estimate([repetition(own) for own in words], samples),
        loops=mean_estimate([loops(own) for own in words], samples),
        copies=_copy_figures(copies, samples) if copies is not None else None,
    )


def _copy_figures(copies: Sequence[Copies], samples: int) -> CopyFigures:
    copied = [own.words_in_runs(COPIED_RUN) for own in copies]
    lengths = [len(own.words) for own in copies]
    return CopyFigures(
        longest=mean_estimate([own.longest for own in copies], samples),
        longest_of_all=max(own.longest for own in copies),
        share=_ratio(copied, lengths, samples),
    )


def rounds(words: Sequence[Words], samples: int) -> list[Sequence[Words]]:
    """Return the first text of each prompt, the second of each, ..."""
    return [words[start::samples] for start in range(samples)]


def mean_estimate(values: Sequence[float], samples: int) -> Estimate:
    """Return the mean over texts; NaN is left out."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0), known, samples)


def _ratio(numerators: ArrayLike, denominators: ArrayLike, samples: int) -> Estimate:
    """Return the sum of the numerators over that of the denominators, all of them of texts."""
    above, below = (
        np.reshape(np.asarray(numbers, dtype=np.float64), (-1, samples)).sum(1)
        for numbers in (numerators, denominators)
    )
    if below.sum() == 0:
        return Estimate(None, None)
    return Estimate.of(float(above.sum() / below.sum()), ratio_standard_error(above, below))
