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
