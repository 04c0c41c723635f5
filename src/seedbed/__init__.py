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
    "describe": "seedbed.data.describe",
    "TrainConfig": "seedbed.training.config",
    "train": "seedbed.training.pretrain",
    "FinetuneSettings": "seedbed.training.config",
    "finetune": "seedbed.training.finetune",
    "compare_tokenizers": "seedbed.evaluation.tokenizer_comparison",
    "evaluate": "seedbed.evaluation.evaluate",
    "evaluate_splits": "seedbed.evaluation.evaluate",
    "evaluate_against": "seedbed.evaluation.evaluate",
    "evaluate_chat": "seedbed.evaluation.chat_report",
    "evaluate_tasks": "seedbed.evaluation.task_report",
    "evaluate_generations": "seedbed.evaluation.generations",
    "ExperimentConfig": "seedbed.experiments.config",
    "compare": "seedbed.experiments.compare",
    "load_checkpoint": "seedbed.checkpoints",
    "SamplingSettings": "seedbed.generation.sampling",
    "generate": "seedbed.generation.engine",
    "push": "seedbed.export.hub",
    "plot_runs": "seedbed.plots.curves",
    "list_runs": "seedbed.training.run_summary",
    "examine_machine": "seedbed.doctor.machine",
    "estimate_cost": "seedbed.doctor.cost",
    "diagnose": "seedbed.doctor.diagnosis",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'seedbed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
