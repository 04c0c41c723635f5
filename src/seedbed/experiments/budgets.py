"""Model, seeds and budget of an experiment: as given, or what there is time for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from seedbed.config import Settings
from seedbed.experiments.config import MINUTES, Budget, ExperimentConfig
from seedbed.machine import this_machine
from seedbed.model.config import ModelConfig, ModelSettings
from seedbed.training import defaults
from seedbed.training.config import OptimizerSettings

# Width and layers that are chosen from where no shape is given. With the smallest, three seeds of
# 700 KB each resolve 0.09 bits per byte on stories: benchmarks/results/validate-cpu.md.
SHAPES = ((64, 2), (96, 3), (128, 4), (192, 5))
SEEDS = 3, 8  # chosen: at least, at most
SECONDS_PER_RUN = 40.0  # where there is time for more seeds
SHARE_OF_MINUTES = 0.85  # what the runs are planned to take; reading and the report take the rest
SCORING = 1 / 3  # what scoring a token takes of learning from it: backward is twice forward
EVALUATIONS = 6  # of a run, for its curve
EVALUATED_TOKENS = 8192


@dataclass(frozen=True)
class Rate:
    """What one core does."""

    tokens_per_second: float  # of training
    starting: float  # seconds, before the first step


Measure = Callable[[ModelConfig], Rate]


@dataclass(frozen=True)
class Need:
    """What decides on a budget: sizes of the texts, and what is to be run on them."""

    vocab_size: int
    datasets: int
    bytes_per_token: float  # the mean of the datasets
    eval_bytes: int  # of all evaluation sets together
    smallest_bytes: int  # of training text: of the smallest dataset
    workers: int


@dataclass(frozen=True)
class Size:
    """What was decided: the same for all datasets."""

    shape: ModelConfig
    seeds: int
    budget: Budget
    seconds_per_job: float

    def tokens(self, bytes_per_token: float, part_tokens: float) -> float:
        """Return how many tokens a run sees of a dataset."""
        amount = self.budget.amount
        return {
            "bytes": amount / bytes_per_token,
            "tokens": amount,
            "flops": amount / self.shape.training_flops_per_token,
            "epochs": amount * part_tokens,
        }[self.budget.unit]

    def bytes(self, bytes_per_token: float) -> float | None:
        """Return how much text of a dataset a run needs; None: epochs of what there is."""
        if self.budget.unit == "epochs":
            return None
        return self.tokens(bytes_per_token, 0) * bytes_per_token


def choose_size(config: ExperimentConfig, need: Need, measure: Measure) -> Size:
    """Return model, seeds and budget. `measure` is asked only where minutes decide.

    With minutes, each dataset gets three runs or more at the planned rates, more where a run would
    take more than 40 s; then the largest of SHAPES that sees 1.8 tokens a parameter.
    """
    shapes = _shapes(config.model, need.vocab_size)
    if config.budget is None:
        return _size_for_minutes(config, need, shapes, measure)
    budget = Budget.parse(config.budget)
    seeds = config.seeds or SEEDS[0]
    part = need.smallest_bytes / seeds / need.bytes_per_token

    def size_of(shape: ModelConfig) -> Size:
        size = Size(shape, seeds, budget, 0.0)
        tokens = size.tokens(need.bytes_per_token, part)
        return replace(size, seconds_per_job=_seconds(tokens, need, _nominal(shape)))

    sizes = [size_of(shape) for shape in shapes]
    fitting = [
        size for size in sizes if _is_fed(size.shape, size.tokens(need.bytes_per_token, part))
    ]
    return (fitting or sizes[:1])[-1]


def _shapes(settings: ModelSettings, vocab_size: int) -> list[ModelConfig]:
    """Return the shapes to choose from, the smallest first; the one that is given, where one is."""
    if settings.size or settings.d_model or settings.num_layers:
        return [settings.resolve(vocab_size)]
    return [
        settings.model_copy(update={"d_model": width, "num_layers": layers}).resolve(vocab_size)
        for width, layers in SHAPES
    ]


def _is_fed(shape: ModelConfig, tokens: float) -> bool:
    return tokens >= defaults.TOKENS_PER_PARAMETER * shape.parameters.total


def _size_for_minutes(
    config: ExperimentConfig, need: Need, shapes: list[ModelConfig], measure: Measure
) -> Size:
    seconds = SHARE_OF_MINUTES * 60 * (config.minutes or MINUTES)
    least, most = SEEDS
    runs = round(seconds * need.workers / need.datasets / SECONDS_PER_RUN)  # of each dataset
    more = len(config.rates) * config.rate_seeds
    seeds = config.seeds or min(most, max(least, runs - more))
    per_run = seconds / waves_of(config, seeds, need.workers)
    chosen: Size | None = None
    for shape in shapes:
        rate = measure(shape)
        tokens = (per_run - _seconds(0, need, rate)) * rate.tokens_per_second
        if chosen and not _is_fed(shape, tokens):
            break
        least_tokens = 20 * defaults.LEAST_BATCH  # minutes that leave no time give this
        amount = _two_digits(max(tokens, least_tokens) * need.bytes_per_token)
        chosen = Size(shape, seeds, Budget(amount, "bytes"), max(per_run, _seconds(0, need, rate)))
    assert chosen
    return chosen


def waves_of(config: ExperimentConfig, seeds: int, workers: int) -> int:
    """Return how many jobs the busiest worker has, one after another.

    In a race all wait for the last run of each seed.
    """
    datasets, others = len(config.datasets), config.rate_runs(seeds)
    if config.race:
        return seeds * math.ceil(datasets / workers) + math.ceil(datasets * others / workers)
    return math.ceil(datasets * (seeds + others) / workers)


def _seconds(tokens: float, need: Need, rate: Rate) -> float:
    """Return what a job takes that learns from so many tokens."""
    scored = need.eval_bytes / need.bytes_per_token + EVALUATIONS * EVALUATED_TOKENS
    return rate.starting + (tokens + SCORING * scored) / rate.tokens_per_second


def _nominal(shape: ModelConfig) -> Rate:
    """Return what one core may do, without measuring."""
    machine = replace(this_machine(), cores=1)
    flops = shape.training_flops_per_token
    rate = defaults.nominal_rate(machine, torch.device("cpu"), flops)
    return Rate(rate, defaults.START_SECONDS)


def _two_digits(amount: float) -> float:
    """Return an amount that is easy to say, a little less.

    >>> _two_digits(1_289_000.0)
    1200000.0
    """
    unit = 10 ** (math.floor(math.log10(amount)) - 1)
    return float(math.floor(amount / unit) * unit)


def batch_size_for(config: ExperimentConfig, shape: ModelConfig, tokens: float) -> int:
    """Return how many sequences a step has."""
    wanted = defaults.batch_tokens_for(tokens, shape.parameters.total, shape.d_model)
    return config.batch_size or max(1, wanted // shape.context_length)


def optimizer_for(config: ExperimentConfig, shape: ModelConfig, steps: int) -> OptimizerSettings:
    """Return the optimizer's settings, the same for each dataset however small it is."""
    return defaults.optimizer_for(
        config.optimizer,
        shape.parameters.total,
        vocab_size=shape.vocab_size,
        epochs=1.0,
        steps_per_epoch=steps,
    )


def at_rate(optimizer: OptimizerSettings, rate: float) -> OptimizerSettings:
    """Return the settings with `rate` times the learning rates."""
    rates = ("learning_rate", "matrix_learning_rate")
    scaled = {k: rate * getattr(optimizer, k) for k in rates if getattr(optimizer, k) is not None}
    return optimizer.model_copy(update=scaled)


def resolved_settings(
    config: ExperimentConfig, size: Size, chosen: Mapping[str, object]
) -> Settings:
    """Return the config with all that was chosen: another experiment of it plans the same."""
    amount = f"{size.budget.amount:.12g} {size.budget.unit}"
    model = ModelSettings(
        preset=config.model.preset, **size.shape.model_dump(exclude={"vocab_size"})
    )
    return config.model_copy(
        update={"budget": amount, "minutes": None, "seeds": size.seeds, "model": model, **chosen}
    )
