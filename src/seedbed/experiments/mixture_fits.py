"""From runs on mixtures to a curve of the loss over all mixtures, and how well it predicts.

Mixtures are rows of weights that sum to one: (runs, sources). Losses are given document by
document, (runs, documents), with each document's share of the target, which sum to one: so one fit
can tell kinds of documents apart that want different sources. Numpy only.

The curves: the data mixing law, L(p) = c + exp(k + t.p) (Ye et al., "Data mixing laws", 2024); a
linear one; and boosted trees (Liu et al., "RegMix", 2024) where there are runs enough. The law of a
mixture of kinds is the mean of their laws, as in Ye et al.'s section 4; which documents are of a
kind is told from how runs differ on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from seedbed.experiments.boosted_trees import Trees, fit_trees
from seedbed.experiments.least_squares import Floats, descend

ModelName = Literal["law", "law by kinds", "linear", "trees"]
Integers = NDArray[np.intp]

FEWEST_EXTRA = 4  # runs more than sources, for any fit
RUNS_FOR_TREES = 10  # for each source
FOLDS = 8  # of the outer cross-validation, and of the inner one
_LARGEST_SLOPE = 30.0  # of the law, in e-folds from one corner to another
_CONSTANTS = np.array([-0.02, -0.2, -1.0, -5.0])  # to start from: in spreads, below the lowest
_KIND_ROUNDS = 20  # of k-means


class Curve(Protocol):
    """A loss over mixtures."""

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        ...

    def __call__(self, weights: Floats) -> Floats:
        """Return the loss at each mixture: (mixtures,)."""
        ...


@dataclass(frozen=True)
class Law:
    """c + exp(t.p). The k of the source is in t, as weights sum to one."""

    constant: float
    slopes: Floats  # (sources,)

    @property
    def parameters(self) -> int:
        """One for each source, and the constant."""
        return 1 + len(self.slopes)

    def __call__(self, weights: Floats) -> Floats:
        """Return the loss at each mixture: (mixtures,)."""
        return self.constant + np.exp(weights @ self.slopes)


@dataclass(frozen=True)
class Linear:
    """b.p, the loss at the corners mixed."""

    corners: Floats  # (sources,)

    @property
    def parameters(self) -> int:
        """One for each source."""
        return len(self.corners)

    def __call__(self, weights: Floats) -> Floats:
        """Return the loss at each mixture: (mixtures,)."""
        return weights @ self.corners


def fit_linear(weights: Floats, losses: Floats) -> Linear:
    """Return the linear curve with the least squared error.

    >>> fit_linear(np.eye(2), np.array([1.0, 3.0])).corners
    array([1., 3.])
    """
    return Linear(np.linalg.pinv(weights) @ losses)


def fit_laws(weights: Floats, losses: Floats) -> list[Law]:
    """Return the law with the least squared error of each column of losses: (runs, columns).

    Losses are not negative, nor is the constant.
    With the constant given, the slopes are a linear fit of log(L - c): from several such starts.
    """
    lowest = losses.min(axis=0)
    spread = np.maximum(losses.max(axis=0) - lowest, 1e-9 * np.maximum(lowest, 1e-9))
    scaled = ((losses - lowest) / spread).T  # (columns, runs)
    sources, starts = weights.shape[1], len(_CONSTANTS)
    constants = np.broadcast_to(_CONSTANTS[:, None], (len(scaled), starts, 1))
    slopes = np.log(scaled[:, None, :] - constants) @ np.linalg.pinv(weights).T
    first = np.concatenate([constants, slopes], axis=2).reshape(-1, 1 + sources)
    targets = np.repeat(scaled, starts, axis=0)

    def residuals(parameters: Floats) -> tuple[Floats, Floats]:
        grown = np.exp(parameters[:, 1:] @ weights.T)  # (starts, runs)
        slopes = np.concatenate([np.ones((*grown.shape, 1)), grown[:, :, None] * weights], axis=2)
        return parameters[:, :1] + grown - targets, slopes

    low = np.full(first.shape, -_LARGEST_SLOPE)
    low[:, 0] = np.repeat(-lowest / spread, starts)  # 0 before scaling
    high = np.array([1.0, *[_LARGEST_SLOPE] * sources])
    found, lost = descend(residuals, first, low=low, high=high)
    best = lost.reshape(-1, starts).argmin(axis=1) + starts * np.arange(len(scaled))
    return [
        Law(float(base + scale * row[0]), row[1:] + math.log(scale))
        for base, scale, row in zip(lowest, spread, found[best], strict=True)
    ]


@dataclass(frozen=True)
class Fit:
    """A model of the target's loss over mixtures: the mean of a curve for each kind of document."""

    name: ModelName
    kinds: Integers  # the kind of each document: (documents,)
    shares: Floats  # of the kinds in the target: (kinds,)
    curves: Sequence[Curve]  # of the kinds

    def __call__(self, weights: Floats) -> Floats:
        """Return the target's loss at each mixture: (mixtures,)."""
        return self.by_kind(weights) @ self.shares

    def by_kind(self, weights: Floats) -> Floats:
        """Return the loss on each kind of document: (mixtures, kinds)."""
        return np.stack([curve(weights) for curve in self.curves], axis=1)

    def again(self, weights: Floats, losses: Floats) -> list[Fit]:
        """Return the same model fitted to other losses of the kinds: (draws, runs, kinds)."""
        draws, runs, kinds = losses.shape
        curves = _curves(self.name, weights, losses.swapaxes(0, 1).reshape(runs, draws * kinds))
        return [
            replace(self, curves=curves[at : at + kinds]) for at in range(0, draws * kinds, kinds)
        ]


def fit_model(name: ModelName, weights: Floats, losses: Floats, shares: Floats) -> Fit:
    """Return a model fitted to `losses`, (runs, documents)."""
    number = weights.shape[1] if name == "law by kinds" else 1
    kinds = kinds_of(losses, shares, number)
    unfitted = Fit(name, kinds, np.bincount(kinds, shares).astype(np.float64), [])
    return unfitted.again(weights, losses_by_kind(losses, shares, kinds)[None])[0]


def losses_by_kind(losses: Floats, shares: Floats, kinds: Integers) -> Floats:
    """Return the mean loss on each kind of document: (runs, kinds)."""
    picked = np.eye(int(kinds.max()) + 1)[kinds] * shares[:, None]  # (documents, kinds)
    return (losses @ picked) / picked.sum(axis=0)


def _curves(name: ModelName, weights: Floats, losses: Floats) -> Sequence[Law | Linear | Trees]:
    """Return the curve of each column of losses: (runs, columns)."""
    if name == "linear":
        return [fit_linear(weights, column) for column in losses.T]
    if name == "trees":
        return [fit_trees(weights, column) for column in losses.T]
    return fit_laws(weights, losses)


def kinds_of(losses: Floats, shares: Floats, number: int) -> Integers:
    """Return the kind of each document, from 0: documents on which runs differ alike.

    By k-means (Lloyd, 1982) on each document's losses over the runs, its own mean and the runs'
    means taken off. Starts lie far from each other, so that nothing is random.

    >>> apart = np.array([[1.0, 1.1, 3.0, 3.1], [3.0, 3.1, 1.0, 1.1]])
    >>> kinds_of(apart, np.full(4, 0.25), 2)
    array([0, 0, 1, 1])
    """
    profiles = (losses - losses.mean(axis=0)).T  # (documents, runs)
    profiles = profiles - shares @ profiles / shares.sum()
    number = min(number, len(profiles))
    if number <= 1:
        return np.zeros(len(profiles), np.intp)
    first = int(np.argmax(np.square(profiles).sum(axis=1)))
    centres = profiles[[first]]
    while len(centres) < number:
        centres = np.vstack([centres, profiles[np.argmax(_distances(profiles, centres).min(1))]])
    kinds = np.zeros(len(profiles), np.intp)
    for _ in range(_KIND_ROUNDS):
        kinds = _distances(profiles, centres).argmin(axis=1)
        for kind in np.unique(kinds):
            own = kinds == kind
            centres[kind] = np.average(profiles[own], axis=0, weights=shares[own])
    _, kinds = np.unique(kinds, return_inverse=True)
    order = np.argsort(np.unique(kinds, return_index=True)[1])  # by their first documents
    return np.argsort(order)[kinds]


def _distances(points: Floats, centres: Floats) -> Floats:
    """Return squared distances: (points, centres)."""
    return np.square(points[:, None, :] - centres).sum(axis=2)


def candidates(runs: int, sources: int) -> list[ModelName]:
    """Return the models that so many runs can choose from, the simplest first."""
    names: list[ModelName] = ["linear", "law", "law by kinds"]
    return [*names, "trees"] if runs >= RUNS_FOR_TREES * sources else names


def folds_of(weights: Floats, number: int = FOLDS) -> Integers:
    """Return the fold of each run: (runs,). Runs of one mixture are never in two.

    >>> folds_of(np.array([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), 3)
    array([0, 1, 0, 2])
    """
    seen: dict[tuple[float, ...], int] = {}
    return np.array(
        [seen.setdefault(tuple(row), len(seen)) % number for row in weights.round(9).tolist()],
        np.intp,
    )


def held_out_predictions(
    name: ModelName, weights: Floats, losses: Floats, shares: Floats
) -> Floats:
    """Return what a model says of each run, fitted to the runs of the other folds: (runs,)."""
    folds = folds_of(weights)
    predicted = np.empty(len(weights))
    for fold in np.unique(folds):
        out = folds == fold
        predicted[out] = fit_model(name, weights[~out], losses[~out], shares)(weights[out])
    return predicted


@dataclass(frozen=True)
class Choice:
    """Which model, and how well the whole procedure, choice included, predicts unseen mixtures."""

    fit: Fit  # of all runs
    errors: dict[ModelName, float]  # root mean squares of each model's held-out predictions
    predicted: Floats  # of each run, by a model chosen and fitted without its fold: (runs,)
    rmse: float  # of these
    rank_correlation: float  # of these with what was observed
    regret: float  # observed loss of the run predicted best, above the lowest observed


def choose_model(weights: Floats, losses: Floats, shares: Floats) -> Choice:
    """Return the model with the least held-out error, judged by nested cross-validation.

    An inner cross-validation chooses, on the runs of all folds but one; the outer one sees how the
    chosen predicts that one (Varma and Simon, BMC Bioinformatics 2006).
    """
    observed = losses @ shares
    names = candidates(*weights.shape)
    folds = folds_of(weights)
    predicted = np.empty(len(weights))
    for fold in np.unique(folds):
        out = folds == fold
        errors = model_errors(names, weights[~out], losses[~out], shares)
        chosen = min(names, key=lambda name: errors[name])
        predicted[out] = fit_model(chosen, weights[~out], losses[~out], shares)(weights[out])
    errors = model_errors(names, weights, losses, shares)
    best = min(names, key=lambda name: errors[name])
    return Choice(
        fit=fit_model(best, weights, losses, shares),
        errors=errors,
        predicted=predicted,
        rmse=_root_mean_square(predicted - observed),
        rank_correlation=rank_correlation(predicted, observed),
        regret=float(observed[np.argmin(predicted)] - observed.min()),
    )


def model_errors(
    names: Sequence[ModelName], weights: Floats, losses: Floats, shares: Floats
) -> dict[ModelName, float]:
    """Return the root mean square of each model's held-out errors."""
    observed = losses @ shares
    return {
        name: _root_mean_square(held_out_predictions(name, weights, losses, shares) - observed)
        for name in names
    }


@dataclass(frozen=True)
class Noise:
    """How runs of one mixture scatter, and how well one could predict at best."""

    sd: float  # NaN without replicates
    degrees_of_freedom: int
    best_rank_correlation: float  # of a perfect prediction with what is observed


def noise_ceiling(weights: Floats, observed: Floats, truth: Floats, *, seed: int = 0) -> Noise:
    """Return the scatter of runs that share a mixture, pooled, and what it leaves to predict.

    The ceiling is the mean rank correlation of `truth`, a fit at each run, with itself and so much
    noise added, over 500 draws.

    >>> noise = noise_ceiling(np.full((3, 2), 0.5), np.array([1.0, 2.0, 3.0]), np.zeros(3))
    >>> noise.sd, noise.degrees_of_freedom
    (1.0, 2)
    """
    groups = folds_of(weights, len(weights))
    means = np.bincount(groups, observed) / np.bincount(groups)
    nu = len(observed) - len(means)
    if nu == 0:
        return Noise(math.nan, 0, math.nan)
    sd = math.sqrt(float(np.square(observed - means[groups]).sum()) / nu)
    noise = np.random.default_rng((seed, 11)).normal(0.0, sd, (500, len(truth)))
    ceiling = float(np.mean([rank_correlation(truth, truth + row) for row in noise]))
    return Noise(sd, nu, ceiling)


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's coefficient, ties at their mean rank; NaN where one is constant.

    Spearman, American Journal of Psychology, 1904.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    ranks = np.stack([_ranks(one), _ranks(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = math.sqrt(float(np.prod(np.square(ranks).sum(axis=1))))
    return float(ranks[0] @ ranks[1]) / scale if scale else math.nan


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    means: Floats = (np.cumsum(count) - (count - 1) / 2).astype(np.float64)
    return means[place]


def _root_mean_square(values: Floats) -> float:
    return math.sqrt(float(np.square(values).mean()))
