"""The command line, called in this process; and a small dataset and model for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_shapes import random_model
from seedbed.checkpoints import save_checkpoint
from seedbed.cli.main import run
from seedbed.tokenizers.simple import ByteTokenizer


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def seedbed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that runs a command and gives its exit code and what it wrote."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared dataset of 60 stories in bytes."""
    out = tmp_path_factory.mktemp("cli") / "stories"
    assert run(["prepare", "sample:stories:60", "--out", str(out), "--tokenizer", "byte"]) == 0
    return out


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a random byte model."""
    tokenizer, folder = ByteTokenizer(), tmp_path_factory.mktemp("cli") / "model"
    weights = random_model(vocab_size=tokenizer.vocab_size, context_length=64)
    save_checkpoint(folder, weights, tokenizer, facts={})
    return folder
