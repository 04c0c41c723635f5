"""How far the jobs of an experiment have come, told from their files, wherever they run."""

# pyright: strict

from __future__ import annotations

import time
from dataclasses import dataclass, field

from seedbed.experiments.plan import ExperimentDir, Job, Plan
from seedbed.progress import Progress
from seedbed.runs import RunDir
from seedbed.training.stopping import Stop

SECONDS_BETWEEN_READINGS = 1.0


@dataclass
class Watch:
    """Looks after jobs: what is left of them, and whether to stop."""

    place: ExperimentDir
    plan: Plan
    jobs: list[Job]
    workers: int
    stop: Stop
    progress: Progress
    _finished: set[str] = field(default_factory=set[str])
    _shown: float = -1e9

    def unfinished(self) -> list[Job]:
        """Return the jobs without scores."""
        for job in self.jobs:
            if job.name not in self._finished and self.place.scores(job).is_file():
                self._finished.add(job.name)
        return [job for job in self.jobs if job.name not in self._finished]

    def show(self) -> None:
        """Show how many steps of all jobs are done, once a second at most."""
        now = time.monotonic()
        if self.progress.quiet or now - self._shown < SECONDS_BETWEEN_READINGS:
            return
        self._shown = now
        left = {job.name for job in self.unfinished()}
        done = sum(
            self._steps(job) if job.name in left else self.plan.dataset(job.dataset).steps
            for job in self.jobs
        )
        count = len(self.jobs)
        self.progress.update(done, finished=f"{count - len(left)} of {count} runs")

    def _steps(self, job: Job) -> int:
        """Return how many steps an unfinished job has done."""
        return int(RunDir(self.place.run(job)).read_status().get("step", 0))
