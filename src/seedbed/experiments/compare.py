"""A comparison of datasets: plan, runs, verdict, report. The same call again goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seedbed.experiments.config import ExperimentConfig
from seedbed.experiments.executors import ExecutorName, run_jobs
from seedbed.experiments.jobs import JobScores, load_all_scores
from seedbed.experiments.plan import ExperimentDir, Job, Plan
from seedbed.experiments.planning import make_plan
from seedbed.experiments.racing import run_race
from seedbed.experiments.report import write_report
from seedbed.experiments.results import RaceResult, Results, write_results
from seedbed.experiments.score_table import Flags
from seedbed.experiments.task_sets import task_groups
from seedbed.experiments.verdict import judge
from seedbed.progress import Progress


def compare(
    config: ExperimentConfig,
    out: Path,
    *,
    executor: ExecutorName = "local",
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    announce: Callable[[Plan], object] = lambda _: None,
    report: bool = True,
    quiet: bool = False,
) -> Results | None:
    """Return which dataset is best, and how sure that is; None when stopped on request.

    `announce` gets the plan before training begins. `out` then holds results.json, results.csv and,
    where a `report` is wanted, report.html and report.md. Executors, `workers` and `options` are as
    in `run_jobs`; no result depends on them. An experiment that was stopped or killed goes on where
    it was.

    Raises ConfigError when `out` holds another experiment, DataError for text that cannot be used,
    or when another process works on it, or when no run finishes.
    """
    announce(plan_comparison(config, out, workers=workers, quiet=quiet))
    runs = _Runs(out, executor, workers, options, quiet)
    plan = ExperimentDir(out).read_plan()
    try:
        race = _race(plan, runs) if config.race else None
        if race is None:
            runs.run(plan.jobs)
    except _StoppedError:
        return None
    results = judge(
        plan,
        runs.scores(),
        contaminated=_contaminated(plan, out),
        groups=task_groups(plan, out),
        failed=runs.failed,
        race=race,
    )
    write_results(out, results)
    if report:
        write_report(out, results)
    return results


def plan_comparison(
    config: ExperimentConfig, out: Path, *, workers: int | None = None, quiet: bool = False
) -> Plan:
    """Return the plan of an experiment, and prepare all that it speaks of."""
    with Progress("planning", None, unit="step", quiet=quiet) as progress:
        return make_plan(config, out, workers=workers, note=progress.note)


class _StoppedError(Exception):
    """The runs were stopped on request; those that are done, and the others' states, are saved."""


class _Runs:
    """The jobs of an experiment, where they run, and which of them failed."""

    def __init__(
        self,
        folder: Path,
        executor: ExecutorName,
        workers: int | None,
        options: Mapping[str, Any] | None,
        quiet: bool,
    ) -> None:
        self.folder, self.quiet, self.workers = folder, quiet, workers
        self.executor: ExecutorName = executor
        self.options = options
        self.failed: dict[str, str] = {}

    def run(self, jobs: Sequence[Job]) -> None:
        """Run those of the jobs that are not done. Raises _StoppedError."""
        outcome = run_jobs(
            self.folder,
            jobs,
            executor=self.executor,
            workers=self.workers,
            options=self.options,
            quiet=self.quiet,
        )
        self.failed.update(outcome.failed)
        if outcome.stopped:
            raise _StoppedError

    def scores(self) -> dict[str, JobScores]:
        """Return what the finished jobs scored, by name."""
        return load_all_scores(self.folder, ExperimentDir(self.folder).read_plan())


def _race(plan: Plan, runs: _Runs) -> RaceResult:
    kept = {name: ~flags for name, flags in _contaminated(plan, runs.folder).items()}
    with Progress("race", None, unit="run", quiet=runs.quiet) as progress:
        return run_race(plan, runs.run, runs.scores, kept=kept, note=progress.note)


def _contaminated(plan: Plan, folder: Path) -> dict[str, Flags]:
    """Return, for each evaluation set, the documents that occur in training text."""
    return {e.name: ExperimentDir(folder).contaminated(e.name) for e in plan.evals}
