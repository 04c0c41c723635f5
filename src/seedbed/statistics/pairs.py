"""Which of two datasets is better: tests of all pairs, and their verdicts.

A score is bits per byte, one for each run; a dataset has a run for each seed. Lower is better.
Only seeds tell how far the same dataset scatters: a bootstrap over documents alone calls most
differences between equal datasets real, because all of a run's documents share the run's luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedbed.statistics.distributions import (
    f_survival,
    student_t_quantile,
    student_t_survival,
)

Verdict = Literal["better", "equivalent", "unresolved"]


@dataclass(frozen=True)
class PooledVariance:
    """The variance of scores between the seeds of one dataset, taken as the same for all."""

    variance: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class LargestVariance:
    """The dataset whose seeds scatter most, against the others."""

    dataset: int  # its place among the scores
    ratio: float  # of its standard deviation to the pooled one of the others
    p: float  # of so large a ratio, of any dataset, if all scatter alike


@dataclass(frozen=True)
class PairTest:
    """The test of one pair, alone."""

    a: str
    b: str
    difference: float  # a - b; negative: a is better
    standard_error: float
    degrees_of_freedom: int
    p: float  # two-sided


@dataclass(frozen=True)
class PairVerdict:
    """What is said of a pair among all pairs."""

    a: str
    b: str
    difference: float  # a - b; negative: a is better
    standard_error: float
    degrees_of_freedom: int
    low: float  # the (1 - alpha) interval of this pair alone
    high: float
    simultaneous_low: float  # Bonferroni's: all pairs are within theirs with 1 - alpha
    simultaneous_high: float
    p: float  # two-sided, of this pair alone
    p_adjusted: float  # Holm's, over all pairs
    p_equivalent: float | None  # that they differ by the margin or more, Holm's; None: no margin
    verdict: Verdict
    winner: str | None  # whose score is lower beyond chance, by however little


def pooled_variance(scores: Sequence[ArrayLike]) -> PooledVariance:
    """Return the variance between seeds, pooled over datasets: `scores` has an array for each.

    The mean square within groups of a one-way analysis of variance (Fisher, Statistical Methods for
    Research Workers, 1925, chapter 7). Datasets may differ in their number of seeds; one with a
    single seed adds nothing. NaN, with no degrees of freedom, where none has two.

    If datasets do not scatter alike (see `largest_variance`), those that scatter more win and lose
    too often: of seven equal ones with three seeds, one at three times the others' deviation, some
    pair was decided in 10 % of simulated experiments, against 3 % where all scattered alike.

    >>> pooled_variance([[1.0, 3.0], [5.0, 5.0, 8.0]])  # (1 + 1 + 1 + 1 + 4) / (1 + 2)
    PooledVariance(variance=2.6666666666666665, degrees_of_freedom=3)
    """
    groups = [np.asarray(values, dtype=np.float64) for values in scores]
    freedom = sum(len(values) - 1 for values in groups)
    if freedom == 0:
        return PooledVariance(math.nan, 0)
    squares = sum(float(np.square(values - values.mean()).sum()) for values in groups)
    return PooledVariance(squares / freedom, freedom)


def largest_variance(scores: Sequence[ArrayLike]) -> LargestVariance | None:
    """Return the dataset that scatters most between seeds, and whether that can be chance.

    Its variance over the pooled one of the others, by the F test with Bonferroni's correction:
    Cochran's test (Annals of Eugenics 1941) in the form of 't Lam (Analytica Chimica Acta 2010),
    for any numbers of seeds. A small `p` warns that `pooled_variance` does not hold; with few seeds
    a large one proves little. None for fewer than two datasets with two seeds.

    >>> largest_variance([[1.0, 3.0], [1.0, 2.0], [4.0, 5.0]]).ratio
    2.0
    """
    groups = [np.asarray(values, dtype=np.float64) for values in scores]
    freedom = np.array([len(values) - 1 for values in groups])
    squares = np.array([np.square(values - values.mean()).sum() for values in groups])
    known = np.flatnonzero(freedom)
    if len(known) < 2:
        return None
    largest = int(known[np.argmax(squares[known] / freedom[known])])
    nu = int(freedom[largest])
    others = int(freedom.sum()) - nu
    above = float(squares[largest]) / nu
    below = float(squares.sum() - squares[largest]) / others
    f = above / below if below else math.inf
    p = min(1.0, len(known) * f_survival(f, nu, others))
    return LargestVariance(largest, math.sqrt(f), p)


def difference_errors(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error of each difference: (models, models) from (draws, models).

    The draws are those of `bootstrap_ratios`: of the bits for each document (the mean over a
    dataset's seeds) over its bytes, averaged over evaluation sets where these are several. They are
    paired, so what makes a text hard for both models cancels (Efron and Tibshirani, An Introduction
    to the Bootstrap, 1993, section 6.2).

    >>> difference_errors(np.array([[1.0, 2.0], [3.0, 5.0]])).round(3)
    array([[0.   , 0.707],
           [0.707, 0.   ]])
    """
    return (draws[:, :, None] - draws[:, None, :]).std(axis=0, ddof=1)


def pair_test(
    a: str,
    b: str,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    pooled: PooledVariance,
    *,
    document_error: float = 0.0,
) -> PairTest:
    """Return the t test of the difference of two datasets, from their scores by seed.

    t = difference / sqrt(s2 (1/S_a + 1/S_b) + document_error^2), on the degrees of freedom of the
    pooled variance s2: the pooled two-sample test (Student, Biometrika 1908; Fisher 1925) with the
    error of having these documents and no others added. Seeds are not paired: two datasets share
    no more than a seed's number. The document error rests on hundreds of documents, so
    Satterthwaite's approximation (Biometrics Bulletin 1946) would give the sum more degrees of
    freedom, never fewer: to keep those of s2 errs on the safe side. So does the sum: what is
    peculiar to one run on one document is in both its terms.

    >>> pooled = pooled_variance([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    >>> test = pair_test("a", "b", [1.0, 2.0, 3.0], [3.0, 4.0, 5.0], pooled)
    >>> round(test.difference, 3), round(test.standard_error, 3), round(test.p, 4)
    (-2.0, 0.816, 0.0705)
    """
    first = np.asarray(scores_a, dtype=np.float64)
    second = np.asarray(scores_b, dtype=np.float64)
    difference = float(first.mean() - second.mean())
    of_seeds = pooled.variance * (1 / len(first) + 1 / len(second))
    error = math.sqrt(of_seeds + document_error**2)
    nu = pooled.degrees_of_freedom
    p = 2 * student_t_survival(abs(_t(difference, error)), nu)
    return PairTest(a, b, difference, error, nu, p)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return adjusted p-values: those at alpha or below are all right with 1 - alpha or more.

    Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal of
    Statistics 1979). Holds however the tests depend on each other.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    remaining = np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(remaining * p[order]))
    return adjusted


def tost(difference: float, standard_error: float, nu: float, *, margin: float) -> float:
    """Return the p-value of a difference of `margin` or more, in either direction.

    At alpha or below, the two are equivalent: two one-sided tests (Schuirmann, Journal of
    Pharmacokinetics and Biopharmaceutics 1987). The same as the (1 - 2 alpha) interval being within
    the margin.

    >>> round(tost(0.0, 1.0, 10, margin=2.0), 4)
    0.0367
    """
    nearest = margin - abs(difference)
    return student_t_survival(_t(nearest, standard_error), nu)


def t_interval(
    estimate: float, standard_error: float, nu: float, *, alpha: float = 0.05
) -> tuple[float, float]:
    """Return the (1 - alpha) interval of an estimate whose error has `nu` degrees of freedom.

    Student, "The probable error of a mean" (Biometrika 1908).

    >>> [round(end, 3) for end in t_interval(1.0, 0.1, 14)]
    [0.786, 1.214]
    """
    half = student_t_quantile(1 - alpha / 2, nu) * standard_error
    return estimate - half, estimate + half


def judge_pairs(
    tests: Sequence[PairTest], *, margin: float | None = None, alpha: float = 0.05
) -> list[PairVerdict]:
    """Return the verdict on each pair, corrected for the number of pairs.

    `equivalent`: differs by less than `margin`, beyond chance, even if a smaller difference is
    sure. Else `better`: one of them is, beyond chance. Else `unresolved`. Chance is corrected by
    Holm's method for either kind of verdict by itself, so each is wrong anywhere with a probability
    of `alpha` at most. Holm's decisions have no simple intervals: an interval without 0 goes with
    `p` alone, a simultaneous one without 0 is sure to be `winner`'s, and not the other way round.

    >>> tests = [PairTest("a", "b", -0.2, 0.05, 14, 0.001), PairTest("a", "c", 0.0, 0.05, 14, 1.0)]
    >>> [verdict.verdict for verdict in judge_pairs(tests, margin=0.05)]
    ['better', 'unresolved']
    """
    adjusted = holm([test.p for test in tests]).tolist()
    equivalent: list[float | None] = [None] * len(tests)
    if margin is not None:
        p_values = [
            tost(test.difference, test.standard_error, test.degrees_of_freedom, margin=margin)
            for test in tests
        ]
        equivalent = holm(p_values).tolist()
    return [
        _judge(test, p_adjusted, p_equivalent, alpha=alpha, comparisons=len(tests))
        for test, p_adjusted, p_equivalent in zip(tests, adjusted, equivalent, strict=True)
    ]


def _judge(
    test: PairTest,
    p_adjusted: float,
    p_equivalent: float | None,
    *,
    alpha: float,
    comparisons: int,
) -> PairVerdict:
    measured = (test.difference, test.standard_error, test.degrees_of_freedom)
    low, high = t_interval(*measured, alpha=alpha)
    simultaneous_low, simultaneous_high = t_interval(*measured, alpha=alpha / comparisons)
    winner = None
    if p_adjusted <= alpha:
        winner = test.a if test.difference < 0 else test.b
    verdict: Verdict = "better" if winner else "unresolved"
    if p_equivalent is not None and p_equivalent <= alpha:
        verdict = "equivalent"
    return PairVerdict(
        a=test.a,
        b=test.b,
        difference=test.difference,
        standard_error=test.standard_error,
        degrees_of_freedom=test.degrees_of_freedom,
        low=low,
        high=high,
        simultaneous_low=simultaneous_low,
        simultaneous_high=simultaneous_high,
        p=test.p,
        p_adjusted=p_adjusted,
        p_equivalent=p_equivalent,
        verdict=verdict,
        winner=winner,
    )


def _t(difference: float, standard_error: float) -> float:
    """Return their ratio, where an error of nothing leaves no doubt about a difference."""
    if standard_error == 0 and difference != 0:
        return math.copysign(math.inf, difference)
    return difference / standard_error if difference else 0.0
