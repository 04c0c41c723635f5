"""From a plan and the scores of its runs to what is said of the datasets: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from seedbed.errors import DataError
from seedbed.evaluation.tasks import clustered_interval
from seedbed.experiments.evidence import Evidence, interval
from seedbed.experiments.jobs import JobScores
from seedbed.experiments.lens import Comparison, compare_through
from seedbed.experiments.next_runs import next_run, wanting
from seedbed.experiments.plan import FEWEST_KEPT, Job, Plan
from seedbed.experiments.results import (
    Cell,
    DatasetResult,
    PairResult,
    RaceResult,
    Results,
    RunResult,
    RunState,
    TaskResult,
)
from seedbed.experiments.score_table import Flags, ScoreTable, kept_scores
from seedbed.experiments.variants import (
    best_rates,
    home_advantages,
    home_variants,
    rate_checks,
    with_contaminated,
)
from seedbed.experiments.wording import verdict_in_words, warnings_of
from seedbed.statistics import (
    PooledVariance,
    minimum_detectable_difference,
    pooled_variance,
    rank_intervals,
    ratio_standard_error,
    top_set,
)

_MEASURED = {"seconds_per_job", "workers", "minutes_expected"}  # in a plan: told in timings.json


def judge(
    plan: Plan,
    scores: Mapping[str, JobScores],
    *,
    contaminated: Mapping[str, Flags] | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    failed: Mapping[str, str] | None = None,
    race: RaceResult | None = None,
) -> Results:
    """Return what the scores say.

    `contaminated` has, for each evaluation set, the documents that some training text has, which
    are left out; `groups`, for each task, the document that each item was made of, where items are
    not each of their own; `failed` what failed runs said. A race's verdict is held to the level of
    one of its looks.

    Raises DataError where no run has finished, or too few documents are left to judge by.
    """
    evidence = _evidence(plan, scores, contaminated or {})
    table = evidence.table()
    alpha = race.alpha_of_a_look if race else plan.alpha
    base = compare_through(evidence.lens, table, alpha=alpha, margin=plan.margin)
    pairs = _pairs(base, plan.margin, alpha)
    rates = rate_checks(evidence, base, table, alpha)
    contaminated_too = with_contaminated(evidence, base, alpha)
    runs = [_run(job, evidence, failed or {}, race) for job in plan.jobs]
    return Results(
        verdict=verdict_in_words(base.ranking, pairs, rates, plan.margin),
        ranking=base.ranking,
        top_set=top_set(base.ranking, base.pairs),
        pairs=pairs,
        matrix=_matrix(table, alpha),
        datasets=_datasets(base, alpha),
        judged_on={
            "mode": base.lens.mode,
            "evals": base.lens.evals,
            "explanation": base.lens.explanation,
        },
        alpha=alpha,
        margin=plan.margin,
        seed_sd=_seed_sd(base),
        minimum_detectable_difference=_detectable(base, alpha),
        next_run=next_run(base.ranking, pairs),
        home_advantage=home_advantages(evidence, table, alpha),
        **home_variants(evidence, base, table, alpha),
        with_contaminated=contaminated_too,
        rates=rates,
        best_rates=(
            best_rates(evidence, base, [check.rate for check in rates], alpha) if rates else None
        ),
        tasks=_tasks(evidence, groups or {}, alpha),
        race=race,
        runs=runs,
        plan=plan.model_dump(mode="json", exclude=_MEASURED),
        warnings=[*plan.warnings, *warnings_of(base, plan, runs, contaminated_too, race)],
    )


def _evidence(
    plan: Plan, scores: Mapping[str, JobScores], contaminated: Mapping[str, Flags]
) -> Evidence:
    """Return what there is to judge by."""
    kept = {e.name: ~contaminated.get(e.name, np.zeros(e.documents, np.bool_)) for e in plan.evals}
    evidence = Evidence(plan, scores, kept)
    if not evidence.runs():
        raise DataError("No run of the experiment has finished: there is nothing to compare.")
    if not evidence.evals:
        raise DataError(
            f"No evaluation text has {FEWEST_KEPT} documents that occur in no training text, the "
            "fewest to judge by: give other, or more, --eval text."
        )
    return evidence


def _datasets(base: Comparison, alpha: float) -> list[DatasetResult]:
    """Return how each dataset did, best first."""
    chances = base.chances()
    ranks = rank_intervals(base.datasets, base.pairs)
    errors = base.document_draws.std(axis=0, ddof=1)
    results: list[DatasetResult] = []
    for name in base.ranking:
        at = base.datasets.index(name)
        values = base.scores[at]
        score, pooled = float(values.mean()), base.pooled
        of_seeds = pooled.variance / len(values)
        low, high = interval(score, of_seeds, float(errors[at]), pooled.degrees_of_freedom, alpha)
        results.append(
            DatasetResult(
                name=name,
                score=score,
                low=low,
                high=high,
                seeds=len(values),
                scores=values.tolist(),
                best_rank=ranks[name][0],
                worst_rank=ranks[name][1],
                p_best=float(chances.p_best[at]),
                expected_regret=float(chances.expected_regret[at]),
            )
        )
    return results


def _pairs(base: Comparison, margin: float, alpha: float) -> list[PairResult]:
    """Return what is said of all pairs, those of the best datasets first."""
    seeds = {d: len(values) for d, values in zip(base.datasets, base.scores, strict=True)}
    judged = zip(base.pairs, base.document_errors, base.variances, strict=True)
    found: list[PairResult] = []
    for pair, document_error, pooled in judged:
        wants = wanting(
            pair,
            pooled,
            document_error,
            datasets=len(base.datasets),
            comparisons=len(base.pairs),
            seeds=max(seeds[pair.a], seeds[pair.b]),
            margin=margin,
            alpha=alpha,
        )
        found.append(
            PairResult(
                a=pair.a,
                b=pair.b,
                difference=pair.difference,
                low=pair.low,
                high=pair.high,
                simultaneous_low=pair.simultaneous_low,
                simultaneous_high=pair.simultaneous_high,
                p=pair.p,
                p_adjusted=pair.p_adjusted,
                p_equivalent=pair.p_equivalent,
                verdict=pair.verdict,
                winner=pair.winner,
                evals=base.lens.sets_of(pair.a, pair.b),
                towards=wants and wants.towards,
                more_seeds=wants and wants.more_seeds,
                more_text=wants and wants.more_text,
            )
        )
    place = base.ranking.index
    return sorted(found, key=lambda pair: sorted((place(pair.a), place(pair.b))))


def _seed_sd(base: Comparison) -> float | None:
    return math.sqrt(base.pooled.variance) if base.pooled.degrees_of_freedom else None


def _detectable(base: Comparison, alpha: float) -> float | None:
    """Return the difference that this experiment finds four times in five, in a typical pair."""
    if base.pooled.degrees_of_freedom == 0 or not base.pairs:
        return None
    variance = float(np.median([pooled.variance for pooled in base.variances]))
    return minimum_detectable_difference(
        PooledVariance(variance, base.pooled.degrees_of_freedom),
        max(len(values) for values in base.scores),
        document_error=float(np.median(base.document_errors)),
        alpha=alpha,
        comparisons=len(base.pairs),
    )


def _matrix(table: ScoreTable, alpha: float) -> dict[str, dict[str, Cell]]:
    """Return how each dataset's models predict each evaluation set."""
    matrix: dict[str, dict[str, Cell]] = {name: {} for name in table.datasets}
    for column, evaluation in enumerate(table.evals):
        pooled = pooled_variance([runs[:, column] for runs in table.runs])
        for row, name in enumerate(table.datasets):
            runs = table.runs[row][:, column]
            error = ratio_standard_error(table.bits[column][row], table.bytes[column])
            value, of_seeds = float(runs.mean()), pooled.variance / len(runs)
            low, high = interval(value, of_seeds, error, pooled.degrees_of_freedom, alpha)
            matrix[name][evaluation] = Cell(value, low, high)
    return matrix


def _tasks(
    evidence: Evidence, groups: Mapping[str, Sequence[int]], alpha: float
) -> list[TaskResult]:
    """Return how right each dataset's models are in each task.

    The interval is that of the choice of documents that items are made of. A seed's luck is in the
    mean alone.
    """
    results: list[TaskResult] = []
    for task in evidence.plan.tasks:
        for name, runs in evidence.runs().items():
            right = np.mean([run.tasks[task.name] for run in runs], axis=0)  # (items,)
            alike = groups.get(task.name, range(len(right)))
            low, high = clustered_interval(right, alike, alpha=alpha)
            accuracy = float(right.mean())
            results.append(
                TaskResult(
                    task.name, name, accuracy, low, high, task.chance, len(right), low > task.chance
                )
            )
    return results


def _run(
    job: Job, evidence: Evidence, failed: Mapping[str, str], race: RaceResult | None
) -> RunResult:
    """Return what became of a job."""
    state: RunState = "not run"
    scores: dict[str, float] = {}
    if job.name in evidence.scores:
        state = "finished"
        texts = kept_scores(evidence.scores[job.name], evidence.evals, evidence.kept)
        scores = {name: text.bits_per_byte for name, text in texts.items()}
    elif job.name in failed:
        state = "failed"
    elif race:
        state = "dropped"
    return RunResult(
        name=job.name,
        dataset=job.dataset,
        replicate=job.replicate,
        seed=job.seed,
        rate=job.rate,
        state=state,
        bits_per_byte=scores,
        error=failed.get(job.name),
    )
