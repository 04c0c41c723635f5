"""A running stand-in for the Hub, and a run to send there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_stand_in import TOKEN, StandIn, running_hub
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.training.config import TrainConfig
from seedbed.training.pretrain import train


@pytest.fixture
def hub() -> Iterator[StandIn]:
    """Return a running stand-in, with nothing in it yet."""
    with running_hub() as told:
        yield told


@pytest.fixture
def at_hub(hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """Let this process talk to the stand-in instead of the Hub, with a token that it knows."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small finished run; its dataset lies beside it."""
    home = tmp_path_factory.mktemp("export")
    data, out = home / "stories", home / "run"
    prepare(PrepareConfig(sources=("sample:stories:60",), out=data, tokenizer="byte", workers=1))
    config = {
        "data": data,
        "out": out,
        "horizon": "3 steps",
        "model": {"size": "30k", "context_length": 32},
        "batch_size": 2,
        "precision": "fp32",
    }
    train(TrainConfig.model_validate(config), quiet=True)
    return out
