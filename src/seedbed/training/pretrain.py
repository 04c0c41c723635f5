"""Pre-training on a prepared dataset: from a TrainConfig to a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
import torch

from seedbed.checkpoints import CheckpointFolder, find_checkpoint, load_weights
from seedbed.config import build, differences, read_yaml, to_yaml
from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World, join_world
from seedbed.errors import ConfigError
from seedbed.evaluation.bits_per_byte import DocumentScores, score_documents
from seedbed.files import read_json, write_json, write_text
from seedbed.generation.engine import generate
from seedbed.machine import keep_freed_memory, measure_matmul_flops
from seedbed.model.config import ModelConfig
from seedbed.model.transformer import Transformer, init_weights
from seedbed.progress import Progress
from seedbed.runs import RunDir, Tracker, open_trackers
from seedbed.tokenizers.base import Tokenizer
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.costs import estimate_memory
from seedbed.training.loop import (
    Job,
    RunResult,
    TrainState,
    link,
    restore,
    run_training,
    take_step,
)
from seedbed.training.optimizers import FlatGradients, Optimizer
from seedbed.training.precision import set_up_precision
from seedbed.training.resolve import EVALUATIONS, resolve, with_steps
from seedbed.training.step import make_loss

MAY_CHANGE = (
    "data",  # a dataset moved elsewhere; its content may not change
    "out",
    "horizon",
    "evaluation",
    "checkpoint",
    "samples",
    "log_every",
    "trackers",
)
SHARE_OF_MINUTES = 0.97  # what is planned for, so that `minutes` is a ceiling


def train(
    config: TrainConfig, *, resume: Literal["auto", "never"] = "auto", quiet: bool = False
) -> RunResult:
    """Train as `config` says, going on where an earlier call of the same stopped.

    Raises ConfigError when the run there was asked for differently, CheckpointError when another
    process holds it, DataError when the dataset is not whole.
    """
    started = time.perf_counter()
    run = RunDir(config.out)
    world = join_world(config.device)
    dataset = open_dataset(config.data)
    with run.lock() if world.on_main else nullcontext(), run.full_disk_explained():
        if world.on_main:
            _resume_or_begin(run, config, dataset, world, resume)
        world.barrier()
        resolved = build(TrainConfig, read_yaml(run.config))
        finished = _finished(run, resolved)
        if finished is not None:
            return finished
        setup = _set_up(run, resolved, dataset, world)
        quiet = quiet or not world.on_main
        with Progress("training", None, unit="step", quiet=quiet) as progress:
            _announce(setup, progress)
            _fix_steps(setup, started, progress)
            _go_back(setup.job, progress)
            try:
                return run_training(setup.job, progress)
            except BaseException as error:
                if world.on_main:
                    with suppress(OSError):  # a full disk: `error` matters more
                        run.write_status("failed", step=setup.job.state.step, error=str(error))
                raise
            finally:
                for tracker in setup.job.trackers:
                    tracker.close()


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


def _resume_or_begin(
    run: RunDir,
    config: TrainConfig,
    dataset: PreparedDataset,
    world: World,
    resume: Literal["auto", "never"],
) -> None:
    """Write what was asked and what it was resolved to, or check that it is what the run has.

    Raises ConfigError when the run was begun with other settings than may change.
    """
    request = {
        "config": config.model_dump(mode="json"),
        "data": dataset.fingerprint,
        "tokenizer": dataset.tokenizer.fingerprint(),
    }
    if not run.request.is_file():
        run.checkpoints.mkdir(exist_ok=True)
        resolved = resolve(config, dataset, world)
        if config.from_checkpoint is not None:  # the best of a run may be another one tomorrow
            origin = find_checkpoint(config.from_checkpoint)
            resolved = resolved.model_copy(update={"from_checkpoint": origin})
        run.write_environment()
        write_text(run.config, to_yaml(resolved))
        write_json(run.request, request)
        return
    if resume == "never":
        raise ConfigError(f"{run.path} holds a run already. Choose another --out, or resume it.")
    changed = differences(read_json(run.request), request)
    refused = [key for key in changed if not set(key.split(".")[1:2]) & set(MAY_CHANGE)]
    if refused:
        raise ConfigError(_what_changed(run, {key: changed[key] for key in refused}))
    if changed:
        if "config.horizon" in changed and Horizon.parse(config.horizon).unit == "minutes":
            raise ConfigError(
                f"{run.path} has begun: say in --steps, --tokens or --epochs how far it shall go."
            )
        resolved = build(TrainConfig, read_yaml(run.config))
        write_text(run.config, to_yaml(_changed(resolved, config, changed, dataset, world)))
        write_json(run.request, request)


def _changed(
    resolved: TrainConfig,
    asked: TrainConfig,
    changed: Iterable[str],
    dataset: PreparedDataset,
    world: World,
) -> TrainConfig:
    """Return a run's config with what may change taken from `asked`, resolved anew."""
    now = asked.model_dump(mode="json", include=set(MAY_CHANGE))
    if "config.horizon" not in changed:
        now["horizon"] = resolved.horizon  # minutes became steps
    kept = resolved.model_dump(mode="json", exclude={*MAY_CHANGE, "from_checkpoint"})
    anew = resolve(build(TrainConfig, kept, now), dataset, world)
    return anew.model_copy(update={"from_checkpoint": resolved.from_checkpoint})


def _what_changed(run: RunDir, changed: dict[str, tuple[Any, Any]]) -> str:
    names = {"data": "the dataset's content", "tokenizer": "the dataset's tokenizer"}
    lines = [
        f"  {names.get(key) or key.removeprefix('config.')}: was {old!r}, is {new!r}"
        for key, (old, new) in changed.items()
    ]
    return (
        f"{run.path} was begun with other settings:\n" + "\n".join(lines) + "\n"
        "Ask for the same again, or choose another --out."
    )


def _finished(run: RunDir, config: TrainConfig) -> RunResult | None:
    """Return how a run ended that is over and whose last checkpoint is whole, else None."""
    status = run.read_status()
    if status.get("state") != "finished":
        return None
    horizon = Horizon.parse(config.horizon)
    if horizon.unit == "steps" and status["steps"] != round(horizon.amount):
        return None
    patience = config.evaluation.patience or math.inf
    if status["step"] < status["steps"] and status["evaluations_since_best"] < patience:
        return None
    folder = CheckpointFolder(run.checkpoints)
    if folder.newest_whole()[0] != folder.at(status["step"]):
        return None
    return RunResult(
        run=run.path,
        state="already finished",
        step=status["step"],
        val_loss=status["val_loss"],
        val_bits_per_byte=status["val_bits_per_byte"],
        best_step=status["best_step"],
    )


@dataclass
class _Setup:
    job: Job
    dataset: PreparedDataset


def _set_up(run: RunDir, config: TrainConfig, dataset: PreparedDataset, world: World) -> _Setup:
    keep_freed_memory()
    shape = config.model.resolve(dataset.tokenizer.vocab_size)
    model = Transformer(shape).to(world.device)
    model.compute_dtype = set_up_precision(config.precision)

    def initialise() -> None:
        if config.from_checkpoint is not None:
            load_weights(model, find_checkpoint(config.from_checkpoint))
        else:
            init_weights(model, config.seed)

    model.train()
    loss_sum = make_loss(model)
    if config.compile == "on":
        loss_sum = torch.compile(loss_sum, dynamic=False)
    horizon = Horizon.parse(config.horizon)
    job = Job(
        run=run,
        config=config,
        steps=round(horizon.amount) if horizon.unit == "steps" else 0,
        world=world,
        model=model,
        tokenizer=dataset.tokenizer,
        optimizer=Optimizer(model, config.optimizer),
        gradients=FlatGradients(model.parameters()),
        loss_sum=loss_sum,
        micro_batches=_batch_function(config, shape, dataset.train, world),
        evaluate=_evaluate_function(config, model, dataset),
        sample=_sample_function(config, model, dataset) if world.on_main else list,
        trackers=_trackers(run, config, world),
        peak_flops=measure_matmul_flops(world.device, model.compute_dtype),
        initialise=initialise,
    )
    return _Setup(job, dataset)


def _trackers(run: RunDir, config: TrainConfig, world: World) -> list[Tracker]:
    if not world.on_main:
        return []
    return open_trackers(run, config.trackers, config.model_dump(mode="json"))


def _batch_function(
    config: TrainConfig, shape: ModelConfig, tokens: TokenShards, world: World
) -> Callable[[int], list[Batch]]:
    assert config.batch_size is not None
    assert config.micro_batch_size is not None
    sampler = WindowSampler(tokens.tokens, shape.context_length, config.seed, config.sampling)
    rows, micro = config.batch_size // world.size, config.micro_batch_size
    batch_size = config.batch_size

    def micro_batches(step: int) -> list[Batch]:
        first = step * batch_size + world.rank * rows
        return [sampler.batch(first + i, micro) for i in range(0, rows, micro)]

    return micro_batches


def fixed_part(shards: TokenShards, tokens: int) -> list[np.ndarray]:
    """Return documents spread evenly over a split, about `tokens` in all, their ends cut off."""
    sizes = np.diff(shards.offsets)
    share = max(1, len(sizes) * min(tokens, int(sizes.sum())) // max(1, int(sizes.sum())))
    chosen = np.linspace(0, len(sizes) - 1, share).astype(int)
    return [np.asarray(shards.document(int(i))[:-1]) for i in np.unique(chosen)]


def _evaluate_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[[], dict[str, DocumentScores]]:
    parts = {"val": fixed_part(dataset.val, config.evaluation.tokens)}
    if config.evaluation.train_split:
        parts["train"] = fixed_part(dataset.train, config.evaluation.tokens)
    lengths = token_lengths(dataset.tokenizer)
    num_bytes = {name: [int(lengths[d].sum()) for d in part] for name, part in parts.items()}

    def evaluate() -> dict[str, DocumentScores]:
        return {
            name: score_documents(
                model,
                part,
                num_bytes[name],
                bos=dataset.tokenizer.special.bos,
                dtype=model.compute_dtype,
            )
            for name, part in parts.items()
        }

    return evaluate


def token_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Return how many bytes each token stands for: (vocab_size,)."""
    return np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])


def _sample_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[[], list[dict[str, Any]]]:
    tokenizer = dataset.tokenizer
    prompts = config.samples.prompts
    if prompts is None:
        firsts = [
            dataset.val.document(i)[:-1][:6] for i in range(min(2, dataset.val.num_documents))
        ]
        prompts = tuple(tokenizer.decode(ids.tolist()) for ids in firsts)

    def sample() -> list[dict[str, Any]]:
        if config.samples.tokens == 0 or not prompts:
            return []
        model.eval()
        made = generate(model, tokenizer, prompts, max_new_tokens=config.samples.tokens, seed=1)
        model.train()
        return [{"prompt": g.prompt, "text": g.text, "finished": g.finished} for g in made]

    return sample


def _announce(setup: _Setup, progress: Progress) -> None:
    job, config = setup.job, setup.job.config
    shape = job.model.config
    tokens = setup.dataset.train.num_tokens
    progress.note(f"model: {shape.parameters}; {shape.d_model} wide, {shape.num_layers} layers")
    progress.note(f"{shape.training_flops_per_token / 1e6:,.1f} MFLOP to train on a token")
    progress.note(f"memory: {estimate_memory(shape, config)}")
    progress.note(f"data: {tokens:,} tokens from {config.data}")
    compiled = ", compiled" if config.compile == "on" else ""
    progress.note(f"computing in {config.precision} on {job.world.device}{compiled}")


def _fix_steps(setup: _Setup, started: float, progress: Progress) -> None:
    """Turn `minutes` into steps by measuring a few, and write them down before step 1."""
    job = setup.job
    horizon = Horizon.parse(job.config.horizon)
    if horizon.unit == "minutes":
        step_seconds, evaluation_seconds = _measure(job)
        used = time.perf_counter() - started
        extra = EVALUATIONS * 1.5 * evaluation_seconds
        left = horizon.amount * 60 * SHARE_OF_MINUTES - used - extra
        assert job.config.batch_size is not None
        tokens = job.config.batch_size * job.model.config.context_length
        most = round(job.config.max_epochs * setup.dataset.train.num_tokens / tokens)
        steps = job.world.from_main(max(1, min(int(left / step_seconds), most)))
        job.config = with_steps(job.config, steps)
        job.steps = steps
        if job.world.on_main:
            write_text(job.run.config, to_yaml(job.config))
    tokens = job.steps * (job.config.batch_size or 1) * job.model.config.context_length
    epochs = tokens / setup.dataset.train.num_tokens
    progress.note(f"{job.steps:,} steps, {tokens:,} tokens, {epochs:.2f} epochs")


def _measure(job: Job) -> tuple[float, float]:
    """Return the seconds of a step and of an evaluation; everything is as before afterwards."""
    job.steps = 1000
    job.initialise()
    seconds = []
    while len(seconds) < 5 or (len(seconds) < 30 and sum(seconds[2:]) < 10):
        start = time.perf_counter()
        take_step(job)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    job.evaluate()
    evaluation_seconds = time.perf_counter() - start
    job.initialise()
    job.optimizer.load_state({})
    vars(job.state).update(vars(TrainState()))
    return median(seconds[2:]), evaluation_seconds
