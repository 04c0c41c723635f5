"""Training on a prepared dataset, of documents or of conversations: from a TrainConfig to a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Literal

import torch

from seedbed.checkpoints import CheckpointFolder, find_checkpoint, load_weights
from seedbed.config import build, read_yaml
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.distributed import World, join_world
from seedbed.errors import CheckpointError, ConfigError
from seedbed.files import check_seal, read_manifest
from seedbed.machine import keep_freed_memory, measure_matmul_flops, memory_within_reach
from seedbed.model.transformer import Transformer, init_weights
from seedbed.progress import Progress
from seedbed.runs import RunDir, Tracker, open_trackers
from seedbed.training.chat_task import about_conversations, chat_task
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.costs import MemoryEstimate, estimate_memory
from seedbed.training.job import Job, RunResult
from seedbed.training.loop import link, restore, run_training
from seedbed.training.lora import add_lora, init_adapter
from seedbed.training.minutes import fix_steps
from seedbed.training.optimizers import Optimizer
from seedbed.training.precision import set_up_precision
from seedbed.training.resolve import row_width, tokens_per_epoch
from seedbed.training.resume import finished_before, resume_or_begin
from seedbed.training.stopping import Stop, stop_signals
from seedbed.training.text_task import text_task


def train(
    config: TrainConfig,
    *,
    resume: Literal["auto", "never"] = "auto",
    quiet: bool = False,
    started: float | None = None,
    make_start: Callable[[RunDir], None] | None = None,
) -> RunResult:
    """Train as `config` says, going on where an earlier call of the same stopped.

    Minutes count from `started` (time.perf_counter), or from now. `make_start` writes what
    fine-tuning keeps in the run before it begins: see `finetune`.

    Raises ConfigError when the run there was asked for differently, CheckpointError when another
    process holds it, DataError when the dataset is not whole or too small.
    """
    started = time.perf_counter() if started is None else started
    run = RunDir(config.out)
    world = join_world(config.device)
    if config.finetune and make_start is None:
        raise ConfigError("These are settings of a fine-tuning: ask `seedbed finetune` for it.")
    dataset = None if make_start else _open_text(config.data)
    lock = run.lock() if world.on_main else nullcontext()
    progress = Progress("training", None, unit="step", quiet=quiet or not world.on_main)
    with lock, run.full_disk_explained():
        if make_start and world.on_main:  # may take long, and has nothing to save
            make_start(run)
        world.barrier()
        with stop_signals(progress.note) as stop:
            dataset = dataset or open_dataset(config.data)
            if world.on_main:
                resume_or_begin(run, config, dataset, world, resume)
            world.barrier()
            resolved = build(TrainConfig, read_yaml(run.config))
            if config.finetune:  # the run may have been moved
                moved = {"data": config.data, "from_checkpoint": config.from_checkpoint}
                resolved = resolved.model_copy(update=moved)
            finished = finished_before(run, resolved)
            if finished is not None:
                return finished
            job = set_up(run, resolved, dataset, world)
            with progress:
                return _train(job, dataset, started, stop, progress)


def _open_text(data: Path) -> PreparedDataset:
    dataset = open_dataset(data)
    if dataset.manifest.get("conversations"):
        raise ConfigError(
            f"{data} holds the conversations of a fine-tuning, not text. Ask `seedbed finetune` "
            "for more of it, with the files that they came from."
        )
    return dataset


def _train(
    job: Job, dataset: PreparedDataset, started: float, stop: Stop, progress: Progress
) -> RunResult:
    """Return how the training of a job that is set up ended, and tell status.json if it failed."""
    try:
        _announce(job, dataset, progress)
        fix_steps(job, started, stop, progress)
        _announce_steps(job, progress)
        _go_back(job, progress)
        return run_training(job, stop, progress)
    except BaseException as error:
        if job.world.on_main:
            with suppress(OSError):  # a full disk: `error` matters more
                _write_failure(job, error)
        raise
    finally:
        for tracker in job.trackers:
            tracker.close()


def _write_failure(job: Job, error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt):
        told = "interrupted, without saving: the steps since the last checkpoint are lost"
    else:
        told = str(error) or type(error).__name__
    job.run.write_status("failed", step=job.state.step, error=told)


def _go_back(job: Job, progress: Progress) -> None:
    """Take the job to its newest checkpoint, if it has one, and the run folder with it."""
    folder = CheckpointFolder(job.run.checkpoints)
    at = restore(job, folder, progress)
    if job.world.on_main:
        if at:
            link(folder, job.state, job.config.checkpoint.keep)
        job.run.truncate_logs(at)
    if at:
        progress.note(f"resuming at step {at:,}")
    progress.total = job.steps


def set_up(run: RunDir, config: TrainConfig, dataset: PreparedDataset, world: World) -> Job:
    """Return the job of a resolved config; its weights are not yet filled."""
    keep_freed_memory()
    shape = config.model.resolve(dataset.tokenizer.vocab_size)
    model = Transformer(shape).to(world.device)
    model.compute_dtype = set_up_precision(config.precision)

    lora = config.finetune.lora if config.finetune else None
    if lora is not None:
        add_lora(model, lora, config.seed, vocabulary=_new_rows(config))

    def initialise() -> None:
        if config.from_checkpoint is not None:
            origin = find_checkpoint(config.from_checkpoint)
            check_seal(origin, error=CheckpointError)
            load_weights(model, origin)
        else:
            init_weights(model, config.seed)
        if lora is not None:
            init_adapter(model, config.seed)

    model.train()
    make_task = chat_task if config.finetune else text_task
    task = make_task(config, model, dataset, world)
    loss_sum = task.loss_sum
    if config.compile == "on":
        loss_sum = torch.compile(loss_sum, dynamic=False)
    horizon = Horizon.parse(config.horizon)
    return Job(
        run=run,
        config=config,
        steps=round(horizon.amount) if horizon.unit == "steps" else 0,
        world=world,
        model=model,
        tokenizer=dataset.tokenizer,
        train_tokens=tokens_per_epoch(config, dataset, config.window_in(shape)),
        optimizer=Optimizer(model, config.optimizer),
        loss_sum=loss_sum,
        micro_batches=task.micro_batches,
        evaluate=task.evaluate,
        sample=task.sample if world.on_main else lambda _=1.0: [],
        trackers=_trackers(run, config, world),
        peak_flops=measure_matmul_flops(world.device, model.compute_dtype),
        initialise=initialise,
    )


def _trackers(run: RunDir, config: TrainConfig, world: World) -> list[Tracker]:
    if not world.on_main:
        return []
    return open_trackers(run, config.trackers, config.model_dump(mode="json"))


def _announce(job: Job, dataset: PreparedDataset, progress: Progress) -> None:
    config = job.config
    shape = job.model.config
    progress.note(f"model: {shape.parameters}; {shape.d_model} wide, {shape.num_layers} layers")
    progress.note(f"{config.flops_per_token(shape) / 1e6:,.1f} MFLOP to train on a token")
    memory = _memory(job, dataset)
    progress.note(f"memory: {memory}")
    there = memory_within_reach(job.world.device)
    if memory.total > there:
        progress.note(
            f"there is memory for {there / 1e9:.2f} GB only. Ask for a smaller micro_batch_size, "
            "model.context_length or --size if it runs out"
        )
    progress.note(f"data: {job.train_tokens:,} tokens from {config.data}")
    if config.finetune:
        for line in about_conversations(config):
            progress.note(line)
    compiled = ", compiled" if config.compile == "on" else ""
    progress.note(f"computing in {config.precision} on {job.world.device}{compiled}")


def _memory(job: Job, dataset: PreparedDataset) -> MemoryEstimate:
    config, shape = job.config, job.model.config
    new_rows = config.finetune is not None and _new_rows(config)
    width = row_width(config, dataset, shape)
    return estimate_memory(shape, config, row=width, new_rows=new_rows)


def _new_rows(config: TrainConfig) -> bool:
    """Return whether fine-tuning began by giving the vocabulary new tokens."""
    assert config.from_checkpoint is not None
    return read_manifest(config.from_checkpoint)["new_rows"] > 0


def _announce_steps(job: Job, progress: Progress) -> None:
    if Horizon.parse(job.config.horizon).unit == "minutes":  # stopped before they became steps
        return
    tokens = job.steps * job.config.tokens_per_step(job.model.config)
    epochs = tokens / job.train_tokens
    progress.note(f"{job.steps:,} steps, {tokens:,} tokens, {epochs:.2f} epochs")
