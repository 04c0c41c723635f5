"""On which texts datasets are compared, and the comparison of all of them on these.

A dataset's own held-out part favours it: a model knows the names, the style and the mistakes of
what it was trained on. So where there are no other evaluation texts, a pair is judged on the
held-out parts of the other datasets, and a score leaves out the dataset's own part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from seedbed.experiments.score_table import Flags, Floats, ScoreTable
from seedbed.statistics import (
    BestChances,
    PairTest,
    PairVerdict,
    PooledVariance,
    best_chances,
    difference_errors,
    judge_pairs,
    pair_test,
    pooled_variance,
)

Mode = Literal["texts", "others", "all"]

_EXPLANATIONS: dict[Mode, str] = {
    "texts": "Scores are macro-averages over the evaluation texts: total bits over total bytes of "
    "each. Lower is better.",
    "others": "Each pair is judged on the held-out parts of the other datasets, never on those of "
    "the two. A score is the mean over all parts but the dataset's own. As each dataset leaves out "
    "another part, the parts' difficulty is taken out first: effects of datasets and of parts are "
    "fitted together by least squares, own parts left out. So the difference of two scores need "
    "not be that of the pair, which goes by fewer parts. Lower is better.",
    "all": "Scores are macro-averages over the held-out parts of all datasets, a dataset's own "
    "part included, so what it gains at home is in them. Texts that belong to none of them "
    "(--eval) would be a fairer judge. Lower is better.",
}


@dataclass(frozen=True)
class Lens:
    """The evaluation sets that count."""

    mode: Mode
    evals: list[str]  # that count for any dataset
    own: Mapping[str, set[str]]  # of each dataset: those that do not count for it

    def sets_of(self, *datasets: str) -> list[str]:
        """Return the sets on which these are compared with each other."""
        favoured = set[str]().union(*(self.own.get(name, set()) for name in datasets))
        return [name for name in self.evals if name not in favoured]

    @property
    def explanation(self) -> str:
        """What ranking and verdicts go by."""
        return _EXPLANATIONS[self.mode]


def choose_lens(own: Mapping[str, set[str]], evals: list[str]) -> Lens:
    """Return what to compare datasets on; `own` has the held-out parts that favour each of them.

    The texts that favour none, if there are any. Else the others' parts; or all of them where a
    pair has no other, as of two datasets.

    >>> choose_lens({"a": {"a"}, "b": {"b"}}, ["a", "b"]).mode
    'all'
    """
    texts = [name for name in evals if not any(name in favoured for favoured in own.values())]
    if texts:
        return Lens("texts", texts, {})
    others = Lens("others", evals, own)
    if len(own) > 1 and all(others.sets_of(*pair) for pair in combinations(own, 2)):
        return others
    return Lens("all", evals, {})


@dataclass(frozen=True)
class Comparison:
    """All datasets compared through a lens; arrays are in the order of `datasets`."""

    lens: Lens
    datasets: list[str]
    scores: list[Floats]  # of each dataset: (seeds,)
    pooled: PooledVariance  # of the scores
    document_draws: Floats  # of the scores: (draws, datasets)
    pairs: list[PairVerdict]  # a is the lower one
    document_errors: list[float]  # of each pair's difference
    variances: list[PooledVariance]  # between seeds, on each pair's sets

    @property
    def means(self) -> Floats:
        """Mean over seeds: (datasets,)."""
        return np.array([values.mean() for values in self.scores])

    @property
    def ranking(self) -> list[str]:
        """The datasets, best first."""
        return [self.datasets[place] for place in np.argsort(self.means, kind="stable")]

    def chances(self) -> BestChances:
        """Return what choosing each dataset would mean; NaN where there is one seed of each.

        In the mode `others`, the parts' difficulty is taken as known. Its error is small beside the
        rest: luck that a run has on all texts alike cancels in it.
        """
        if self.pooled.degrees_of_freedom == 0:
            unknown = np.full(len(self.datasets), math.nan)
            return BestChances(unknown, unknown)
        seeds = [len(values) for values in self.scores]
        return best_chances(self.means, seeds, self.pooled, document_draws=self.document_draws)


def compare_through(
    lens: Lens,
    table: ScoreTable,
    *,
    alpha: float,
    margin: float | None = None,
    also: ScoreTable | None = None,
) -> Comparison:
    """Return the comparison of a table's datasets.

    The variance between seeds is pooled over the table's datasets, and over those of `also`.
    """
    draws = table.document_draws
    groups = [*table.runs, *(also.runs if also else [])]
    owners = [*table.datasets, *(also.datasets if also else [])]
    tests: list[PairTest] = []
    errors: list[float] = []
    variances: list[PooledVariance] = []
    for pair in combinations(range(len(table.datasets)), 2):
        columns = _columns(table, lens.sets_of(*(table.datasets[at] for at in pair)))
        drawn = draws[:, list(pair)][:, :, columns].mean(axis=2)
        errors.append(float(difference_errors(drawn)[0, 1]))
        variances.append(pooled_variance([_scores(runs, columns) for runs in groups]))
        tests.append(_test(table, pair, columns, variances[-1], errors[-1]))
    own_columns = [_columns(table, lens.sets_of(name)) for name in owners]
    scores, score_draws = _without_difficulty(table, draws, lens)
    return Comparison(
        lens=lens,
        datasets=table.datasets,
        scores=scores,
        pooled=pooled_variance(
            [_scores(runs, columns) for runs, columns in zip(groups, own_columns, strict=True)]
        ),
        document_draws=score_draws,
        pairs=_verdicts(tests, margin=margin, alpha=alpha),
        document_errors=errors,
        variances=variances,
    )


def _columns(table: ScoreTable, evals: list[str]) -> list[int]:
    return [table.evals.index(name) for name in evals]


def _scores(runs: Floats, columns: list[int]) -> Floats:
    """Return the macro-average of each seed's bits per byte: (seeds,)."""
    return runs[:, columns].mean(axis=1)


def _test(
    table: ScoreTable,
    pair: tuple[int, int],
    columns: list[int],
    pooled: PooledVariance,
    document_error: float,
) -> PairTest:
    """Return the test of two datasets on some sets, the lower one first."""
    both = [(table.datasets[at], _scores(table.runs[at], columns)) for at in pair]
    (a, scores_a), (b, scores_b) = sorted(both, key=lambda one: float(one[1].mean()))
    if pooled.degrees_of_freedom == 0:  # one seed of each: nothing is known of chance
        return PairTest(a, b, float(scores_a.mean() - scores_b.mean()), math.nan, 0, math.nan)
    return pair_test(a, b, scores_a, scores_b, pooled, document_error=document_error)


def _verdicts(tests: list[PairTest], *, margin: float | None, alpha: float) -> list[PairVerdict]:
    if all(test.degrees_of_freedom for test in tests):
        return judge_pairs(tests, margin=margin, alpha=alpha)
    return [_unjudged(test) for test in tests]


def _unjudged(test: PairTest) -> PairVerdict:
    unknown = dict.fromkeys(
        ("standard_error", "low", "high", "simultaneous_low", "simultaneous_high", "p"), math.nan
    )
    return PairVerdict(
        a=test.a,
        b=test.b,
        difference=test.difference,
        degrees_of_freedom=0,
        p_adjusted=math.nan,
        p_equivalent=None,
        verdict="unresolved",
        winner=None,
        **unknown,
    )


def _without_difficulty(
    table: ScoreTable, draws: Floats, lens: Lens
) -> tuple[list[Floats], Floats]:
    """Return each dataset's score for each seed, and the drawn scores (draws, datasets).

    A mean on a set that counts is the effect of its dataset plus that of its set, both fitted by
    least squares: two-way analysis of variance with empty cells (Yates, "The analysis of multiple
    classifications with unequal numbers in the different classes", JASA 1934). A score is the mean
    over the dataset's sets less their effects, plus the mean effect of all sets: the plain mean
    over sets, where no cell is empty.
    """
    used = _columns(table, lens.evals)
    counts = np.array([[e in lens.sets_of(d) for e in lens.evals] for d in table.datasets])
    weights = counts / counts.sum(axis=1, keepdims=True)
    shifts = _difficulty(table.means[:, used], counts)
    scores = [
        runs[:, used] @ row - shift
        for runs, row, shift in zip(table.runs, weights, shifts, strict=True)
    ]
    drawn = draws[:, :, used]
    return scores, (drawn * weights).sum(axis=2) - _difficulty(drawn, counts)


def _difficulty(means: Floats, counts: Flags) -> Floats:
    """Return by how much the sets of each dataset are harder than all sets: (..., datasets).

    Takes means (..., datasets, evals), and which of them count (datasets, evals).
    """
    if counts.all():
        return np.zeros(means.shape[:-1])
    rows, columns = np.nonzero(counts)
    num_datasets, num_evals = counts.shape
    design = np.zeros((len(rows), num_datasets + num_evals))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), num_datasets + columns] = 1
    solve = np.linalg.pinv(design)[num_datasets:]  # (evals, cells)
    effects = means[..., rows, columns] @ solve.T  # (..., evals)
    weights = counts / counts.sum(axis=1, keepdims=True)
    return effects @ weights.T - effects.mean(axis=-1, keepdims=True)
