"""What it would take to resolve the pairs that are not: seeds, or text to judge by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.experiments.results import NextRun, PairResult
from seedbed.statistics import (
    PairVerdict,
    PooledVariance,
    seeds_to_resolve,
    text_to_resolve,
)


@dataclass(frozen=True)
class Wanting:
    """What an unresolved pair wants for a verdict, if the difference is the one seen."""

    towards: str  # the verdict that is nearer: better or equivalent
    more_seeds: int | None  # of each dataset; None: more than there is sense in
    more_text: float  # so many times the evaluation text


def wanting(
    pair: PairVerdict,
    pooled: PooledVariance,
    document_error: float,
    *,
    datasets: int,
    comparisons: int,
    seeds: int,
    margin: float,
    alpha: float,
) -> Wanting | None:
    """Return what a pair wants that has `seeds` seeds; None where it is resolved, or all is open.

    The difference is to be found with a probability of 80 %; or, of one within the margin, that it
    is: by one-sided tests of what is left to the margin, each allowed half of the other 20 % (Chow,
    Shao and Wang, Sample Size Calculations in Clinical Research, 2008, section 3.2). More text is
    asked for where seeds alone would have to be more than twice as many, or would not do.
    """
    if pair.verdict != "unresolved" or pooled.degrees_of_freedom == 0:
        return None
    plans = {"better": _Plan(abs(pair.difference), datasets, comparisons, alpha, 0.8)}
    if abs(pair.difference) < margin:
        left = margin - abs(pair.difference)
        plans["equivalent"] = _Plan(left, datasets, comparisons, 2 * alpha, 0.9)
    found: list[Wanting] = []
    for verdict, plan in plans.items():
        if plan.gap == 0:
            continue
        text = plan.text(document_error)
        alone = plan.seeds(pooled, document_error)
        wanted = plan.seeds(pooled, document_error / math.sqrt(text))
        if alone is not None and wanted is not None and alone <= 2 * wanted:
            text, wanted = 1.0, alone
        found.append(Wanting(verdict, wanted and max(1, wanted - seeds), text))
    return min(found, key=lambda one: _cost(one.more_seeds, one.more_text), default=None)


@dataclass(frozen=True)
class _Plan:
    """A gap that is to be found."""

    gap: float
    datasets: int
    comparisons: int
    alpha: float  # of a two-sided test
    power: float

    def seeds(self, pooled: PooledVariance, document_error: float) -> int | None:
        return seeds_to_resolve(
            self.gap,
            pooled.variance,
            datasets=self.datasets,
            document_error=document_error,
            alpha=self.alpha,
            power=self.power,
            comparisons=self.comparisons,
        )

    def text(self, document_error: float) -> float:
        return text_to_resolve(
            self.gap,
            document_error,
            alpha=self.alpha,
            power=self.power,
            comparisons=self.comparisons,
        )


def _cost(more_seeds: int | None, more_text: float | None) -> tuple[float, float]:
    """Return what to go by: first the seeds, which take the time, then the text."""
    return math.inf if more_seeds is None else more_seeds, more_text or math.inf


def next_run(ranking: Sequence[str], pairs: Sequence[PairResult]) -> NextRun | None:
    """Return the pair that is cheapest to resolve: one with the leader, where one is open."""
    open_pairs = [pair for pair in pairs if pair.towards]
    with_leader = [pair for pair in open_pairs if ranking[0] in (pair.a, pair.b)]
    if not open_pairs:
        return None
    chosen = min(with_leader or open_pairs, key=lambda p: _cost(p.more_seeds, p.more_text))
    return NextRun(chosen.a, chosen.b, chosen.towards, chosen.more_seeds, chosen.more_text)
