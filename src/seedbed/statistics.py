"""Statistics of measurements, numpy only. Each function names its source."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


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
