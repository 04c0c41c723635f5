"""From minutes to steps: measure what a run does, and plan how much of it there is time for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from seedbed.checkpoints import save_checkpoint
from seedbed.config import to_yaml
from seedbed.files import PARTIAL, write_text
from seedbed.progress import Progress
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.job import Job, Pace, TrainState
from seedbed.training.loop import SHARE_OF_MINUTES, halve_micro_batch, take_step
from seedbed.training.resolve import EVALUATIONS, with_steps
from seedbed.training.step import NoMemoryError
from seedbed.training.stopping import Stop

SHARE_OF_PAUSES = 0.05  # what evaluations and their saves may take, unless their interval is given
SHARE_OF_SAVES = 0.01  # what saves between them may take: after each, the steps follow the time
SHARE_OF_MEASURING = 0.02  # what steps are timed for, once one has warmed up
MOST_OF_MEASURING = 0.1  # what all of them may take: then fewer have to do
TIMED_STEPS = 3, 30  # at least, at most
TIMED_SECONDS = 10.0  # enough for any run
TIMED_SHARE = 1 / 8  # of an evaluation and of its samples
SPAN = 1000  # steps that the schedule has while measuring


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take."""

    step: float
    evaluation: float  # with its samples
    save: float


def fix_steps(job: Job, started: float, stop: Stop, progress: Progress) -> None:
    """Turn `minutes` since `started` into steps, and write them down before step 1.

    Should they take longer than measured, or less, `keep_to_minutes` makes them fewer or more.

    Asked to stop, it leaves the minutes for the next time.
    """
    horizon = Horizon.parse(job.config.horizon)
    if horizon.unit != "minutes":
        return
    seconds, began = horizon.amount * 60, time.perf_counter()
    costs = measure(job, stop, progress, seconds)
    if job.world.any(stop.requested):
        return
    used = time.perf_counter() - started
    planned, evaluations = plan(job.config, costs, seconds=seconds, used=used)
    per_step = job.config.tokens_per_step(job.model.config)
    most = max(1, round(job.config.max_epochs * job.train_tokens / per_step))
    job.steps = job.world.from_main(min(planned, most))
    evaluations = job.world.from_main(evaluations)
    saves = job.world.from_main(saves_between(costs, seconds, evaluations))
    job.pace = Pace(
        deadline=started + seconds,
        pause=costs.evaluation + costs.save,
        evaluations=None if job.config.evaluation.every else evaluations,
        most_steps=most,
    )
    job.config = with_steps(job.config, job.steps, evaluations, saves)
    if job.world.on_main:
        write_text(job.run.config, to_yaml(job.config))
    progress.note(_measured(costs, time.perf_counter() - began))
    if job.steps < TIMED_STEPS[1] and job.steps < most:
        progress.note(_too_short(seconds, used, job.steps))


def _measured(costs: Costs, seconds: float) -> str:
    return (
        f"measured in {seconds:.1f} s: {costs.step:.3g} s a step, {costs.evaluation:.2g} s an "
        f"evaluation, {costs.save:.2g} s a save"
    )


def _too_short(seconds: float, used: float, steps: int) -> str:
    """Return what to tell who gives so little time that hardly anything can be learned in it."""
    return (
        f"{seconds / 60:g} minutes leave time for {steps} step{'s' if steps > 1 else ''}: starting "
        f"and measuring took {used:.1f} of the {seconds:.0f} seconds. Give more minutes, or a "
        "smaller --size."
    )


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
    if config.checkpoint.every is None:
        left -= saves_between(costs, seconds, evaluations) * costs.save
    else:
        per_step += costs.save / config.checkpoint.every
    return max(1, int(left / per_step)), evaluations


def saves_between(costs: Costs, seconds: float, evaluations: int) -> int:
    """Return how many saves without an evaluation a run of so many seconds has."""
    affordable = int(SHARE_OF_SAVES * seconds / max(costs.save, 1e-9))
    return max(0, min(EVALUATIONS - evaluations, affordable))


def measure(job: Job, stop: Stop, progress: Progress, seconds: float) -> Costs:
    """Return what a step, an evaluation and a save take; the job's state is as before.

    Takes a small share of the `seconds` that the run has.
    """
    job.steps = SPAN
    job.initialise()
    steps: list[float] = []
    while job.world.from_main(not (stop.requested or are_enough(steps, seconds))):
        start = time.perf_counter()
        try:
            take_step(job)
        except NoMemoryError:
            halve_micro_batch(job, progress)
            steps.clear()
            continue
        steps.append(time.perf_counter() - start)
    evaluation = save = 0.0
    if not job.world.any(stop.requested):
        evaluation = seconds_of_an_evaluation(job)
        save = seconds_of_a_save(job) if job.world.on_main else 0.0
    job.initialise()
    job.optimizer.load_state({})
    job.state.take(TrainState())
    job.data_seconds = 0.0
    return Costs(median(steps[1:] or [0.0]), evaluation, save)


def are_enough(steps: Sequence[float], seconds: float) -> bool:
    """Return whether steps were timed for long enough to plan a run of so many seconds.

    The first one warms up: what it takes is not planned with, however long it was.
    """
    least, most = TIMED_STEPS
    if len(steps) <= least:
        return len(steps) > 1 and sum(steps) >= MOST_OF_MEASURING * seconds
    enough = min(SHARE_OF_MEASURING * seconds, TIMED_SECONDS)
    return len(steps) > most or sum(steps[1:]) >= enough


def seconds_of_measuring(costs: Costs, seconds: float) -> float:
    """Return what `measure` takes of a run of so many seconds, from what it will find."""
    least, most = TIMED_STEPS
    wanted = min(SHARE_OF_MEASURING * seconds, TIMED_SECONDS) / max(costs.step, 1e-9)
    timed = min(max(wanted, least), most)
    return (1 + timed) * costs.step + TIMED_SHARE * costs.evaluation + costs.save


def seconds_of_an_evaluation(job: Job) -> float:
    """Return what an evaluation and its samples take, found by doing a part of them."""
    start = time.perf_counter()
    job.evaluate(TIMED_SHARE)
    job.sample(TIMED_SHARE)
    return (time.perf_counter() - start) / TIMED_SHARE


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
