"""What a run costs in memory, against a process that does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.data.prepared import open_dataset
from seedbed.distributed import join_world
from seedbed.errors import ConfigError
from seedbed.training.config import TrainConfig
from seedbed.training.costs import checkpoint_bytes, estimate_memory
from seedbed.training.job import RunResult
from seedbed.training.resolve import resolve
from seedbed.training.trial import try_out

Settings = Callable[..., TrainConfig]


def resolved(config: TrainConfig) -> tuple[Any, TrainConfig]:
    dataset = open_dataset(config.data)
    config = resolve(config, dataset, join_world("cpu"))
    return config.model.resolve(dataset.tokenizer.vocab_size), config


LARGE = {"d_model": 192, "num_layers": 4, "num_heads": 6, "context_length": 256}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": LARGE, "batch_size": 16, "micro_batch_size": 16},
        {"model": {**LARGE, "attention": "plain"}, "batch_size": 8, "micro_batch_size": 8},
    ],
)
def test_memory_is_within_a_fifth_of_what_a_process_takes(
    changes: dict[str, Any], settings: Settings
) -> None:
    shape, config = resolved(settings(**changes))
    trial = try_out(config, seconds=0.01)
    assert estimate_memory(shape, config).total == pytest.approx(trial.memory, rel=0.2)
    assert trial.whole_steps
    assert 0 < trial.step < trial.starting


def test_the_parts_are_the_whole(settings: Settings) -> None:
    shape, config = resolved(settings())
    memory = estimate_memory(shape, config)
    assert sum(memory.parts.values()) == memory.total
    assert memory.weights == 4 * shape.parameters.total
    assert memory.gradients == 4 * shape.parameters.total


def test_a_longer_batch_takes_more_activations_and_no_more_weights(settings: Settings) -> None:
    small, large = (
        estimate_memory(*resolved(settings(batch_size=n, micro_batch_size=n))) for n in (4, 8)
    )
    assert large.activations == pytest.approx(2 * small.activations)
    assert large.weights == small.weights


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_checkpoint_takes_the_disk_that_was_foretold(
    kind: str, settings: Settings, trained: Callable[..., RunResult]
) -> None:
    changes = {"optimizer": {"kind": kind}, "horizon": "2 steps", "model": LARGE}
    result = trained(kind, **changes)
    latest: Path = result.run / "checkpoints" / "latest"
    taken = sum(file.stat().st_size for file in latest.rglob("*") if file.is_file())
    assert checkpoint_bytes(*resolved(settings(**changes))) == pytest.approx(taken, rel=0.2)


@pytest.mark.parametrize("train_split", [False, True])
def test_an_evaluation_takes_no_longer_than_the_splits_are(
    train_split: bool, settings: Settings
) -> None:
    evaluation = {"tokens": 10**9, "train_split": train_split}
    _, config = resolved(settings(evaluation=evaluation))
    assert 0 < try_out(config, seconds=0.01).evaluation < 60  # of 10**9 tokens it would be hours


def test_steps_that_fail_say_why(settings: Settings, tmp_path: Path) -> None:
    _, config = resolved(settings())
    gone = config.model_copy(update={"data": tmp_path / "gone"})
    with pytest.raises(ConfigError, match=r"timed failed: .*gone"):
        try_out(gone)
