"""A small dataset, runs of a fraction of a second on it, and ways to disturb them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seedbed.config import build
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.model.transformer import Transformer
from seedbed.training import pretrain, text_task
from seedbed.training.config import TrainConfig
from seedbed.training.job import RunResult
from seedbed.training.step import LossSum, make_loss

SMALL = {
    "horizon": "12 steps",
    "model": {"d_model": 32, "num_layers": 2, "num_heads": 2, "context_length": 32, "dropout": 0.1},
    "batch_size": 4,
    "micro_batch_size": 2,
    "device": "cpu",
    "precision": "fp32",
    "evaluation": {"every": 6, "tokens": 500},
    "checkpoint": {"every": 3},
    "samples": {"tokens": 4},
    "log_every": 1,
}
MICRO_BATCHES = 2  # of a step


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use one thread, and do not measure the machine, which takes longer than a small run."""
    monkeypatch.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared dataset of 200 stories in bytes."""
    out = tmp_path_factory.mktemp("stories") / "data"
    prepare(PrepareConfig(sources=("sample:stories:200",), out=out, tokenizer="byte"))
    return out


@pytest.fixture
def settings(dataset: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that gives the settings of a small run in tmp_path / out."""

    def make(out: str = "run", **changes: Any) -> TrainConfig:
        return build(TrainConfig, SMALL, {"data": dataset, "out": tmp_path / out}, changes)

    return make


@pytest.fixture
def trained(settings: Callable[..., TrainConfig]) -> Callable[..., RunResult]:
    """Return a function that trains a small run, or goes on with it."""

    def make(out: str = "run", *, quiet: bool = True, **changes: Any) -> RunResult:
        return pretrain.train(settings(out, **changes), quiet=quiet)

    return make


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object]], None]:
    """Return a function that makes the loss of some steps infinite.

    What it takes is called at each step with the number of steps begun before it, in all runs.
    """

    def install(is_spoiled: Callable[[int], object]) -> None:
        numbers = count()

        def make(model: Transformer) -> LossSum:
            whole = make_loss(model)

            def loss_sum(inputs: Tensor, targets: Tensor) -> Tensor:
                step, micro_batch = divmod(next(numbers), MICRO_BATCHES)
                spoiled = micro_batch == 0 and is_spoiled(step)
                return whole(inputs, targets) * (math.inf if spoiled else 1.0)

            return loss_sum

        monkeypatch.setattr(text_task, "make_loss", make)

    return install


def content_of(run: Path) -> dict[str, bytes]:
    """Return the final weights and optimizer state of a run."""
    latest = run / "checkpoints" / "latest"
    names = ("model.safetensors", "training/optimizer.safetensors")
    return {name: (latest / name).read_bytes() for name in names}


@pytest.fixture
def final() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that gives the final weights and optimizer state of a run."""
    return content_of


@pytest.fixture(scope="session")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the final weights and optimizer state of an uninterrupted small run."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    pretrain.train(build(TrainConfig, SMALL, {"data": dataset, "out": out}), quiet=True)
    return content_of(out)


@pytest.fixture
def command_line(settings: Callable[..., TrainConfig]) -> Callable[..., list[str]]:
    """Return a function that gives the words of the command of a small run."""

    def make(out: str = "run", **changes: Any) -> list[str]:
        config = settings(out, **changes).model_dump(mode="json", exclude_defaults=True)
        words = [f"{path}={value}" for path, value in _flat(config)]
        return ["train", *words]

    return make


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@pytest.fixture
def start(command_line: Callable[..., list[str]]) -> Iterator[Callable[..., subprocess.Popen]]:
    """Return a function that starts the real command; none of them outlives the test."""
    processes: list[subprocess.Popen] = []

    def make(out: str = "run", **changes: Any) -> subprocess.Popen:
        command = [sys.executable, "-c", "from seedbed.cli.main import main; main()"]
        words = [*command, *command_line(out, **changes)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        processes.append(process)
        return process

    yield make
    for process in processes:
        process.kill()
        process.communicate()
