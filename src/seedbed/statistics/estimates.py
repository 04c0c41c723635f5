"""Errors and intervals of one estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST_DRAWN = 4_000_000  # units drawn at once; an index takes eight bytes


def ratio_standard_error(numerators: ArrayLike, denominators: ArrayLike) -> float:
    """Return the standard error of sum(numerators) / sum(denominators) over independent units.

    Linearised (Cochran, Sampling Techniques, 1977, section 6.4); NaN for fewer than two units.

    >>> round(ratio_standard_error([1.0, 3.0], [1.0, 1.0]), 3)
    1.0
    """
    x = np.asarray(numerators, dtype=np.float64)
    y = np.asarray(denominators, dtype=np.float64)
    n = len(x)
    if n < 2:
        return math.nan
    residuals = x - (x.sum() / y.sum()) * y
    return float(math.sqrt(n / (n - 1) * np.square(residuals).sum()) / y.sum())


def jackknife_standard_error(left_out: ArrayLike) -> float:
    """Return the standard error of an estimate, from its values with each unit left out in turn.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5. The units may be
    groups of equal size. For a mean, it is the usual one. NaN for fewer than two units.

    >>> round(jackknife_standard_error([3.0, 1.0]), 3)  # the mean of 1 and 3
    1.0
    """
    values = np.asarray(left_out, dtype=np.float64)
    n = len(values)
    if n < 2:
        return math.nan
    return float(math.sqrt((n - 1) / n * np.square(values - values.mean()).sum()))


def bootstrap_ratios(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    draws: int = 2000,
    seed: int | Sequence[int] = 0,
) -> NDArray[np.float64]:
    """Return sum(numerators) / sum(denominators) of units drawn with replacement, again and again.

    `numerators` has shape (rows, units), the result (draws, rows). All rows see the same draws, so
    that the difference of two rows is a paired one: with a model's bits for each document in each
    row and the documents' bytes below, these are bits per byte on texts that might as well have
    been chosen. Independent sets of units need seeds of their own. Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, section 6.2.

    Draws of n units scatter too little by sqrt((n - 1) / n), so they are moved away from what all
    units give by as much (the same, section 5.3). One unit tells nothing of its error: NaN.

    >>> bootstrap_ratios([[2.0, 4.0], [3.0, 6.0]], [1.0, 2.0], draws=2)
    array([[2., 3.],
           [2., 3.]])
    """
    rows = np.atleast_2d(np.asarray(numerators, dtype=np.float64))
    below = np.asarray(denominators, dtype=np.float64)
    generator = np.random.default_rng(seed)
    ratios = np.empty((draws, len(rows)))
    step = max(1, _MOST_DRAWN // len(below))
    for start in range(0, draws, step):
        drawn = generator.integers(0, len(below), (min(step, draws - start), len(below)))
        sums = np.stack([row[drawn].sum(1) for row in rows], axis=1)  # (step, rows)
        ratios[start : start + step] = sums / below[drawn].sum(1)[:, None]
    if len(below) < 2:
        return np.full_like(ratios, math.nan)
    whole = rows.sum(axis=1) / below.sum()
    return whole + (ratios - whole) * math.sqrt(len(below) / (len(below) - 1))


def wilson_interval(successes: float, trials: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the (1 - alpha) interval of a share; (0, 1) without trials.

    Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927).

    >>> [round(end, 4) for end in wilson_interval(0, 10)]
    [0.0, 0.2775]
    """
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(1 - alpha / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Return how far two scores put the same things in the same order: 1 alike, -1 reversed.

    Of all pairs, the share in the same order less the share in the opposite one, corrected for ties
    (tau-b: Kendall, "The treatment of ties in ranking problems", Biometrika 1945). NaN where all
    are tied.

    >>> round(kendall_tau([1, 2, 3], [1, 3, 2]), 3)
    0.333
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    x_signs, y_signs = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    untied = math.sqrt(np.abs(x_signs).sum() * np.abs(y_signs).sum())
    return float((x_signs * y_signs).sum() / untied) if untied else math.nan
