"""The same comparison seen other ways: how far a verdict hangs on what was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seedbed.experiments.evidence import Evidence, interval
from seedbed.experiments.lens import Comparison, Lens, compare_through
from seedbed.experiments.results import BestRates, HomeAdvantage, RateCheck, Variant, finite
from seedbed.experiments.score_table import ScoreTable, kept_scores
from seedbed.statistics import kendall_tau, pooled_variance


def home_advantages(evidence: Evidence, table: ScoreTable, alpha: float) -> list[HomeAdvantage]:
    """Return how each dataset does on its own held-out part, against the others there.

    A mixture that has the dataset in it is at home there too, and none of the others.
    """
    origins = {e.name: e.origin for e in evidence.plan.evals}
    draws = table.document_draws
    found: list[HomeAdvantage] = []
    for column, evaluation in enumerate(table.evals):
        name = origins[evaluation]
        strangers = np.array([evaluation not in evidence.own(other) for other in table.datasets])
        if name not in table.datasets or not strangers.any():
            continue
        at = table.datasets.index(name)
        weights = strangers / -strangers.sum()
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
    by_parts, margin = evidence.held_out_lens(), evidence.plan.margin
    lenses: dict[str, Lens | None] = {"home_included": None, "home_excluded": None}
    if len(table.datasets) > 1 and by_parts.evals:
        if base.lens.mode != "all":
            lenses["home_included"] = Lens("all", by_parts.evals, {})
        if base.lens.mode == "texts" and by_parts.mode == "others":
            lenses["home_excluded"] = by_parts
    return {
        key: lens and _variant(compare_through(lens, table, alpha=alpha, margin=margin), base)
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
    """Return the comparison at other learning rates, where two of the base's have been run."""
    checks: list[RateCheck] = []
    for rate in evidence.plan.rates:
        runs = {name: own for name, own in evidence.runs(rate).items() if name in base.datasets}
        if len(runs) > 1:
            other = compare_through(
                base.lens,
                ScoreTable.of(runs, evidence.evals, evidence.kept),
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
    """Return the comparison with each dataset at the rate at which its own score is lowest.

    The rate is chosen on replicates that were run at all of a dataset's rates.
    """
    best: dict[str, float] = {}
    replicates: dict[str, int] = {}
    for name in base.datasets:
        scores = _scores_by_rate(evidence, name, (1.0, *rates), base.lens.sets_of(name))
        means = {rate: float(np.mean(own)) for rate, own in scores.items()}
        best[name] = min(means, key=lambda rate: means[rate])
        replicates[name] = len(scores[1.0])
    runs = {name: evidence.runs(rate)[name] for name, rate in best.items()}
    planned = {name: own for name, own in evidence.runs().items() if best[name] != 1}
    other = compare_through(
        base.lens,
        ScoreTable.of(runs, evidence.evals, evidence.kept),
        alpha=alpha,
        margin=evidence.plan.margin,
        also=ScoreTable.of(planned, evidence.evals, evidence.kept) if planned else None,
    )
    return BestRates(best, replicates, _variant(other, base))


def _scores_by_rate(
    evidence: Evidence, dataset: str, rates: Sequence[float], sets: Sequence[str]
) -> dict[float, list[float]]:
    """Return a dataset's scores at each rate, of the replicates that all rates have.

    Those at the planned rate alone, where there is no such replicate.
    """
    scores: dict[float, dict[int, float]] = {}
    for job in evidence.plan.jobs:
        if job.dataset == dataset and job.rate in rates and job.name in evidence.scores:
            texts = kept_scores(evidence.scores[job.name], sets, evidence.kept)
            mean = float(np.mean([text.bits_per_byte for text in texts.values()]))
            scores.setdefault(job.rate, {})[job.replicate] = mean
    shared = set.intersection(*(set(own) for own in scores.values()))
    if not shared:
        return {1.0: list(scores[1.0].values())}
    return {rate: [own[number] for number in sorted(shared)] for rate, own in scores.items()}


def _variant(other: Comparison, base: Comparison) -> Variant:
    """Return another comparison of the same datasets, held against the verdict's."""
    scores = dict(zip(other.datasets, other.means.tolist(), strict=True))
    mains = dict(zip(base.datasets, base.means.tolist(), strict=True))
    winners = {frozenset((pair.a, pair.b)): pair.winner for pair in base.pairs}
    compared = [(pair, winners[frozenset((pair.a, pair.b))]) for pair in other.pairs]
    return Variant(
        ranking=other.ranking,
        scores=scores,
        tau=finite(kendall_tau(list(scores.values()), [mains[name] for name in scores])),
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
