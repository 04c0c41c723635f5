"""Estimates from a sample, with the interval that the bootstrap over its units gives.

Units are documents, or sets of them. The interval is the 95 % percentile one (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 13): units are drawn anew with replacement, and
everything is computed from their sums.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 1000
_MOST_UNITS = 1000  # more are put together, so that work and memory stay the same

Floats = NDArray[np.float64]
Measure = Callable[[Mapping[str, Floats]], Floats]


@dataclass(frozen=True)
class Estimate:
    """A value from a sample, and its 95 % interval: None where a single unit cannot tell."""

    value: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """How far the further end of the interval is away."""
        if self.low is None or self.high is None:
            return None
        return max(self.high - self.value, self.value - self.low)


# A number that was counted, one that was estimated, or None: there was nothing to measure.
Figure = float | Estimate | None


def estimate(
    sums: Mapping[str, ArrayLike], measures: Mapping[str, Measure], *, seed: int = 0
) -> dict[str, Estimate | None]:
    """Return each measure of the totals of `sums`, which have a number for each unit.

    A measure is None where the totals give no number, as in a division by zero.

    >>> share = estimate({"hits": [1, 2, 3], "all": [4, 4, 4]}, {"share": ratio("hits", "all")})
    >>> share["share"].value
    0.5
    """
    names = list(sums)
    table = _grouped(np.array([np.asarray(sums[name], np.float64) for name in names]))
    units = table.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = dict(zip(names, table.sum(axis=1, keepdims=True), strict=True))
        if units > 1:
            rng = np.random.default_rng(seed)
            weights = rng.multinomial(units, np.full(units, 1 / units), size=DRAWS)
            drawn = dict(zip(names, table @ weights.T.astype(np.float64), strict=True))
        else:
            drawn = whole
        return {
            name: _summary(float(measure(whole)[0]), measure(drawn), known=units > 1)
            for name, measure in measures.items()
        }


def ratio(numerator: str, denominator: str) -> Measure:
    """Return the measure that divides one sum by another."""
    return lambda totals: totals[numerator] / totals[denominator]


def mean_of(values: Sequence[float] | Floats, *, seed: int = 0) -> Estimate | None:
    """Return the mean of a value for each unit; None without units.

    >>> mean_of([1.0, 3.0]).value, mean_of([])
    (2.0, None)
    """
    sums = {"value": values, "units": np.ones(len(values))}
    return estimate(sums, {"mean": ratio("value", "units")}, seed=seed)["mean"]


def _grouped(table: Floats) -> Floats:
    """Return sums (names, units) with at most _MOST_UNITS units, each of those put together."""
    units = table.shape[1]
    if units <= _MOST_UNITS:
        return table
    starts = np.arange(_MOST_UNITS) * units // _MOST_UNITS
    return np.add.reduceat(table, starts, axis=1)


def _summary(value: float, drawn: Floats, *, known: bool) -> Estimate | None:
    if not np.isfinite(value):
        return None
    finite = drawn[np.isfinite(drawn)]
    if not known or not finite.size:
        return Estimate(value, None, None)
    low, high = np.quantile(finite, [0.025, 0.975]).tolist()
    return Estimate(value, low, high)
