"""Where the jobs of an experiment run: in processes here, on a SLURM cluster, or on Ray.

All of them run `jobs.run_job`, which leaves a file with scores and is then done for good. So a
call that was killed, or a job that failed, costs what it had not saved, and the same call goes on.
A job that stopped in good order has not failed: it returns, and there are no scores yet.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seedbed.errors import ConfigError, how_to_install
from seedbed.experiments.jobs import run_job
from seedbed.experiments.local_jobs import run_locally
from seedbed.experiments.plan import ExperimentDir, Job, Plan, usual_workers
from seedbed.experiments.watch import Watch
from seedbed.files import read_json, write_json
from seedbed.progress import Progress
from seedbed.training.stopping import stop_signals

ExecutorName = Literal["local", "slurm", "ray"]
ATTEMPTS = 2
SECONDS_BETWEEN_LOOKS = 1.0  # at what runs elsewhere

Run = Callable[[Watch, Sequence[Job], Mapping[str, Any]], dict[str, str]]


@dataclass(frozen=True)
class Outcome:
    """How far the jobs came."""

    finished: int  # jobs whose scores are there
    failed: Mapping[str, str] = field(default_factory=dict[str, str])  # a job's last words
    stopped: bool = False  # on request: the same call goes on


def run_jobs(
    folder: Path,
    jobs: Sequence[Job] | None = None,
    *,
    executor: ExecutorName = "local",
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Run jobs of the experiment in a folder, all of its plan by default; those done are left.

    A job that fails is run once more, from its beginning; then it stands in failed.json with its
    last words. `workers` is how many run at once: None for one a core. `options` are parameters of
    submitit's executor (slurm_partition and the like), or arguments of `ray.init`. SIGINT and
    SIGTERM let running jobs save their state. Raises ConfigError where an executor is not there, or
    does not know an option.
    """
    if executor == "local" and options:
        raise ConfigError(
            f"`--executor-option {min(options)}` is of slurm or ray: the local executor has none. "
            "Name the --executor too."
        )
    place, run = ExperimentDir(folder.absolute()), _EXECUTORS[executor]
    with place.lock(), stop_signals() as stop:
        plan = place.read_plan()
        wanted = list(plan.jobs if jobs is None else jobs)
        total = sum(plan.dataset(job.dataset).steps for job in wanted)
        failed: dict[str, str] = {}
        with Progress("runs", total, unit="step", quiet=quiet) as progress:
            workers = workers or usual_workers(plan.device)
            watch = Watch(place, plan, wanted, workers, stop, progress)
            for attempt in range(ATTEMPTS):
                left = watch.unfinished()
                if attempt:
                    _begin_anew(watch, failed)
                # Only what fails in the last attempt stands in failed.json: a stop may come before.
                failed = run(watch, left, options or {}) if left and not stop.requested else {}
        left = watch.unfinished()
        failed = {job.name: failed[job.name] for job in left if job.name in failed}
        _record(place, plan, failed)
        return Outcome(len(wanted) - len(left), failed, stop.requested and bool(left))


def _begin_anew(watch: Watch, failed: Mapping[str, str]) -> None:
    """Remove what jobs left that failed, so that it cannot make them fail again."""
    for job in watch.unfinished():
        if job.name in failed and not watch.stop.requested:
            watch.progress.note(f"{job.name} failed and is run once more: {failed[job.name]}")
            shutil.rmtree(watch.place.run(job), ignore_errors=True)


def _record(place: ExperimentDir, plan: Plan, failed: Mapping[str, str]) -> None:
    """Write timings.json, and failed.json where there is something to tell, old news included."""
    done = [job for job in plan.jobs if place.scores(job).is_file()]
    files = {job.name: place.run(job) / "timing.json" for job in done}
    seconds = {name: read_json(file) for name, file in files.items() if file.is_file()}
    write_json(place.timings, {"jobs": seconds})
    before = read_json(place.failed) if place.failed.is_file() else {}
    told = {**before, **failed}
    told = {name: words for name, words in told.items() if name not in files}
    if told:
        write_json(place.failed, told)
    else:
        place.failed.unlink(missing_ok=True)


def _run_on_slurm(watch: Watch, jobs: Sequence[Job], options: Mapping[str, Any]) -> dict[str, str]:
    """Run jobs as one array of SLURM jobs, which need to see the folder; return those that failed.

    With the option `cluster` "local", submitit starts processes here instead.
    """
    try:
        import submitit  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(
            f"The slurm executor needs submitit: {how_to_install('cluster')}."
        ) from None
    limit = 5 + math.ceil(4 * watch.plan.seconds_per_job / 60)  # minutes: a slower node has time
    usual = {"name": "seedbed", "timeout_min": limit, "cpus_per_task": 1}
    given = {**usual, "slurm_array_parallelism": watch.workers, "cluster": "slurm", **options}
    try:
        executor = submitit.AutoExecutor(watch.place.path / "slurm", given.pop("cluster"))
        executor.update_parameters(**given)
    except (RuntimeError, NameError, TypeError, ValueError, AssertionError) as error:
        raise _cannot_start("slurm", options, error) from None
    tasks = executor.map_array(run_job, [watch.place.path] * len(jobs), jobs)
    while not all(task.done() for task in tasks):
        if watch.stop.requested:
            for task in tasks:
                task.cancel()
            return {}
        watch.show()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    watch.show()
    errors = {job.name: task.exception() for job, task in zip(jobs, tasks, strict=True)}
    return {name: _error_in(str(error)) for name, error in errors.items() if error}


def _run_on_ray(watch: Watch, jobs: Sequence[Job], options: Mapping[str, Any]) -> dict[str, str]:
    """Run jobs as tasks of Ray, on its cluster where there is one; return those that failed.

    A cluster of several machines needs to see the folder at the same path.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(f"The ray executor needs ray: {how_to_install('ray')}.") from None
    given = {"include_dashboard": False, "log_to_driver": False, **options}
    if "RAY_ADDRESS" not in os.environ and "address" not in given:
        given = {"num_cpus": watch.workers, **given}  # of a cluster that is started here
    try:
        ray.init(**given)
    except (RuntimeError, ConnectionError, TypeError, ValueError) as error:
        raise _cannot_start("ray", options, error) from None
    try:
        return _wait_for_ray(ray, watch, jobs)
    finally:
        ray.shutdown()


def _cannot_start(executor: str, options: Mapping[str, Any], error: Exception) -> ConfigError:
    given = f" with the options {', '.join(options)}" if options else ""
    return ConfigError(f"The {executor} executor cannot start{given}: {error}")


def _wait_for_ray(ray: Any, watch: Watch, jobs: Sequence[Job]) -> dict[str, str]:
    gpus = 1 if watch.plan.device.startswith("cuda") else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(run_job)
    running = {task.remote(watch.place.path, job): job for job in jobs}
    failed: dict[str, str] = {}
    asked_to_stop = False
    while running:
        if watch.stop.requested and not asked_to_stop:
            asked_to_stop = True
            for reference in running:
                ray.cancel(reference)
        done, _ = ray.wait(list(running), timeout=SECONDS_BETWEEN_LOOKS)
        for reference in done:
            job = running.pop(reference)
            try:
                ray.get(reference)
            except Exception as error:  # whatever it was: the others go on
                if not asked_to_stop:
                    failed[job.name] = _error_in(str(error))
        watch.show()
    return failed


def _error_in(text: str) -> str:
    r"""Return the line of a report of a failure that names the error, which may not be its last.

    >>> _error_in("It failed with trace:\n  in f\nValueError: too small\nSee the log.")
    'ValueError: too small'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return [*lines, *errors][-1] if lines else "it said nothing"


_EXECUTORS: dict[str, Run] = {"local": run_locally, "slurm": _run_on_slurm, "ray": _run_on_ray}
