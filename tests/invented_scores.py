"""Plans and scores of experiments that never ran, with a truth that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from seedbed.evaluation.bits_per_byte import DocumentScores
from seedbed.experiments.jobs import JobScores
from seedbed.experiments.plan import DatasetFacts, EvalSet, Job, Plan, TaskSet
from seedbed.model.config import ModelSettings
from seedbed.training.config import OptimizerSettings, ScheduleSettings

DOCUMENTS = 50
Truth = Callable[[str, str], float]  # dataset and evaluation set to bits per byte


def plan_of(
    names: Sequence[str],
    *,
    seeds: int = 3,
    rates: Sequence[float] = (),
    texts: Sequence[str] = (),
    own: bool = True,
    tasks: Mapping[str, float] | None = None,
    mixtures: Mapping[str, dict[str, float]] | None = None,
    **changes: Any,
) -> Plan:
    """Return a plan for datasets with their held-out parts (where `own`) and further texts."""
    mixtures = mixtures or {}
    origins = {n: n for n in names if own and n not in mixtures} | dict.fromkeys(texts)
    jobs = [
        Job(dataset=name, replicate=s, rate=rate, seed=100 + s, part=str(s))
        for s in range(seeds)
        for rate in (1.0, *(rates if s == 0 else ()))
        for name in names
    ]
    shape = ModelSettings(d_model=32, num_layers=1, num_heads=2).resolve(256)
    facts = {
        "version": "0",
        "datasets": [_facts(name, mixtures.get(name, {})) for name in names],
        "evals": [
            EvalSet(name=n, origin=o, documents=DOCUMENTS, bytes=1, dropped=0)
            for n, o in origins.items()
        ],
        "tasks": [
            TaskSet(name=name, origin=None, items=40, chance=chance)
            for name, chance in (tasks or {}).items()
        ],
        "tokenizer": "byte",
        "tokenizer_bytes": 0,
        "model": shape,
        "parameters": 1,
        "budget": "1 bytes",
        "batch_size": 1,
        "optimizer": OptimizerSettings(),
        "schedule": ScheduleSettings(),
        "precision": "fp32",
        "device": "cpu",
        "seeds": seeds,
        "seed": 0,
        "rates": list(rates),
        "jobs": jobs,
        "shared_documents": False,
        "alpha": 0.05,
        "margin": 0.01,
        "seed_sd": 0.01,
        "minimum_detectable_difference": None,
        "seconds_per_job": 1.0,
        "workers": 1,
        "minutes_expected": 1.0,
        "warnings": [],
    }
    return Plan(**{**facts, **changes})


def _facts(name: str, mixture: dict[str, float]) -> DatasetFacts:
    return DatasetFacts(
        name=name,
        sources=() if mixture else (f"{name}.txt",),
        mixture=mixture,
        found_documents=1000,
        found_bytes=1_000_000,
        training_bytes=900_000,
        drops={},
        documents=900,
        bytes=900_000,
        tokens=300_000,
        bytes_per_token=3.0,
        parts=3,
        parts_are_disjoint=True,
        steps=10,
        tokens_per_run=1000,
        bytes_per_run=3000,
        flops_per_run=1e6,
        epochs=0.5,
    )


def scores_of(
    plan: Plan,
    truth: Truth,
    *,
    seed: int = 0,
    seed_sd: float = 0.01,
    document_sd: float = 0.02,
    at_rate: Callable[[str, float], float] = lambda _dataset, _rate: 0.0,
) -> dict[str, JobScores]:
    """Return scores: the truth, a run's luck on all texts, and what a document is to a dataset.

    Documents differ in length and difficulty, the same for all runs.
    """
    texts = np.random.default_rng((seed, 1))
    sizes = {e.name: texts.integers(500, 1500, e.documents) for e in plan.evals}
    hardness = {e.name: texts.normal(0, 0.3, e.documents) for e in plan.evals}
    taste = {
        (d.name, e.name): texts.normal(0, document_sd, e.documents)
        for d in plan.datasets
        for e in plan.evals
    }
    luck = np.random.default_rng((seed, 2))
    scores: dict[str, JobScores] = {}
    for job in plan.jobs:
        shift = seed_sd * luck.standard_normal() + at_rate(job.dataset, job.rate)
        evals = {
            name: _document_scores(
                truth(job.dataset, name) + shift + hardness[name] + taste[job.dataset, name], size
            )
            for name, size in sizes.items()
        }
        tasks = {t.name: (luck.random(t.items) < 0.5).astype(float) for t in plan.tasks}
        scores[job.name] = JobScores(evals, tasks)
    return scores


def _document_scores(bits_per_byte: np.ndarray, sizes: np.ndarray) -> DocumentScores:
    return DocumentScores(bits_per_byte * sizes * math.log(2), sizes // 3, sizes)
