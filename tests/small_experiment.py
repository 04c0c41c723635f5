"""An experiment of seconds: two texts of made-up stories, and a model of one narrow layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seedbed.config import build
from seedbed.data.samples import sample_stories
from seedbed.experiments.config import ExperimentConfig


def write_stories(path: Path, count: int, *, seed: int, also: list[str] | None = None) -> list[str]:
    """Write different stories, and other texts among them; return the stories."""
    stories = list(dict.fromkeys(sample_stories(2 * count, seed=seed)))[:count]
    texts = [*stories[: count // 2], *(also or []), *stories[count // 2 :]]
    path.write_text("\n<|endoftext|>\n".join(texts), encoding="utf-8")
    return stories


def small_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return settings of an experiment on the texts a and b, which are written to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_stories(folder / "a.txt", 120, seed=1)
    write_stories(folder / "b.txt", 200, seed=2)
    settings: dict[str, Any] = {
        "datasets": {"a": str(folder / "a.txt"), "b": [str(folder / "b.txt")]},
        "budget": "20k bytes",
        "eval_bytes": 3000,
        "seeds": 2,
        "rates": [],
        "tokenizer": "byte",
        "model": {"d_model": 32, "num_layers": 1, "context_length": 64},
        "batch_size": 8,
        "precision": "fp32",
    }
    return {**settings, **changes}


def small_config(folder: Path, **changes: Any) -> ExperimentConfig:
    """Return the config of `small_settings`."""
    return build(ExperimentConfig, small_settings(folder, **changes))
