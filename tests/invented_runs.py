"""Scores written into an experiment's folder as if its jobs had run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from seedbed.experiments.plan import ExperimentDir, Job, Plan


def write_scores(
    folder: Path, plan: Plan, loss: Callable[[Job, str], float], *, sd: float = 0.01
) -> None:
    """Write scores of all jobs: the `loss` of each document's text, and the luck of each run."""
    place = ExperimentDir(folder)
    for job in plan.jobs:
        luck = sd * float(np.random.default_rng(job.seed).standard_normal())
        arrays: dict[str, np.ndarray] = {}
        for evaluation in plan.evals:
            texts = [document.text for document in place.read_eval(evaluation.name)]
            sizes = np.array([len(text.encode()) for text in texts])
            bits = np.array([loss(job, text) + luck for text in texts]) * sizes
            arrays[f"{evaluation.name}.nats"] = bits * math.log(2)
            arrays[f"{evaluation.name}.tokens"] = sizes
            arrays[f"{evaluation.name}.bytes"] = sizes
        place.scores(job).parent.mkdir(exist_ok=True)
        with place.scores(job).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
