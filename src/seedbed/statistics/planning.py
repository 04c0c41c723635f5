"""What an experiment can resolve, and what it would take to resolve more.

`comparisons` is the number of pairs to be judged: Bonferroni's correction, a little stricter than
Holm's. The tests planned for are those of `seedbed.statistics.pairs`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import NormalDist

from seedbed.statistics.distributions import student_t_quantile
from seedbed.statistics.pairs import PooledVariance


def minimum_detectable_difference(
    pooled: PooledVariance,
    seeds: int,
    *,
    document_error: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    comparisons: int = 1,
) -> float:
    """Return the true difference that is found with a probability of `power`.

    (t_{1 - alpha/2} + t_power) sqrt(2 s2 / S + document_error^2), with S `seeds` a dataset: Bloom,
    "Minimum detectable effects: a simple way to report the statistical power of experimental
    designs" (Evaluation Review 1995).

    >>> round(minimum_detectable_difference(PooledVariance(0.0001, 14), 3), 4)
    0.0246
    """
    nu = pooled.degrees_of_freedom
    multiple = student_t_quantile(1 - alpha / 2 / comparisons, nu) + student_t_quantile(power, nu)
    return multiple * math.sqrt(2 * pooled.variance / seeds + document_error**2)


def seeds_to_resolve(
    difference: float,
    variance: float,
    *,
    datasets: int,
    document_error: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    comparisons: int = 1,
    most: int = 1000,
) -> int | None:
    """Return the seeds that each of `datasets` needs in all for `difference` to be found.

    The fewest for which it is the minimum detectable difference or more, found with a probability
    of `power`. `variance` is that between seeds. None: more than `most`, which is what a document
    error too large for the difference comes to (see `text_to_resolve`). An observed difference is
    itself uncertain, so the answer for one is a guide and no promise (Hoenig and Heisey, "The abuse
    of power", American Statistician 2001).

    >>> seeds_to_resolve(0.02, 0.0001, datasets=7)
    5
    >>> seeds_to_resolve(0.02, 0.0001, datasets=7, document_error=0.01) is None
    True
    """

    def found(seeds: int) -> bool:
        smallest = minimum_detectable_difference(
            PooledVariance(variance, datasets * (seeds - 1)),
            seeds,
            document_error=document_error,
            alpha=alpha,
            power=power,
            comparisons=comparisons,
        )
        return smallest <= abs(difference)

    seeds = 2 + bisect_left(range(2, most + 1), True, key=found)
    return seeds if seeds <= most else None


def text_to_resolve(
    difference: float,
    document_error: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    comparisons: int = 1,
) -> float:
    """Return how many times as much evaluation text leaves seeds a chance to find `difference`.

    So much that documents make half the variance that the difference allows with many seeds; the
    error falls with the square root of the text (Cochran, Sampling Techniques, 1977, section 2.6).
    1 where there is enough. The seeds are then those of `seeds_to_resolve` with a document error
    divided by its root. Infinite for no difference.

    >>> round(text_to_resolve(0.02, 0.01), 2)
    3.92
    """
    if difference == 0:
        return math.inf
    normal = NormalDist()
    multiple = normal.inv_cdf(1 - alpha / 2 / comparisons) + normal.inv_cdf(power)
    return max(1.0, 2 * (multiple * document_error / difference) ** 2)
