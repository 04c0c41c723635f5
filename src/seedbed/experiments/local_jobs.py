"""Jobs in processes of this machine: one thread each, as many at once as there are workers.

A process holds a pipe from this one, and ends when that does, however this one ends.
"""

# pyright: strict

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import seedbed
from seedbed.experiments.plan import Job
from seedbed.experiments.watch import Watch
from seedbed.training.stopping import STOPPED

JOB_MODULE = "seedbed.experiments.jobs"
_SECONDS_BETWEEN_LOOKS = 0.05


@dataclass
class _Running:
    """A job and its process."""

    job: Job
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """Return why it failed, as far as it said."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        words = lines[-1].strip() if lines else ""
        code = self.process.returncode
        if code == -9:
            words = "it was killed, most likely for want of memory"
        return words or f"it ended with code {code}"


def run_locally(watch: Watch, jobs: Sequence[Job], options: Mapping[str, Any]) -> dict[str, str]:
    """Run jobs until all are done, or a stop is asked for; return those that failed."""
    del options
    waiting, running = deque(jobs), list[_Running]()
    failed: dict[str, str] = {}
    asked_to_stop = False
    try:
        while running or (waiting and not watch.stop.requested):
            while waiting and len(running) < watch.workers and not watch.stop.requested:
                running.append(_start(watch, waiting.popleft()))
            if watch.stop.requested and not asked_to_stop:
                asked_to_stop = True
                for one in running:
                    one.process.terminate()
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                _close(one)
                if one.process.returncode not in (0, STOPPED) and not asked_to_stop:
                    failed[one.job.name] = one.last_words()
            watch.show()
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()
            _close(one)
    return failed


def _start(watch: Watch, job: Job) -> _Running:
    """Start a job's process; what it says goes to a file."""
    log = watch.place.path / "logs" / f"{job.name}.txt"
    log.parent.mkdir(exist_ok=True)
    package_root = str(Path(seedbed.__file__).parents[1])
    search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", JOB_MODULE, str(watch.place.path), job.name],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": search, **one_thread},
            start_new_session=True,  # Ctrl-C is for the parent, which then asks its jobs to stop
        )
    return _Running(job, process, log)


def _close(one: _Running) -> None:
    cast(IO[bytes], one.process.stdin).close()
