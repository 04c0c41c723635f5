"""From minutes to steps: measure what a run does, and plan how much of it there is time for."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from statistics import median

from seedbed.checkpoints import save_checkpoint
from seedbed.config import to_yaml
from seedbed.files import PARTIAL, write_text
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.loop import Job, TrainState, take_step
from seedbed.training.resolve import EVALUATIONS, with_steps
from seedbed.training.stopping import Stop

SHARE_OF_MINUTES = 0.95  # what is planned for, so that `minutes` is a ceiling
SHARE_OF_PAUSES = 0.1  # what evaluations and saves may take, where their interval is not given
SPAN = 1000  # steps that the schedule has while measuring


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take."""

    step: float
    evaluation: float  # with its samples
    save: float


def fix_steps(job: Job, started: float, stop: Stop) -> None:
    """Turn `minutes` since `started` into steps, and write them down before step 1.

    Asked to stop, it leaves the minutes for the next time.
    """
    horizon = Horizon.parse(job.config.horizon)
    if horizon.unit != "minutes":
        return
    costs = measure(job, stop)
    if job.world.any(stop.requested):
        return
    seconds, used = horizon.amount * 60, time.perf_counter() - started
    planned = plan(job.config, costs, seconds=seconds, used=used)
    per_step = job.config.tokens_per_step(job.model.config)
    most = max(1, round(job.config.max_epochs * job.train_tokens / per_step))
    job.steps = job.world.from_main(min(planned[0], most))
    job.config = with_steps(job.config, job.steps, job.world.from_main(planned[1]))
    if job.world.on_main:
        write_text(job.run.config, to_yaml(job.config))


def plan(config: TrainConfig, costs: Costs, *, seconds: float, used: float) -> tuple[int, int]:
    """Return how many steps and evaluations a run of `seconds` has, `used` of them gone.

    Each evaluation may find the best loss so far, and a save comes with it.
    """
    pause = costs.evaluation + costs.save
    evaluations = max(1, min(EVALUATIONS, int(SHARE_OF_PAUSES * seconds / pause)))
    left = seconds * SHARE_OF_MINUTES - used - pause  # the last step has a pause, as it may be
    per_step = costs.step
    if config.evaluation.every is None:
        left -= (evaluations - 1) * pause
    else:
        per_step += pause / config.evaluation.every
    if config.checkpoint.every is not None:
        per_step += costs.save / config.checkpoint.every
    return max(1, int(left / per_step)), evaluations


def measure(job: Job, stop: Stop) -> Costs:
    """Return what a step, an evaluation and a save take; the job's state is as before."""
    job.steps = SPAN
    job.initialise()
    seconds: list[float] = []
    while job.world.from_main(not (stop.requested or _are_enough(seconds))):
        start = time.perf_counter()
        take_step(job)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    evaluation = save = 0.0
    if not job.world.any(stop.requested):
        job.evaluate()
        job.sample()
        evaluation = time.perf_counter() - start
        save = seconds_of_a_save(job) if job.world.on_main else 0.0
    job.initialise()
    job.optimizer.load_state({})
    job.state.take(TrainState())
    job.data_seconds = 0.0
    return Costs(median(seconds[2:] or [0.0]), evaluation, save)


def _are_enough(seconds: list[float]) -> bool:
    """Return whether steps were timed for long enough; the first two are warming up."""
    return len(seconds) >= 30 or (len(seconds) >= 5 and sum(seconds[2:]) >= 10)


def seconds_of_a_save(job: Job) -> float:
    """Return what saving a checkpoint takes; it is gone again."""
    aside = job.run.checkpoints / f"step-measured{PARTIAL}"  # goes at the next save, come a kill
    start = time.perf_counter()
    try:
        save_checkpoint(
            aside,
            job.model,
            job.tokenizer,
            facts={},
            optimizer=job.optimizer.state(),
            state=asdict(job.state),
        )
        return time.perf_counter() - start
    finally:
        shutil.rmtree(aside, ignore_errors=True)
