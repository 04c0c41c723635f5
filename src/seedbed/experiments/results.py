"""What a comparison found: results.json, results.csv and the report say the same of it.

Scores are in bits per byte, lower is better. Nothing here depends on how fast or on how many
processes the experiment ran: see timings.json for that.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from seedbed.files import write_json, write_text
from seedbed.statistics.pairs import Verdict

RunState = Literal["finished", "failed", "dropped", "not run"]  # dropped: the race needs it no more


@dataclass(frozen=True)
class DatasetResult:
    """How a dataset did among all."""

    name: str
    score: float  # mean over seeds
    low: float  # the (1 - alpha) interval of the score: seeds and documents
    high: float
    seeds: int
    scores: list[float]  # one for each seed
    best_rank: int  # the ranks it can have, whose intervals hold for all datasets at once
    worst_rank: int
    p_best: float  # the probability that it is the best
    expected_regret: float  # by how much it is expected to be worse than the best


@dataclass(frozen=True)
class PairResult:
    """What is said of two datasets."""

    a: str  # the one with the lower score
    b: str
    difference: float  # a - b
    low: float  # the (1 - alpha) interval of this pair alone
    high: float
    simultaneous_low: float  # of all pairs at once
    simultaneous_high: float
    p: float  # of this pair alone
    p_adjusted: float  # Holm's, over all pairs
    p_equivalent: float | None  # that they differ by the margin or more; None: one seed
    verdict: Verdict
    winner: str | None  # who is better beyond chance, by however little
    evals: list[str]  # the sets that it was judged on
    towards: str | None  # the verdict that is nearer where it is unresolved: better or equivalent
    more_seeds: int | None  # of each, for that verdict if the difference is the one seen
    more_text: float | None  # so many times the evaluation text, beside the seeds


@dataclass(frozen=True)
class Cell:
    """How models of a dataset predict an evaluation set."""

    bits_per_byte: float  # mean over seeds
    low: float
    high: float


@dataclass(frozen=True)
class HomeAdvantage:
    """A dataset on its own held-out part."""

    dataset: str
    own: float
    others: float  # mean there of the datasets that are not at home there
    difference: float  # own - others
    low: float
    high: float


@dataclass(frozen=True)
class Variant:
    """The same comparison seen another way: other documents, other sets, or another rate."""

    ranking: list[str]
    scores: dict[str, float]
    tau: float | None  # Kendall's, of these scores with those of the verdict; None: one dataset
    differences: list[dict[str, Any]]  # pairs: a, b, difference, low, high, p_adjusted, verdict
    flips: list[list[str]]  # pairs that are decided here and in the verdict, the other way round
    undecided: list[list[str]]  # pairs decided in the verdict and not here


@dataclass(frozen=True)
class RateCheck:
    """The comparison at another multiple of the learning rates."""

    rate: float
    seeds: int  # of each dataset, the fewest
    variant: Variant


@dataclass(frozen=True)
class BestRates:
    """The comparison with each dataset at the learning rates that suit it best."""

    rates: dict[str, float]
    replicates: dict[str, int]  # that each dataset's choice of a rate rests on
    variant: Variant


@dataclass(frozen=True)
class TaskResult:
    """How right models of a dataset are in a task."""

    task: str
    dataset: str
    accuracy: float  # mean over items and seeds
    low: float  # Wilson's interval over the documents of items, the seeds' mean taken for each
    high: float
    chance: float
    items: int
    above_chance: bool  # chance is below the interval


@dataclass(frozen=True)
class RunResult:
    """One model of the experiment."""

    name: str
    dataset: str
    replicate: int
    seed: int
    rate: float  # multiple of the learning rates
    state: RunState
    bits_per_byte: dict[str, float]  # by evaluation set, its clean documents
    error: str | None  # of a failed one


@dataclass(frozen=True)
class NextRun:
    """What would tell most for the least."""

    a: str
    b: str
    towards: str | None
    more_seeds: int | None
    more_text: float | None


@dataclass(frozen=True)
class RaceResult:
    """What a race dropped, and saved."""

    dropped: dict[str, int]  # a dataset to the seeds that it had, in the order they left
    looks: int  # at most, the final verdict included
    alpha_of_a_look: float  # so that all looks together keep to the experiment's alpha
    runs_saved: int
    share_saved: float  # of the plan's runs


@dataclass(frozen=True)
class Results:
    """Everything that a comparison found."""

    verdict: str  # in plain words
    ranking: list[str]  # best first
    top_set: list[str]  # those that may be the best
    pairs: list[PairResult]
    matrix: dict[str, dict[str, Cell]]  # training dataset to evaluation set
    datasets: list[DatasetResult]  # in the order of the ranking
    judged_on: dict[str, Any]  # mode, evals, explanation
    alpha: float
    margin: float
    seed_sd: float | None  # of the scores, between seeds of a dataset; None: one seed
    minimum_detectable_difference: float | None
    next_run: NextRun | None
    home_advantage: list[HomeAdvantage]
    home_included: Variant | None  # by all held-out parts, the own ones included
    home_excluded: Variant | None  # by the other datasets' held-out parts
    with_contaminated: Variant | None  # with the documents that some dataset has, too
    rates: list[RateCheck]
    best_rates: BestRates | None
    tasks: list[TaskResult]
    race: RaceResult | None
    runs: list[RunResult]
    plan: dict[str, Any]
    warnings: list[str]

    def pair(self, one: str, other: str) -> PairResult:
        """Return what is said of these two, in either order."""
        return next(pair for pair in self.pairs if {pair.a, pair.b} == {one, other})


def write_results(folder: Path, results: Results) -> None:
    """Write results.json and results.csv."""
    write_text(folder / "results.csv", _csv(results))
    write_json(folder / "results.json", to_json(results))


def to_json(results: Results) -> dict[str, Any]:
    """Return the results as JSON values, where null is a number that there is not.

    >>> _finite({"p": [float("nan"), 0.5]})
    {'p': [None, 0.5]}
    """
    return _finite(asdict(results))


def finite(value: float) -> float | None:
    """Return a number, or None where JSON has none for it."""
    return value if math.isfinite(value) else None


def _finite(value: Any) -> Any:
    """Return the value with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return finite(value) if isinstance(value, float) else value


def _csv(results: Results) -> str:
    """Return a line for each run and evaluation set."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["run", "dataset", "replicate", "seed", "rate", "state", "eval", "bits_per_byte"]
    )
    for run in results.runs:
        facts = [run.name, run.dataset, run.replicate, run.seed, run.rate, run.state]
        scores = run.bits_per_byte or {"": ""}
        writer.writerows([*facts, name, score] for name, score in scores.items())
    return out.getvalue()
