"""The scores of an experiment as numbers: bits per byte by dataset, seed and evaluation set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from seedbed.evaluation.bits_per_byte import DocumentScores
from seedbed.experiments.jobs import JobScores
from seedbed.statistics import bootstrap_ratios

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DRAWS = 2000  # of the documents


@dataclass(frozen=True)
class ScoreTable:
    """The scores of all datasets on some evaluation sets, at one learning rate."""

    datasets: list[str]
    evals: list[str]
    runs: list[Floats]  # of each dataset: bits per byte, (seeds, evals)
    bits: list[Floats]  # of each evaluation set: mean over seeds, (datasets, documents)
    bytes: list[Floats]  # of each evaluation set: (documents,)

    @classmethod
    def of(
        cls,
        scores: Mapping[str, Sequence[JobScores]],
        evals: Sequence[str],
        kept: Mapping[str, Flags] | None = None,
    ) -> Self:
        """Return the table of each dataset's runs; with `kept`, of these documents alone."""
        parts = [[kept_scores(run, evals, kept) for run in runs] for runs in scores.values()]
        return cls(
            datasets=list(scores),
            evals=list(evals),
            runs=[
                np.array([[run[name].bits_per_byte for name in evals] for run in runs])
                for runs in parts
            ],
            bits=[
                np.array([np.mean([run[name].nats for run in runs], axis=0) for runs in parts])
                / math.log(2)
                for name in evals
            ],
            bytes=[parts[0][0][name].bytes.astype(np.float64) for name in evals],
        )

    @property
    def means(self) -> Floats:
        """Mean over seeds: (datasets, evals)."""
        return np.array([runs.mean(axis=0) for runs in self.runs])

    @cached_property
    def document_draws(self) -> Floats:
        """Means on documents that might as well have been: (draws, datasets, evals).

        Each evaluation set is drawn by itself, with the same documents for all datasets.
        """
        drawn = [
            bootstrap_ratios(bits, num_bytes, draws=DRAWS, seed=(20, number))
            for number, (bits, num_bytes) in enumerate(zip(self.bits, self.bytes, strict=True))
        ]
        return np.stack(drawn, axis=2)


def kept_scores(
    run: JobScores, evals: Sequence[str], kept: Mapping[str, Flags] | None = None
) -> dict[str, DocumentScores]:
    """Return what a run scored on evaluation sets, of their kept documents."""
    if kept is None:
        return {name: run.evals[name] for name in evals}
    chosen = {name: (run.evals[name], kept[name]) for name in evals}
    return {
        name: DocumentScores(scores.nats[keep], scores.tokens[keep], scores.bytes[keep])
        for name, (scores, keep) in chosen.items()
    }
