"""What a run costs in memory, against a process that does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_shapes import random_model
from seedbed.config import build
from seedbed.data.prepared import open_dataset
from seedbed.distributed import join_world
from seedbed.errors import ConfigError
from seedbed.training import pretrain
from seedbed.training.config import LoraSettings, TrainConfig
from seedbed.training.costs import checkpoint_bytes, estimate_memory, trained_parameters
from seedbed.training.job import RunResult
from seedbed.training.lora import add_lora
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


def finetuning(settings: Settings, out: Path, **finetune: Any) -> TrainConfig:
    asked = {"checkpoint": "base", "sources": ("x",), **finetune}
    config = build(TrainConfig, {"data": "data", "out": out, "finetune": asked})
    filled = {"micro_batch_size": 2, "batch_size": 2, "precision": "fp32", "window": 64}
    return config.model_copy(update=filled)


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
@pytest.mark.parametrize("targets", [None, ("query", "value", "down")])
@pytest.mark.parametrize("new_rows", [False, True])
def test_what_lora_trains_is_counted(
    name: str, targets: tuple[str, ...] | None, new_rows: bool, settings: Settings, tmp_path: Path
) -> None:
    lora = LoraSettings.model_validate({"rank": 3, "targets": targets})
    model = random_model(name)
    add_lora(model, lora, seed=1, vocabulary=new_rows)
    trained = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    blocks = sum(count for n, count in trained.items() if n.startswith("blocks."))
    everything = sum(trained.values())
    assert trained_parameters(model.config, lora, new_rows=new_rows) == (
        blocks,
        everything - blocks,
    )
    config = finetuning(settings, tmp_path, lora=lora)
    memory = estimate_memory(model.config, config, new_rows=new_rows)
    assert memory.gradients == 4 * everything
    assert memory.weights == 4 * sum(p.numel() for p in model.parameters())
    assert memory.optimizer >= 4 * blocks + 8 * (everything - blocks)


def test_what_all_weights_take_is_counted(settings: Settings, tmp_path: Path) -> None:
    model = random_model()
    total = sum(p.numel() for p in model.parameters())
    memory = estimate_memory(model.config, finetuning(settings, tmp_path))
    assert (memory.weights, memory.gradients) == (4 * total, 4 * total)


def test_pairs_take_a_reference_and_their_own_width(settings: Settings, tmp_path: Path) -> None:
    shape = random_model().config
    one = estimate_memory(shape, finetuning(settings, tmp_path))
    pairs = finetuning(settings, tmp_path, method="dpo")
    two = estimate_memory(shape, pairs, row=128)
    assert two.weights == 2 * one.weights
    assert two.gradients == one.gradients
    assert two.activations == pytest.approx(2 * one.activations)


def test_an_evaluation_is_of_windows(settings: Settings) -> None:
    model = {"context_length": 16_384, "d_model": 32, "num_layers": 1}
    shape, config = resolved(settings(model=model, window=256, micro_batch_size=1, batch_size=1))
    short = estimate_memory(shape, config)
    whole = estimate_memory(shape, config.model_copy(update={"window": None}))
    assert short.evaluation + short.activations / 2 == 8 * 8192 * shape.vocab_size
    assert whole.evaluation + whole.activations / 2 >= 8 * 16_384 * shape.vocab_size


def test_a_run_that_needs_more_memory_than_there_is_says_so(
    trained: Callable[..., RunResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained("enough", horizon="1 steps", quiet=False)
    assert "there is memory for" not in capsys.readouterr().err
    monkeypatch.setattr(pretrain, "memory_within_reach", lambda _: 10**8)
    trained("scarce", horizon="1 steps", quiet=False)
    assert "there is memory for 0.10 GB only. Ask for a smaller" in capsys.readouterr().err
