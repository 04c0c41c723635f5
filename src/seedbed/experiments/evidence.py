"""What there is to judge by: a plan, what finished runs scored, and the documents that count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.experiments.jobs import JobScores
from seedbed.experiments.lens import Lens, choose_lens
from seedbed.experiments.plan import FEWEST_KEPT, Plan
from seedbed.experiments.score_table import Flags, ScoreTable
from seedbed.statistics import t_interval


@dataclass(frozen=True)
class Evidence:
    """The plan of an experiment, and what its finished runs scored."""

    plan: Plan
    scores: Mapping[str, JobScores]  # by the job's name
    kept: Mapping[str, Flags]  # by evaluation set: the documents that no training text has

    @property
    def evals(self) -> list[str]:
        """The evaluation sets with enough documents left."""
        return [e.name for e in self.plan.evals if self.kept[e.name].sum() >= FEWEST_KEPT]

    @property
    def lens(self) -> Lens:
        """What the verdict goes by."""
        own = {d.name: self.own(d.name) for d in self.plan.datasets}
        return choose_lens(own, self.evals)

    def own(self, dataset: str) -> set[str]:
        """Return the held-out parts that favour a dataset: its own, or its ingredients'."""
        origins = {dataset, *self.plan.dataset(dataset).mixture}
        return {e.name for e in self.plan.evals if e.origin in origins}

    def held_out_lens(self) -> Lens:
        """Return what a verdict by held-out parts alone would go by."""
        own = {d.name: self.own(d.name) for d in self.plan.datasets}
        parts = [e.name for e in self.plan.evals if e.origin and e.name in self.evals]
        return choose_lens(own, [n for n in parts if any(n in sets for sets in own.values())])

    def runs(self, rate: float = 1.0) -> dict[str, list[JobScores]]:
        """Return the finished runs of each dataset that has any, at a rate."""
        found: dict[str, list[JobScores]] = {}
        for job in self.plan.jobs:
            if job.rate == rate and job.name in self.scores:
                found.setdefault(job.dataset, []).append(self.scores[job.name])
        names = [facts.name for facts in self.plan.datasets]
        return {name: found[name] for name in names if name in found}

    def table(self) -> ScoreTable:
        """Return the scores at the planned rate, on documents that no training text has."""
        return ScoreTable.of(self.runs(), self.evals, self.kept)


def interval(
    estimate: float, variance: float, document_error: float, nu: int, alpha: float
) -> tuple[float, float]:
    """Return the interval of an estimate; NaN where nothing is known of chance."""
    if nu == 0:
        return math.nan, math.nan
    return t_interval(estimate, math.sqrt(variance + document_error**2), nu, alpha=alpha)
