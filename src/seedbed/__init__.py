"""Grow small language models from text, and tell which text grows the best one.

One function stands behind each command: `prepare`, `train`, `evaluate`, `generate`. They load on
first use, so that importing seedbed is quick.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "PrepareConfig": "seedbed.data.prepare",
    "prepare": "seedbed.data.prepare",
    "open_dataset": "seedbed.data.prepared",
    "TrainConfig": "seedbed.training.config",
    "train": "seedbed.training.pretrain",
    "evaluate": "seedbed.evaluation.evaluate",
    "load_checkpoint": "seedbed.checkpoints",
    "SamplingSettings": "seedbed.generation.sampling",
    "generate": "seedbed.generation.engine",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'seedbed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
