"""What a run would cost, told before it starts: memory, time, disk, and what speaks against it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.distributed import World, join_world
from seedbed.machine import available_memory, this_machine
from seedbed.model.config import ModelConfig
from seedbed.training import defaults
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.costs import checkpoint_bytes, estimate_memory
from seedbed.training.minutes import Costs, plan, seconds_of_measuring
from seedbed.training.resolve import resolve, with_steps
from seedbed.training.trial import Trial, try_out

# Four epochs of a text are worth almost as much as new text; from about 16 on a repetition is
# worth little, and after 40 nothing (Muennighoff et al., 2023, "Scaling data-constrained
# language models", figure 5).
MUCH_REPEATED, REPEATED_IN_VAIN = 4, 16


@dataclass(frozen=True)
class RunCost:
    """What a run would cost. Bytes and seconds; the names are those of the JSON."""

    shape: str
    parameters: int
    parameters_in_embeddings: int
    vocab_size: int
    tokens_never_seen: float  # share of the vocabulary that the training text does not use
    batch_tokens: int
    precision: str
    compiled: bool
    device: str
    memory: float
    memory_parts: dict[str, float]
    memory_available: int  # on the device
    memory_of_trial: float | None  # that the timed steps took
    steps: int
    tokens: int
    epochs: float
    seconds: float  # of the whole run
    seconds_per_step: float
    tokens_per_second: float
    how_timed: str
    disk: float  # of the run folder at most
    checkpoint: float
    disk_free: int
    warnings: list[str]


def estimate_cost(config: TrainConfig, *, timed: bool = True) -> RunCost:
    """Return what a run of these settings would cost on this machine, without starting it.

    `timed`: do some of its steps in another process, for some seconds; otherwise its time follows
    from a nominal rate of the processor, which can be off by a factor of two or three. Raises
    what `train` would for settings or data that it refuses.
    """
    dataset = open_dataset(config.data, verify=False)
    world = join_world(config.device)
    resolved = resolve(config, dataset, world)
    shape = resolved.model.resolve(dataset.tokenizer.vocab_size)
    trial = try_out(resolved) if timed else _nominal_trial(shape, resolved, world)
    return _cost(resolved, shape, dataset, trial, timed)


def _nominal_trial(shape: ModelConfig, config: TrainConfig, world: World) -> Trial:
    rate = defaults.nominal_rate(this_machine(), world.device, config.flops_per_token(shape))
    evaluation = config.evaluation.tokens / (3 * rate)  # forward only: a third of the work
    step = config.tokens_per_step(shape) / rate
    return Trial(5.0, step, evaluation, 0.5, 0.0, 0, whole_steps=False)


def _cost(
    config: TrainConfig,
    shape: ModelConfig,
    dataset: PreparedDataset,
    trial: Trial,
    timed: bool,
) -> RunCost:
    batch_tokens = config.tokens_per_step(shape)
    planned = _planned(config, trial, dataset.train.num_tokens, batch_tokens)
    steps = round(Horizon.parse(planned.horizon).amount)
    memory, counts = estimate_memory(shape, planned), shape.parameters
    checkpoint = checkpoint_bytes(shape, planned)
    cost = RunCost(
        shape=f"{shape.d_model} wide, {shape.num_layers} layers, context {shape.context_length}",
        parameters=counts.total,
        parameters_in_embeddings=counts.total - counts.blocks,
        vocab_size=shape.vocab_size,
        tokens_never_seen=_never_seen(dataset),
        batch_tokens=batch_tokens,
        precision=planned.precision,
        compiled=planned.compile == "on",
        device=planned.device,
        memory=memory.total,
        memory_parts=memory.parts,
        memory_available=_available(planned.device),
        memory_of_trial=trial.memory or None,
        steps=steps,
        tokens=steps * batch_tokens,
        epochs=steps * batch_tokens / dataset.train.num_tokens,
        seconds=_seconds(planned, trial, steps),
        seconds_per_step=trial.step,
        tokens_per_second=batch_tokens / trial.step,
        how_timed=_how_timed(trial, timed),
        disk=checkpoint * (planned.checkpoint.keep + 2),  # the best, and the one being written
        checkpoint=checkpoint,
        disk_free=shutil.disk_usage(_existing(planned.out)).free,
        warnings=[],
    )
    return replace(cost, warnings=_warnings(cost))


def _available(device: str) -> int:
    return torch.cuda.mem_get_info()[0] if device == "cuda" else available_memory()


def _planned(
    config: TrainConfig, trial: Trial, train_tokens: int, batch_tokens: int
) -> TrainConfig:
    """Return the config with its minutes turned into steps, as training will turn them."""
    horizon = Horizon.parse(config.horizon)
    if horizon.unit != "minutes":
        return config
    costs = Costs(trial.step, trial.evaluation, trial.save)
    seconds = horizon.amount * 60
    used = trial.starting + seconds_of_measuring(costs, seconds)
    steps, evaluations = plan(config, costs, seconds=seconds, used=used)
    most = max(1, round(config.max_epochs * train_tokens / batch_tokens))
    return with_steps(config, min(steps, most), evaluations)


def _seconds(config: TrainConfig, trial: Trial, steps: int) -> float:
    """Return what the whole run takes: each evaluation may find the best, which is saved."""
    evaluations = -(-steps // (config.evaluation.every or steps))
    saves = steps // (config.checkpoint.every or steps)
    pauses = evaluations * trial.evaluation + max(saves, evaluations) * trial.save
    return trial.starting + steps * trial.step + pauses


def _how_timed(trial: Trial, timed: bool) -> str:
    if not timed:
        return "from a nominal rate of the device; not measured"
    of = "steps" if trial.whole_steps else "steps with fewer micro-batches, scaled"
    return f"median of {trial.timed_steps} {of}, in a process of their own, just now"


def _never_seen(dataset: PreparedDataset) -> float:
    """Return the share of the vocabulary that does not occur in the training split."""
    seen = np.zeros(dataset.tokenizer.vocab_size, bool)
    tokens = dataset.train.tokens
    for start in range(0, tokens.size, 1 << 22):
        seen[tokens[start : start + (1 << 22)]] = True
    return float(1 - seen.mean())


def _existing(path: Path) -> Path:
    """Return the nearest folder at or above `path` that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _warnings(cost: RunCost) -> list[str]:
    found: list[str] = []
    if cost.memory > cost.memory_available:
        found.append(
            f"It needs {cost.memory / 1e9:.1f} GB of memory and {cost.memory_available / 1e9:.1f} "
            "GB are free. Ask for a smaller micro_batch_size, model.context_length or --size."
        )
    if cost.disk > cost.disk_free:
        found.append(
            f"Its checkpoints take up to {cost.disk / 1e9:.1f} GB and the disk has "
            f"{cost.disk_free / 1e9:.1f} GB free. Free some, or ask for checkpoint.keep=1."
        )
    if cost.epochs > MUCH_REPEATED:
        little = f", after {REPEATED_IN_VAIN} little" if cost.epochs > REPEATED_IN_VAIN else ""
        found.append(
            f"It goes over the text {cost.epochs:.1f} times; after about {MUCH_REPEATED} each time "
            f"gains less{little}. Take more text, fewer steps, or model.dropout=0.1 and "
            "evaluation.patience=3."
        )
    if cost.parameters_in_embeddings > cost.parameters / 2:
        found.append(_vocabulary_warning(cost))
    if cost.steps < 100:
        found.append(
            f"It has {cost.steps} steps: few models learn anything in fewer than a hundred. Ask "
            "for a smaller batch_size, a smaller --size, or longer."
        )
    return found


def _vocabulary_warning(cost: RunCost) -> str:
    share = cost.parameters_in_embeddings / cost.parameters
    unused = f", and {cost.tokens_never_seen:.0%} of it never occurs in the text"
    return (
        f"The vocabulary of {cost.vocab_size:,} takes {share:.0%} of the parameters"
        f"{unused if cost.tokens_never_seen > 0.1 else ''}. Prepare the text with a smaller "
        "--vocab-size, or ask for a larger --size."
    )
