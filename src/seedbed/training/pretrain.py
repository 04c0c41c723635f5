"""Pre-training on a prepared dataset: from a TrainConfig to a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, Literal

import numpy as np
import torch

from seedbed.checkpoints import CheckpointFolder, find_checkpoint, load_weights
from seedbed.config import build, read_yaml
from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World, join_world
from seedbed.evaluation.bits_per_byte import DocumentScores, score_documents
from seedbed.generation.engine import generate
from seedbed.machine import keep_freed_memory, measure_matmul_flops
from seedbed.model.config import ModelConfig
from seedbed.model.transformer import Transformer, init_weights
from seedbed.progress import Progress
from seedbed.runs import RunDir, Tracker, open_trackers
from seedbed.tokenizers.base import SpecialTokens, Tokenizer, bytes_before_text
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.costs import estimate_memory
from seedbed.training.job import Job, RunResult
from seedbed.training.loop import link, restore, run_training
from seedbed.training.minutes import fix_steps
from seedbed.training.optimizers import Optimizer
from seedbed.training.precision import set_up_precision
from seedbed.training.resolve import rows_of_a_process
from seedbed.training.resume import finished_before, resume_or_begin
from seedbed.training.step import make_loss
from seedbed.training.stopping import stop_signals


def train(
    config: TrainConfig,
    *,
    resume: Literal["auto", "never"] = "auto",
    quiet: bool = False,
    started: float | None = None,
) -> RunResult:
    """Train as `config` says, going on where an earlier call of the same stopped.

    Minutes count from `started` (time.perf_counter), or from now.

    Raises ConfigError when the run there was asked for differently, CheckpointError when another
    process holds it, DataError when the dataset is not whole or too small.
    """
    started = time.perf_counter() if started is None else started
    run = RunDir(config.out)
    world = join_world(config.device)
    dataset = open_dataset(config.data)
    lock = run.lock() if world.on_main else nullcontext()
    with lock, run.full_disk_explained(), stop_signals() as stop:
        if world.on_main:
            resume_or_begin(run, config, dataset, world, resume)
        world.barrier()
        resolved = build(TrainConfig, read_yaml(run.config))
        finished = finished_before(run, resolved)
        if finished is not None:
            return finished
        job = set_up(run, resolved, dataset, world)
        quiet = quiet or not world.on_main
        with Progress("training", None, unit="step", quiet=quiet) as progress:
            try:
                _announce(job, progress)
                fix_steps(job, started, stop, progress)
                _announce_steps(job, progress)
                _go_back(job, progress)
                return run_training(job, stop, progress)
            except BaseException as error:
                if world.on_main:
                    with suppress(OSError):  # a full disk: `error` matters more
                        run.write_status("failed", step=job.state.step, error=str(error))
                raise
            finally:
                for tracker in job.trackers:
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


def set_up(run: RunDir, config: TrainConfig, dataset: PreparedDataset, world: World) -> Job:
    """Return the job of a resolved config; its weights are not yet filled."""
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
    return Job(
        run=run,
        config=config,
        steps=round(horizon.amount) if horizon.unit == "steps" else 0,
        world=world,
        model=model,
        tokenizer=dataset.tokenizer,
        train_tokens=dataset.train.num_tokens,
        optimizer=Optimizer(model, config.optimizer),
        loss_sum=loss_sum,
        micro_batches=_batch_function(config, shape, dataset.train, world),
        evaluate=evaluate_function(config, model, dataset),
        sample=_sample_function(config, model, dataset) if world.on_main else lambda _=1.0: [],
        trackers=_trackers(run, config, world),
        peak_flops=measure_matmul_flops(world.device, model.compute_dtype),
        initialise=initialise,
    )


def _trackers(run: RunDir, config: TrainConfig, world: World) -> list[Tracker]:
    if not world.on_main:
        return []
    return open_trackers(run, config.trackers, config.model_dump(mode="json"))


def _batch_function(
    config: TrainConfig, shape: ModelConfig, tokens: TokenShards, world: World
) -> Callable[[int], list[Batch]]:
    assert config.batch_size is not None
    assert config.micro_batch_size is not None
    window = config.window_in(shape)
    sampler = WindowSampler(tokens.tokens, window, config.seed, config.sampling)
    batch_size = config.batch_size
    rows = rows_of_a_process(batch_size, world)  # the run may have begun with more or fewer
    micro = math.gcd(config.micro_batch_size, rows)

    def micro_batches(step: int) -> list[Batch]:
        first = step * batch_size + world.rank * rows
        return [sampler.batch(first + i, micro) for i in range(0, rows, micro)]

    return micro_batches


def fixed_part(shards: TokenShards, tokens: int, special: SpecialTokens) -> list[np.ndarray]:
    """Return documents spread evenly over a split, without the special tokens around them.

    They have `tokens` at most in all: where one would go beyond, it is cut, and is the last.
    """
    sizes = np.diff(shards.offsets)
    share = max(1, len(sizes) * min(tokens, int(sizes.sum())) // max(1, int(sizes.sum())))
    part: list[np.ndarray] = []
    left = tokens
    for i in np.unique(np.linspace(0, len(sizes) - 1, share).astype(int)):
        if left > 0:
            part.append(np.asarray(special.inside(shards.document(int(i)))[:left]))
            left -= len(part[-1])
    return part


def evaluate_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[..., dict[str, DocumentScores]]:
    """Return the function that scores a model, as it then is, on the splits that are watched.

    It takes the share of the watched text that shall be scored, by default all of it.
    """
    special = dataset.tokenizer.special
    splits = {"val": dataset.val}
    if config.evaluation.train_split:
        splits["train"] = dataset.train
    watched = {n: fixed_part(s, config.evaluation.tokens, special) for n, s in splits.items()}
    lengths = token_lengths(dataset.tokenizer)
    before = bytes_before_text(dataset.tokenizer)

    def evaluate(share: float = 1.0) -> dict[str, DocumentScores]:
        scores: dict[str, DocumentScores] = {}
        for name, part in watched.items():
            if share < 1:
                tokens = math.ceil(share * sum(map(len, part)))
                part = fixed_part(splits[name], tokens, special)
            scores[name] = score_documents(
                model,
                part,
                [int(lengths[document].sum()) - before for document in part],
                bos=special.bos,
                dtype=model.compute_dtype,
                window=config.window,
            )
        return scores

    return evaluate


def token_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Return how many bytes each token stands for: (vocab_size,)."""
    return np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])


def _sample_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[..., list[dict[str, Any]]]:
    """Return the function that writes samples; it takes the share of their length, as above."""
    tokenizer = dataset.tokenizer
    prompts = config.samples.prompts
    if prompts is None:
        firsts = [
            tokenizer.special.inside(dataset.val.document(i))[:6]
            for i in range(min(2, dataset.val.num_documents))
        ]
        prompts = tuple(tokenizer.decode(ids.tolist()) for ids in firsts)

    def sample(share: float = 1.0) -> list[dict[str, Any]]:
        tokens = math.ceil(share * config.samples.tokens)
        if tokens == 0 or not prompts:
            return []
        model.eval()
        made = generate(model, tokenizer, prompts, max_new_tokens=tokens, seed=1)
        model.train()
        return [{"prompt": g.prompt, "text": g.text, "finished": g.finished} for g in made]

    return sample


def _announce(job: Job, progress: Progress) -> None:
    config = job.config
    shape = job.model.config
    progress.note(f"model: {shape.parameters}; {shape.d_model} wide, {shape.num_layers} layers")
    progress.note(f"{config.flops_per_token(shape) / 1e6:,.1f} MFLOP to train on a token")
    progress.note(f"memory: {estimate_memory(shape, config)}")
    progress.note(f"data: {job.train_tokens:,} tokens from {config.data}")
    compiled = ", compiled" if config.compile == "on" else ""
    progress.note(f"computing in {config.precision} on {job.world.device}{compiled}")


def _announce_steps(job: Job, progress: Progress) -> None:
    if Horizon.parse(job.config.horizon).unit == "minutes":  # stopped before they became steps
        return
    tokens = job.steps * job.config.tokens_per_step(job.model.config)
    epochs = tokens / job.train_tokens
    progress.note(f"{job.steps:,} steps, {tokens:,} tokens, {epochs:.2f} epochs")
