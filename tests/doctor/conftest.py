"""Small datasets and a function that trains small runs on them, each of a second or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbed.config import build
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.doctor.diagnosis import Diagnosis, diagnose
from seedbed.training import pretrain
from seedbed.training.config import TrainConfig
from seedbed.training.loop import DivergedError

BASE: dict[str, Any] = {
    "horizon": "120 steps",
    "model": {"d_model": 48, "num_layers": 2, "num_heads": 2, "context_length": 64},
    "batch_size": 8,
    "micro_batch_size": 8,
    "device": "cpu",
    "precision": "fp32",
    "compile": "off",
    "evaluation": {"tokens": 2000},
    "samples": {"tokens": 40},
}
Train = Callable[..., Path]
Prepare = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Return a function that prepares a dataset: 300 stories in bytes, unless told otherwise."""
    folder = tmp_path_factory.mktemp("data")

    def make(name: str = "stories", **changes: Any) -> Path:
        if not (folder / name).exists():
            settings = {"sources": ("sample:stories:300",), "tokenizer": "byte", **changes}
            prepare(PrepareConfig(out=folder / name, **settings))
        return folder / name

    return make


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, prepared: Prepare) -> Train:
    """Return a function that trains a small run, to its end or until it gives up."""
    folder = tmp_path_factory.mktemp("runs")

    def make(name: str, **changes: Any) -> Path:
        run = folder / name
        if not run.exists():
            fixed = {"data": prepared(), "out": run}
            with pytest.MonkeyPatch.context() as patched, suppress(DivergedError):
                patched.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
                pretrain.train(build(TrainConfig, BASE, fixed, changes), quiet=True)
        return run

    return make


@pytest.fixture(scope="module")
def healthy(train: Train) -> Path:
    """Return a run that nothing is wrong with; copy it before you spoil it."""
    return train("healthy")


def names(diagnosis: Diagnosis) -> list[str]:
    return [finding.name for finding in diagnosis.findings]


@pytest.fixture(scope="session")
def found() -> Callable[[Path], list[str]]:
    """Return a function that gives the names of what is wrong with a run, the cause first."""
    return lambda run: names(diagnose(run))
