"""The same comparison seen other ways: how far a verdict hangs on what was chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seedbed.experiments.evidence import Evidence, interval
from seedbed.experiments.lens import Comparison, Lens, compare_through
from seedbed.experiments.results import BestRates, HomeAdvantage, RateCheck, Variant
from seedbed.experiments.score_table import Floats, ScoreTable
from seedbed.statistics import kendall_tau, pooled_variance


def home_advantages(evidence: Evidence, table: ScoreTable, alpha: float) -> list[HomeAdvantage]:
    """Return how each dataset does on its own held-out part, against the others there."""
    origins = {e.name: e.origin for e in evidence.plan.evals}
    draws = table.document_draws
    found: list[HomeAdvantage] = []
    for column, evaluation in enumerate(table.evals):
        name = origins[evaluation]
        if name not in table.datasets or len(table.datasets) < 2:
            continue
        at = table.datasets.index(name)
        weights = np.full(len(table.datasets), -1 / (len(table.datasets) - 1))
        weights[at] = 1.0
        pooled = pooled_variance([runs[:, column] for runs in table.runs])
        seeds = np.array([len(runs) for runs in table.runs])
        means = table.means[:, column]
        difference = float(means @ weights)
        low, high = interval(
            difference,
            pooled.variance * float((weights**2 / seeds).sum()),
            float((draws[:, :, column] @ weights).std(ddof=1)),
            pooled.degrees_of_freedom,
            alpha,
        )
        own = float(means[at])
        found.append(HomeAdvantage(name, own, own - difference, difference, low, high))
    return found


def home_variants(
    evidence: Evidence, base: Comparison, table: ScoreTable, alpha: float
) -> dict[str, Variant | None]:
    """Return the comparison by all held-out parts, and by those of the others, where not the base.

    The keys are those of `Results`.
    """
    by_parts = evidence.held_out_lens()
    lenses: dict[str, Lens | None] = {"home_included": None, "home_excluded": None}
    if len(table.datasets) > 1 and by_parts.evals:
        if base.lens.mode != "all":
            lenses["home_included"] = Lens("all", by_parts.evals, {})
        if base.lens.mode == "texts" and by_parts.mode == "others":
            lenses["home_excluded"] = by_parts
    return {
        key: lens and _variant(compare_through(lens, table, alpha=alpha), base)
        for key, lens in lenses.items()
    }


def with_contaminated(evidence: Evidence, base: Comparison, alpha: float) -> Variant | None:
    """Return the comparison on all documents; None where none was left out."""
    if all(keep.all() for keep in evidence.kept.values()):
        return None
    table = ScoreTable.of(evidence.runs(), evidence.evals)
    other = compare_through(base.lens, table, alpha=alpha, margin=evidence.plan.margin)
    return _variant(other, base)


def rate_checks(
    evidence: Evidence, base: Comparison, table: ScoreTable, alpha: float
) -> list[RateCheck]:
    """Return the comparison at other learning rates, where two datasets or more have been run."""
    checks: list[RateCheck] = []
    for rate in evidence.plan.rates:
        runs = evidence.runs(rate)
        if len(runs) > 1:
            other = compare_through(
                base.lens,
                evidence.table(rate),
                alpha=alpha,
                margin=evidence.plan.margin,
                also=table,
            )
            fewest = min(map(len, runs.values()))
            checks.append(RateCheck(rate, fewest, _variant(other, base)))
    return checks


def best_rates(
    evidence: Evidence, base: Comparison, rates: Sequence[float], alpha: float
) -> BestRates:
    """Return the comparison with each dataset at the rate at which its own score is lowest."""
    tables = {rate: evidence.table(rate) for rate in (1.0, *rates)}
    best: dict[str, float] = {}
    for name in base.datasets:
        scores = {
            rate: _plain_score(table, name, base.lens)
            for rate, table in tables.items()
            if name in table.datasets
        }
        best[name] = min(scores, key=lambda rate: scores[rate])
    runs = {name: evidence.runs(rate)[name] for name, rate in best.items()}
    chosen = ScoreTable.of(runs, evidence.evals, evidence.kept)
    other = compare_through(
        base.lens, chosen, alpha=alpha, margin=evidence.plan.margin, also=tables[1.0]
    )
    return BestRates(best, _variant(other, base))


def _plain_score(table: ScoreTable, dataset: str, lens: Lens) -> float:
    """Return the mean over the sets that count for a dataset."""
    row: Floats = table.means[table.datasets.index(dataset)]
    return float(np.mean([row[table.evals.index(name)] for name in lens.sets_of(dataset)]))


def _variant(other: Comparison, base: Comparison) -> Variant:
    """Return another comparison of the same datasets, held against the verdict's."""
    scores = dict(zip(other.datasets, other.means.tolist(), strict=True))
    mains = dict(zip(base.datasets, base.means.tolist(), strict=True))
    winners = {frozenset((pair.a, pair.b)): pair.winner for pair in base.pairs}
    compared = [(pair, winners[frozenset((pair.a, pair.b))]) for pair in other.pairs]
    return Variant(
        ranking=other.ranking,
        scores=scores,
        tau=_number(kendall_tau(list(scores.values()), [mains[name] for name in scores])),
        differences=[
            {
                "a": pair.a,
                "b": pair.b,
                "difference": pair.difference,
                "low": pair.low,
                "high": pair.high,
                "p_adjusted": pair.p_adjusted,
                "verdict": pair.verdict,
            }
            for pair in other.pairs
        ],
        flips=[[p.a, p.b] for p, won in compared if won and p.winner and p.winner != won],
        undecided=[[p.a, p.b] for p, won in compared if won and not p.winner],
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
