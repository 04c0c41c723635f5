"""How varied texts are: distinct n-grams, repetition and loops. All over words, as they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seedbed.statistics import jackknife_standard_error

Words = Sequence[str]

_LOOPS = 3  # times in a row
FEWEST = 12  # words of a loop in all, at least: "no no no" is none yet


def distinct(rounds: Sequence[Sequence[Words]], n: int) -> tuple[float, float]:
    """Return the share of n-grams that are distinct, and its standard error over texts.

    A round is a set of texts, one for each prompt; the share is the mean over rounds, so that the
    number of samples does not change it. It does fall as texts get longer or more: compare sets of
    the same size. Li et al., "A diversity-promoting objective function for neural conversation
    models" (NAACL 2016); the count is of n-grams, where theirs is of words. NaN without n-grams.

    >>> distinct([["a b a b".split(), "a c".split()]], 2)[0]  # ab ba ab ac
    0.75
    """
    shares, left_out = zip(*(_distinct(texts, n) for texts in rounds), strict=True)
    means = np.mean(left_out, axis=0)
    return float(np.mean(shares)), jackknife_standard_error(means)


def _distinct(texts: Sequence[Words], n: int) -> tuple[float, list[float]]:
    """Return the share of distinct n-grams, of all texts and with each text left out."""
    owner: dict[tuple[str, ...], int] = {}  # the one text that has it, or -1
    counts = np.zeros(len(texts))
    for number, words in enumerate(texts):
        grams = ngrams(words, n)
        counts[number] = len(grams)
        for gram in grams:
            if owner.setdefault(gram, number) != number:
                owner[gram] = -1
    alone = np.zeros(len(texts))
    np.add.at(alone, [number for number in owner.values() if number >= 0], 1)
    with np.errstate(invalid="ignore"):
        share = np.float64(len(owner)) / counts.sum()
        return float(share), ((len(owner) - alone) / (counts.sum() - counts)).tolist()


def ngrams(words: Words, n: int) -> list[tuple[str, ...]]:
    """Return the runs of n words, in order.

    >>> ngrams("a b c".split(), 2)
    [('a', 'b'), ('b', 'c')]
    """
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def repetition(words: Words, n: int = 4) -> float:
    """Return the share of n-grams that came before in the same text; NaN without n-grams.

    The seq-rep-n of Welleck et al., "Neural text generation with unlikelihood training" (ICLR
    2020), over words where theirs is over tokens.

    >>> repetition("a b a b a".split(), 2)  # ab ba ab ba
    0.5
    """
    grams = ngrams(words, n)
    return 1 - len(set(grams)) / len(grams) if grams else float("nan")


def loops(words: Words | Sequence[int], *, longest_period: int | None = None) -> bool:
    """Return whether some run of words comes three times in a row, over 12 words at least.

    Words may be tokens, too. A run has `longest_period` of them at most, where that is given.

    >>> loops("he sat down and he sat down and he sat down and".split())
    True
    >>> loops("no no no".split())
    False
    """
    numbers = np.unique(np.array(words, dtype=object), return_inverse=True)[1] if words else None
    if numbers is None:
        return False
    longest = len(words) // _LOOPS
    for period in range(1, min(longest, longest_period or longest) + 1):
        same = numbers[period:] == numbers[:-period]
        if _longest_run(same) + period >= max(_LOOPS * period, FEWEST):
            return True
    return False


def _longest_run(flags: np.ndarray) -> int:
    """Return the length of the longest run of True."""
    breaks = np.flatnonzero(~np.concatenate([[False], flags, [False]]))
    return int(np.diff(breaks).max()) - 1
