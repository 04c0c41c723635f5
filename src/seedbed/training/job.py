"""What a training needs, what it remembers, and how it ended.

A `Job` says what to train on and when, with functions for batches, evaluation and samples;
`TrainState` is all that must be remembered to go on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from seedbed.data.batches import Batch
from seedbed.distributed import World
from seedbed.model.transformer import Transformer
from seedbed.runs import RunDir, Tracker
from seedbed.tokenizers.base import Tokenizer
from seedbed.training.config import TrainConfig
from seedbed.training.optimizers import Optimizer
from seedbed.training.precision import LossScale
from seedbed.training.step import LossSum


@dataclass
class TrainState:
    """What the loop remembers; saved with every checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of training, evaluation and saving included
    best_step: int | None = None
    best_loss: float = math.inf
    best_bits_per_byte: float = math.inf
    evaluations_since_best: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    rollbacks: int = 0
    learning_rate_scale: float = 1.0  # halved by each rollback
    loss_scale: LossScale = field(default_factory=LossScale)

    @classmethod
    def restore(cls, saved: dict[str, Any]) -> TrainState:
        """Return the state that `asdict` made `saved` of."""
        return cls(**{**saved, "loss_scale": LossScale(**saved["loss_scale"])})

    def take(self, other: TrainState) -> None:
        """Become what `other` is, for all who hold this state."""
        vars(self).update(vars(other))


class Scores(Protocol):
    """What an evaluation found."""

    @property
    def loss(self) -> float:
        """What a new best is less of: nats per target."""
        ...

    @property
    def bits_per_byte(self) -> float:
        """Of the text that is predicted."""
        ...

    @property
    def details(self) -> dict[str, float]:
        """Further figures for metrics.jsonl, by their names there."""
        ...


@dataclass(frozen=True)
class Task:
    """What is learned: the functions in which fine-tuning differs from pre-training.

    Given a number below 1, the last two do that share of their work.
    """

    loss_sum: LossSum
    micro_batches: Callable[[int], list[Batch]]  # step -> this rank's part
    evaluate: Callable[..., Mapping[str, Scores]]  # "val", and "train" on request
    sample: Callable[..., list[dict[str, Any]]]


@dataclass(frozen=True)
class Pace:
    """What a run that was asked for in minutes, just now, has to keep to."""

    deadline: float  # of perf_counter
    pause: float  # seconds of an evaluation, its samples and the save that comes with it
    evaluations: int | None  # in the whole run; None: their interval was given
    most_steps: int  # that `max_epochs` allow


@dataclass
class Job:
    """Everything one training needs; `config` is resolved, so its intervals are numbers."""

    run: RunDir
    config: TrainConfig
    steps: int
    world: World
    model: Transformer
    tokenizer: Tokenizer
    train_tokens: int  # in an epoch
    optimizer: Optimizer
    loss_sum: LossSum  # this and the next three: as of a Task
    micro_batches: Callable[[int], list[Batch]]
    evaluate: Callable[..., Mapping[str, Scores]]
    sample: Callable[..., list[dict[str, Any]]]
    trackers: list[Tracker]
    peak_flops: float  # measured, of this rank's device
    state: TrainState = field(default_factory=TrainState)
    initialise: Callable[[], None] = lambda: None  # weights as they were before step 1
    pace: Pace | None = None  # where the steps were made of minutes, by this process
    data_seconds: float = 0.0  # that steps since the last record waited for their batches

    def batches(self) -> list[Batch]:
        """Return this rank's part of the next step, in pieces of `micro_batch_size` sequences.

        They are smaller than what `micro_batches` gives once memory has run out.
        """
        assert self.config.micro_batch_size is not None
        whole = self.micro_batches(self.state.step)
        return [piece for batch in whole for piece in batch.pieces(self.config.micro_batch_size)]


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    run: Path
    state: Literal["finished", "stopped", "already finished"]
    step: int
    val_loss: float | None
    val_bits_per_byte: float | None
    best_step: int | None
