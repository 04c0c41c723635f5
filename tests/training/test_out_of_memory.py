"""A run whose micro-batches do not fit into memory goes on with smaller ones."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model_shapes import random_model
from seedbed.config import read_yaml
from seedbed.data.batches import Batch
from seedbed.distributed import World
from seedbed.errors import ConfigError
from seedbed.files import read_json_lines
from seedbed.model.transformer import Transformer
from seedbed.training import text_task
from seedbed.training.config import OptimizerSettings
from seedbed.training.job import RunResult
from seedbed.training.optimizers import Optimizer
from seedbed.training.step import LossSum, NoMemoryError, make_loss, train_step

Trained = Callable[..., RunResult]
TIMES = {"seconds", "tokens_per_second", "timestamp", "mfu", "data_share"}
RATES = OptimizerSettings(
    learning_rate=0.01,
    matrix_learning_rate=0.02,
    momentum=0.9,
    beta1=0.9,
    beta2=0.95,
    weight_decay=0.1,
)
ON_A_PROCESSOR = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")


class Scarcity:
    """A loss for which there is memory for `rows` sequences at a time, from the second call on."""

    def __init__(self, rows: int, error: RuntimeError) -> None:
        self.rows, self.error = rows, error
        self.calls = self.failures = 0

    def make_loss(self, model: Transformer) -> LossSum:
        whole = make_loss(model)

        def loss_sum(inputs: Tensor, targets: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 1 and len(inputs) > self.rows:
                self.failures += 1
                raise self.error
            return whole(inputs, targets)

        return loss_sum


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scarcity]:
    def install(rows: int, error: RuntimeError | None = None) -> Scarcity:
        scarcity = Scarcity(rows, error or torch.OutOfMemoryError("CUDA out of memory."))
        monkeypatch.setattr(text_task, "make_loss", scarcity.make_loss)
        return scarcity

    return install


def measured(run: Path) -> list[dict[str, Any]]:
    lines = read_json_lines(run / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.mark.parametrize("error", [None, ON_A_PROCESSOR])
def test_what_fits_only_in_halves_trains_like_halves_from_the_start(
    error: RuntimeError | None,
    trained: Trained,
    scarce: Callable[..., Scarcity],
    final: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    trained("small", micro_batch_size=1)
    scarcity = scarce(1, error)  # one micro-batch has left its gradients when there is no more
    assert trained("large", micro_batch_size=2).state == "finished"
    assert scarcity.failures == 1
    assert measured(tmp_path / "large") == measured(tmp_path / "small")
    assert final(tmp_path / "large") == final(tmp_path / "small")


def test_the_micro_batch_halves_until_it_fits_and_the_run_is_told_of_it(
    trained: Trained,
    scarce: Callable[..., Scarcity],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scarcity = scarce(3)
    trained(batch_size=24, micro_batch_size=12, horizon="2 steps", quiet=False)
    assert scarcity.failures == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "no memory" in line]
    assert told[0] == "no memory for 12 sequences at a time: going on with 6, still 24 in a step"
    assert "6 sequences at a time: going on with 3" in told[1]
    assert read_yaml(tmp_path / "run" / "config.yaml")["micro_batch_size"] == 3
    trained(batch_size=24, micro_batch_size=12, horizon="4 steps")  # goes on as it was
    assert scarcity.failures == 2
    assert measured(tmp_path / "run")[-1]["step"] == 4


def test_minutes_are_measured_with_what_fits(
    trained: Trained, scarce: Callable[..., Scarcity], tmp_path: Path
) -> None:
    scarcity = scarce(1)
    assert trained(horizon="1 minutes", max_epochs=0.01).state == "finished"
    assert scarcity.failures == 1
    assert read_yaml(tmp_path / "run" / "config.yaml")["micro_batch_size"] == 1


def test_no_memory_for_a_single_sequence_says_what_to_lower(
    trained: Trained, scarce: Callable[..., Scarcity]
) -> None:
    scarce(0)
    with pytest.raises(ConfigError, match=r"one sequence of 32 tokens .* smaller --size"):
        trained()


def test_another_error_is_not_taken_for_a_want_of_memory(
    trained: Trained, scarce: Callable[..., Scarcity]
) -> None:
    scarce(1, RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        trained()


def test_a_failed_attempt_holds_no_memory_of_its_own() -> None:
    kept: list[weakref.ref[Tensor]] = []

    def loss_sum(inputs: Tensor, targets: Tensor) -> Tensor:
        activations = inputs * 2 + targets
        kept.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    ids = torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(NoMemoryError) as failure:
        train_step(
            [Batch(ids, ids)],
            loss_sum=loss_sum,
            optimizer=Optimizer(random_model(), RATES),
            multiplier=1.0,
            clip_norm=None,
            world=World(),
            loss_scale=None,
            reseed=lambda _: None,
        )
    assert failure.value.__context__ is None
    assert [reference() for reference in kept] == [None]
