"""The training loop, the same for pre-training and fine-tuning.

There are no hooks: the loop reads like the list of what happens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

import torch

from seedbed.checkpoints import (
    CheckpointFolder,
    load_saved_adapter,
    load_training_state,
    load_weights,
    save_checkpoint,
)
from seedbed.config import to_yaml
from seedbed.distributed import World
from seedbed.errors import ConfigError
from seedbed.files import append_json_line, write_text
from seedbed.progress import Progress
from seedbed.runs import timestamp
from seedbed.training.config import Horizon
from seedbed.training.job import Job, Pace, RunResult, Scores, TrainState
from seedbed.training.lora import adapter_state, load_adapter
from seedbed.training.schedules import multiplier
from seedbed.training.step import NoMemoryError, StepMetrics, train_step
from seedbed.training.stopping import Stop

BAD_STEPS_IN_A_ROW = 5  # then back to the last checkpoint, with half the learning rate
ROLLBACKS = 3  # then stop
SHARE_OF_MINUTES = 0.95  # of what is left of them, that is planned for: they are a ceiling
WORTH_MORE_STEPS = 1.05  # times the steps that are left: fewer more are not worth a change


class DivergedError(Exception):
    """Training cannot go on: losses or gradients stay infinite. The message is the diagnosis."""


def run_training(job: Job, stop: Stop, progress: Progress) -> RunResult:
    """Train until the horizon, an early stop, or a request to stop; the last state is saved.

    Raises DivergedError when rolling back did not help.
    """
    state = job.state
    folder = CheckpointFolder(job.run.checkpoints)
    meter = Meter(state)
    stopping = job.world.any(stop.requested)
    while not (stopping or _is_over(job)):
        try:
            metrics = take_step(job)
        except NoMemoryError:
            halve_micro_batch(job, progress)
            continue
        if not metrics.finite and not _step_over(job, folder, progress):
            meter = Meter(state)
            continue
        meter.add(metrics)
        stopping = job.world.any(stop.requested)
        calm = state.skipped_in_a_row == 0  # else nothing is learned, and nothing kept
        scores: Mapping[str, Scores] = {}
        if state.step == job.steps or (calm and _every(job.config.evaluation.every, state.step)):
            scores = job.evaluate()
            _note_evaluation(state, scores["val"], job.world)
            _write_samples(job)
        last = stopping or _is_over(job)
        if scores or last or _every(job.config.log_every, state.step):
            record = meter.record(job, scores)
            _log(job, record, progress)
        is_best = state.best_step == state.step
        if last or is_best or (calm and _every(job.config.checkpoint.every, state.step)):
            save(job, folder)
            if not last and job.pace is not None:
                keep_to_minutes(job, job.pace, progress)
    return _result(job)


def _is_over(job: Job) -> bool:
    patience = job.config.evaluation.patience or math.inf
    return job.state.step >= job.steps or job.state.evaluations_since_best >= patience


def take_step(job: Job) -> StepMetrics:
    """Do the next step of the job and count it.

    Raises NoMemoryError, in all processes, when one runs out of memory; nothing has changed then.
    """
    state, config = job.state, job.config
    step = state.step
    asked_at = time.perf_counter()
    batches = job.batches()
    job.data_seconds += time.perf_counter() - asked_at

    def reseed(micro_batch: int) -> None:
        torch.manual_seed(hash((config.seed, step, job.world.rank, micro_batch)))  # of integers

    half = job.model.compute_dtype == torch.float16
    metrics = train_step(
        batches,
        loss_sum=job.loss_sum,
        optimizer=job.optimizer,
        multiplier=_multiplier(job, step),
        clip_norm=config.optimizer.clip_norm,
        world=job.world,
        loss_scale=state.loss_scale if half else None,
        reseed=reseed,
    )
    state.step += 1
    state.tokens += sum(b.inputs.numel() for b in batches) * job.world.size
    if metrics.finite:
        state.skipped_in_a_row = 0
        if half:
            state.loss_scale.succeeded()
    else:
        state.skipped_steps += 1
        overflow = half and math.isfinite(metrics.loss) and state.loss_scale.overflowed()
        state.skipped_in_a_row += 0 if overflow else 1
    return metrics


def halve_micro_batch(job: Job, progress: Progress) -> None:
    """Let steps compute half as many sequences at a time, or fewer, and write that down.

    What a step learns from stays the same, but for dropout, which follows micro-batches. Raises
    ConfigError when it is one sequence already.
    """
    before = len(job.batches()[0].inputs)
    if before == 1:
        window = job.config.window_in(job.model.config)
        raise ConfigError(
            f"There is no memory for a step, even with one sequence of {window:,} tokens at a time "
            "(`micro_batch_size` 1). Ask for a smaller --size, model.context_length or window."
        ) from None
    fewer = max(n for n in range(1, before // 2 + 1) if before % n == 0)
    job.config = job.config.model_copy(update={"micro_batch_size": fewer})
    if job.world.on_main:
        write_text(job.run.config, to_yaml(job.config))
    progress.note(
        f"no memory for {before} sequences at a time: going on with {fewer}, "
        f"still {job.config.batch_size} in a step"
    )


def keep_to_minutes(job: Job, pace: Pace, progress: Progress) -> None:
    """Fit the steps that are left to the time that is left, and write that down.

    Steps go on as fast as all so far. What comes before a checkpoint was done with another number
    of them in view, so this is for the moment after a save.
    """
    state, every = job.state, job.config.evaluation.every or job.steps
    left = job.steps - state.step
    steps_only = state.seconds - (state.step - 1) // every * pace.pause
    per_step = max(steps_only, state.seconds / 2) / state.step
    seconds = pace.deadline - time.perf_counter() - math.ceil(left / every) * pace.pause
    fitting = max(1, int(SHARE_OF_MINUTES * seconds / per_step))
    fitting = min(fitting, pace.most_steps - state.step)
    fits = left * per_step <= seconds and fitting <= WORTH_MORE_STEPS * left
    steps = job.world.from_main(job.steps if fits else state.step + fitting)
    if steps == job.steps:
        return
    slow = "longer" if steps < job.steps else "less"
    progress.note(f"steps take {slow} than planned: {steps:,} instead of {job.steps:,}")
    if pace.evaluations:
        every = math.ceil(steps / pace.evaluations)
    progress.total = job.steps = steps
    evaluation = job.config.evaluation.model_copy(update={"every": every})
    changes = {"horizon": f"{steps} steps", "evaluation": evaluation}
    job.config = job.config.model_copy(update=changes)
    if job.world.on_main:
        write_text(job.run.config, to_yaml(job.config))


def _step_over(job: Job, folder: CheckpointFolder, progress: Progress) -> bool:
    """Go on after a step that was not finite; return False after rolling back.

    Raises DivergedError when there were too many rollbacks.
    """
    state = job.state
    progress.note(f"step {state.step}: loss or gradient is not finite; the step was skipped")
    if state.skipped_in_a_row < BAD_STEPS_IN_A_ROW:
        return True
    if state.rollbacks >= ROLLBACKS:
        rate = job.config.optimizer.learning_rate
        raise DivergedError(
            f"Training diverged at step {state.step}: {BAD_STEPS_IN_A_ROW} steps in a row were not "
            f"finite, even after {ROLLBACKS} returns to a checkpoint, each with half the learning "
            f"rate. Try a lower optimizer.learning_rate (now {rate:g}), or precision fp32."
        )
    scale, rollbacks = state.learning_rate_scale / 2, state.rollbacks + 1
    skipped = state.skipped_steps
    at = restore(job, folder, progress)
    state.learning_rate_scale, state.rollbacks = scale, rollbacks
    state.skipped_steps, state.skipped_in_a_row = skipped, 0
    if job.world.on_main:
        job.run.truncate_logs(at)  # these steps are done again
    progress.note(f"back to step {at}, with {scale:g} times the learning rate")
    return False


def save(job: Job, folder: CheckpointFolder) -> None:
    """Save a checkpoint of this step, point `latest` and `best`, drop old ones."""
    if job.world.on_main:
        _save(job, folder)
    job.world.barrier()


def _save(job: Job, folder: CheckpointFolder) -> None:
    state = job.state
    job.run.write_status("saving", step=state.step, steps=job.steps)
    save_checkpoint(
        folder.at(state.step),
        job.model,
        job.tokenizer,
        facts={
            "step": state.step,
            "tokens": state.tokens,
            "chat": job.config.finetune is not None,
        },
        optimizer=job.optimizer.state(),
        adapter=adapter_state(job.model),
        state=asdict(state),
    )
    link(folder, state, job.config.checkpoint.keep)
    job.run.write_status("running", step=state.step, steps=job.steps)


def link(folder: CheckpointFolder, state: TrainState, keep: int) -> None:
    """Point `latest` and `best` at what the state says, and drop old checkpoints."""
    folder.point("latest", state.step)
    if state.best_step is not None and folder.at(state.best_step).is_dir():
        folder.point("best", state.best_step)
    folder.prune(state.step, keep, state.best_step)


def restore(job: Job, folder: CheckpointFolder, progress: Progress) -> int:
    """Take the job back to its newest whole checkpoint, or to its beginning; return the step."""
    newest, damaged = folder.newest_whole()
    for problem in damaged:
        progress.note(f"passed over a damaged checkpoint: {problem}")
    if newest is None:
        job.initialise()
        job.optimizer.load_state({})
        saved = TrainState()
    else:
        optimizer, state = load_training_state(newest)
        adapter = load_saved_adapter(newest)
        if adapter:
            job.initialise()
            load_adapter(job.model, adapter)
        else:
            load_weights(job.model, newest)
        device = job.world.device
        job.optimizer.load_state({k: v.to(device) for k, v in optimizer.items()})
        saved = TrainState.restore(state)
    job.state.take(saved)
    return saved.step


class Meter:
    """Losses and rates between two records."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._at = time.perf_counter()
        self._seconds = 0.0  # since the last record
        self._tokens = state.tokens  # at the last record
        self._losses: list[float] = []
        self._grad_norm = math.nan

    def add(self, metrics: StepMetrics) -> None:
        """Take note of a step, and of the time since the last one."""
        now = time.perf_counter()
        self._seconds += now - self._at
        self._state.seconds += now - self._at
        self._at = now
        if math.isfinite(metrics.loss):
            self._losses.append(metrics.loss)
        self._grad_norm = metrics.grad_norm

    def record(self, job: Job, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """Return a line of metrics.jsonl and start anew.

        The loss is the mean of the finite ones since the last line; null where there is none, as
        is all that is not finite: JSON has no word for it.
        """
        state, config, val = self._state, job.config, scores.get("val")
        rate = (state.tokens - self._tokens) / max(self._seconds, 1e-9)
        flops = config.flops_per_token(job.model.config) * rate
        record: dict[str, Any] = {
            "step": state.step,
            "train_loss": _finite(fmean(self._losses or [math.nan])),
            "val_loss": _finite(val.loss) if val else None,
            "val_bits_per_byte": _finite(val.bits_per_byte) if val else None,
            "lr": (config.optimizer.learning_rate or 0.0) * _multiplier(job, state.step - 1),
            "grad_norm": _finite(self._grad_norm),
            "tokens": state.tokens,
            "tokens_per_second": round(rate, 1),
            "mfu": round(flops / (job.peak_flops * job.world.size), 4),
            "data_share": round(job.data_seconds / max(self._seconds, 1e-9), 4),
            "seconds": round(state.seconds, 3),
            "timestamp": timestamp(),
        }
        if val:
            record |= {f"val_{name}": _finite(value) for name, value in val.details.items()}
        if "train" in scores:
            record["train_eval_loss"] = _finite(scores["train"].loss)
        if state.skipped_steps:
            record["skipped_steps"] = state.skipped_steps
        self._losses.clear()
        self._tokens, self._seconds = state.tokens, 0.0
        job.data_seconds = 0.0
        return record


def _every(interval: int | None, step: int) -> bool:
    return interval is not None and step % interval == 0


def _multiplier(job: Job, step: int) -> float:
    scale = multiplier(job.config.schedule, step, job.steps)
    return scale * job.state.learning_rate_scale


def _note_evaluation(state: TrainState, scores: Scores, world: World) -> None:
    """Take note of a validation loss, and whether the main process finds it the best so far."""
    if world.from_main(scores.loss < state.best_loss):
        state.best_step, state.best_loss = state.step, scores.loss
        state.best_bits_per_byte = scores.bits_per_byte
        state.evaluations_since_best = 0
    else:
        state.evaluations_since_best += 1


def _log(job: Job, record: dict[str, Any], progress: Progress) -> None:
    for tracker in job.trackers:
        tracker.log(record)
    if job.world.on_main:
        job.run.write_running(step=job.state.step, steps=job.steps)
    progress.update(job.state.step, **_shown(record))


def _shown(record: dict[str, Any]) -> dict[str, str]:
    """Return what of a record a person watches."""
    shown = {"loss": f"{record['train_loss']:.3f}" if record["train_loss"] else "-"}
    if record["val_loss"] is not None:
        shown["val"] = f"{record['val_loss']:.3f} ({record['val_bits_per_byte']:.3f} bits/byte)"
    return {**shown, "tokens/s": f"{record['tokens_per_second']:,.0f}"}


def _write_samples(job: Job) -> None:
    for sample in job.sample():
        append_json_line(job.run.samples, {"step": job.state.step, **sample})


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _result(job: Job) -> RunResult:
    state = job.state
    result = RunResult(
        run=job.run.path,
        state="finished" if _is_over(job) else "stopped",
        step=state.step,
        val_loss=_finite(state.best_loss),
        val_bits_per_byte=_finite(state.best_bits_per_byte),
        best_step=state.best_step,
    )
    if job.world.on_main:
        measuring = Horizon.parse(job.config.horizon).unit == "minutes"
        job.run.write_status(
            result.state,
            step=state.step,
            steps=None if measuring else job.steps,
            best_step=state.best_step,
            val_loss=result.val_loss,
            val_bits_per_byte=result.val_bits_per_byte,
            skipped_steps=state.skipped_steps,
            evaluations_since_best=state.evaluations_since_best,
            seconds=round(state.seconds, 3),
        )
    return result
