"""What a run costs, found by doing a little of it in a process of its own.

A rate in FLOP/s does not carry over from one shape to another: small products, attention and the
head each have their own. So the shape itself is timed, for some seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from seedbed.config import build
from seedbed.errors import ConfigError
from seedbed.progress import Progress
from seedbed.runs import RunDir
from seedbed.training.config import TrainConfig

if TYPE_CHECKING:
    from seedbed.data.prepared import PreparedDataset
    from seedbed.training.job import Job

SECONDS = 8.0  # of timed steps, once two have warmed up
_MOST_STEPS = 40


@dataclass(frozen=True)
class Trial:
    """What was measured. Seconds, and bytes of memory at the peak of the process."""

    starting: float  # from reading the settings, before torch is imported, to the first step's end
    step: float
    evaluation: float
    save: float
    memory: float
    timed_steps: int
    whole_steps: bool  # False: the step was put together from some of its micro-batches


def try_out(config: TrainConfig, *, seconds: float = SECONDS, threads: int | None = None) -> Trial:
    """Return what a few steps of a resolved config take in a fresh process, with `threads` threads.

    Raises ConfigError with the process' last words when it fails, for want of memory for one.
    """
    command = [sys.executable, "-m", "seedbed.training.trial", str(seconds)]
    environment = os.environ if threads is None else os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command,
        input=config.model_dump_json(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()
        reason = words[-1] if words else f"it ended with code {done.returncode}"
        if done.returncode == -9:
            reason = "it was killed, most likely for want of memory"
        raise ConfigError(f"The steps that should have been timed failed: {reason}.")
    return Trial(**json.loads(done.stdout.splitlines()[-1]))


def run_trial(config: TrainConfig, seconds: float, *, started: float) -> Trial:
    """Do what `try_out` promises, in this process, which began at `started` (perf_counter)."""
    from seedbed.data.prepared import open_dataset
    from seedbed.machine import peak_memory
    from seedbed.training.minutes import SPAN, seconds_of_a_save
    from seedbed.training.resolve import evaluated_tokens

    dataset = open_dataset(config.data, verify=False)
    with tempfile.TemporaryDirectory() as folder:
        job = _set_up(config, RunDir(Path(folder)), dataset)
        job.steps = SPAN
        job.initialise()
        first = _timed(job)
        starting = time.perf_counter() - started
        step, timed, whole = _time_steps(job, first, seconds)
        return Trial(
            starting=starting,
            step=step,
            evaluation=_time_evaluation(
                job, evaluated_tokens(config, dataset) / evaluated_tokens(job.config, dataset)
            ),
            save=seconds_of_a_save(job),
            memory=peak_memory(),
            timed_steps=timed,
            whole_steps=whole,
        )


def _set_up(config: TrainConfig, run: RunDir, dataset: PreparedDataset) -> Job:
    """Return the job, which evaluates one batch only and tells no tracker."""
    from seedbed.distributed import join_world
    from seedbed.evaluation.bits_per_byte import MOST_TOKENS
    from seedbed.training.pretrain import set_up

    tokens = min(MOST_TOKENS, config.evaluation.tokens)
    evaluation = config.evaluation.model_copy(update={"tokens": tokens})
    short = config.model_copy(update={"trackers": (), "evaluation": evaluation})
    run.checkpoints.mkdir()
    return set_up(run, short, dataset, join_world(config.device))


def _timed(job: Job) -> float:
    """Do a step, with fewer sequences at a time where memory runs out; return its seconds."""
    from seedbed.training.loop import halve_micro_batch, take_step
    from seedbed.training.step import NoMemoryError

    while True:
        start = time.perf_counter()
        try:
            take_step(job)
        except NoMemoryError:
            halve_micro_batch(job, Progress("timing", None, unit="step", quiet=True))
        else:
            return time.perf_counter() - start


def _time_steps(job: Job, first: float, seconds: float) -> tuple[float, int, bool]:
    """Return the seconds of a step, how many were timed, and whether they were whole ones.

    Where whole steps would take too long, they get fewer micro-batches. What the optimizer takes
    comes once a step, however many there are.
    """
    if job.config.compile == "on":  # the first step was mostly compiling
        first = _timed(job)
    whole = job.micro_batches
    total = len(whole(0))
    part = max(1, min(total, int(total * seconds / (5 * first))))
    job.micro_batches = lambda step: whole(step)[:part]
    _timed(job)
    measured = [_timed(job)]
    while len(measured) < _MOST_STEPS and sum(measured) < seconds:
        measured.append(_timed(job))
    update = 0.0 if part == total else _update_seconds(job)
    return (median(measured) - update) * total / part + update, len(measured), part == total


def _update_seconds(job: Job) -> float:
    """Return what the optimizer takes for one step."""
    from seedbed.machine import wait_for

    wait_for(job.world.device)
    start = time.perf_counter()
    job.optimizer.step(0.0)
    wait_for(job.world.device)
    return time.perf_counter() - start


def _time_evaluation(job: Job, times: float) -> float:
    """Return the seconds of an evaluation of so many times the text, with its samples."""
    start = time.perf_counter()
    job.evaluate()
    scoring = (time.perf_counter() - start) * times
    start = time.perf_counter()
    job.sample()
    return scoring + time.perf_counter() - start


if __name__ == "__main__":
    began = time.perf_counter()
    wanted = build(TrainConfig, json.load(sys.stdin))
    result = run_trial(wanted, float(sys.argv[1]), started=began)
    print(json.dumps(asdict(result)))  # noqa: T201  the answer to the process that asked
