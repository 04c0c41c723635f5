"""Which mixtures to run, and which mixture is the best by what they showed. Numpy only.

Mixtures are rows of weights that sum to one: (mixtures, sources). A source's limit is the largest
weight that it may have, so that its text is not repeated too often.
"""

# pyright: strict

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seedbed.experiments.least_squares import Floats
from seedbed.experiments.mixture_fits import FEWEST_EXTRA, Fit, losses_by_kind

Predict = Callable[[Floats], Floats]  # mixtures to losses

SMALLEST_WEIGHT = 0.01  # less of a source is none of it
DRAWS = 200  # of the bootstrap
_LEAST_REPLICATES = 2
_CANDIDATES = 20  # of which a random mixture is the one farthest from those before
_RANDOM_STARTS = 2000  # of a search
_REFINED = 3  # of them
_STEPS = 0.25, 0.0005  # of weight, from one source to another: the first and the last


def fewest_runs(sources: int) -> int:
    """Return how many runs on mixtures are enough for a fit and a look at the noise."""
    return sources + FEWEST_EXTRA + _LEAST_REPLICATES


def usual_runs(sources: int) -> int:
    """Return how many runs on mixtures are made unless it is said."""
    return max(8 * sources, fewest_runs(sources))


def design(sources: int, runs: int, *, seed: int) -> Floats:
    """Return the mixtures to run: corners, centre, the centre again, random ones.

    A sixth of the runs, or two, repeat the centre, which tells what runs of one mixture differ by.
    The random ones are uniform on the simplex, a Dirichlet distribution; each is the one of 20 that
    is farthest from all before it (Mitchell's best candidate, SIGGRAPH 1991).

    >>> design(2, 8, seed=0)[:5].tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    generator = np.random.default_rng((seed, 12))
    again = max(_LEAST_REPLICATES, runs // 6)
    rows = [*np.eye(sources), *[rounded(np.full(sources, 1 / sources))] * (1 + again)]
    while len(rows) < runs:
        drawn = generator.dirichlet(np.ones(sources), _CANDIDATES)
        gaps = np.linalg.norm(drawn[:, None] - np.stack(rows), axis=2).min(axis=1)
        rows.append(rounded(drawn[int(np.argmax(gaps))]))
    return np.stack(rows)


def rounded(weights: Floats) -> Floats:
    """Return weights in thousandths that sum to one, without those below a hundredth.

    >>> rounded(np.array([1 / 3, 1 / 3, 1 / 3 - 0.004, 0.004])).tolist()
    [0.335, 0.335, 0.33, 0.0]
    """
    kept = np.where(weights >= SMALLEST_WEIGHT, weights, 0.0)
    thousandths = 1000 * kept / kept.sum()
    whole = np.floor(thousandths)
    missing = round(1000 - float(whole.sum()))
    for at in np.argsort(whole - thousandths, kind="stable")[:missing]:
        whole[at] += 1
    return whole / 1000


def limits(available: Sequence[float], budget: float, max_epochs: float) -> Floats:
    """Return the largest weight of each source, whose text of `available` bytes may be repeated.

    A run reads `budget` bytes, each source's at most `max_epochs` times: beyond four times, text
    is worth much less than new text (Muennighoff et al., "Scaling data-constrained language
    models", 2023).

    >>> limits([100.0, 1e6], 1000.0, 4.0).tolist()
    [0.4, 1.0]
    """
    return np.minimum(1.0, max_epochs * np.array(available) / budget)


def within(weights: Floats, most: Floats) -> Floats:
    """Return the nearest thing to each mixture that keeps to the limits, which sum to one or more.

    What is cut off goes to the others in proportion to their weights.

    >>> within(np.array([[0.8, 0.1, 0.1]]), np.array([0.5, 1.0, 1.0])).round(3).tolist()
    [[0.5, 0.25, 0.25]]
    """
    wanted = weights + 1e-9
    low, high = np.ones((len(weights), 1)), np.full((len(weights), 1), 1e12)
    for _ in range(80):  # bisection of the factor that the weights are multiplied by
        factor = np.sqrt(low * high)
        enough = np.minimum(factor * wanted, most).sum(axis=1, keepdims=True) >= 1
        low, high = np.where(enough, low, factor), np.where(enough, factor, high)
    kept = np.minimum(high * wanted, most)
    return kept / kept.sum(axis=1, keepdims=True)


def search_starts(most: Floats, *, seed: int = 0) -> Floats:
    """Return where a search within the limits begins: corners, centre, random mixtures."""
    sources = len(most)
    drawn = np.random.default_rng((seed, 13)).dirichlet(np.ones(sources), _RANDOM_STARTS)
    centre = np.full((1, sources), 1 / sources)
    return within(np.concatenate([np.eye(sources), centre, drawn]), most)


def best_mixture(predict: Predict, most: Floats, starts: Floats) -> Floats:
    """Return the mixture within the limits that is predicted best: (sources,).

    The best of the starts move weight from one source to another as long as that helps, in ever
    smaller steps.

    >>> def off(weights):
    ...     return np.square(weights - [0.3, 0.7]).sum(axis=1)
    >>> best_mixture(off, np.ones(2), search_starts(np.ones(2))).round(2)
    array([0.3, 0.7])
    """
    order = np.argsort(predict(starts), kind="stable")[:_REFINED]
    found = np.stack([_refined(predict, start, most) for start in starts[order]])
    return found[int(np.argmin(predict(found)))]


def _refined(predict: Predict, start: Floats, most: Floats) -> Floats:
    sources = len(most)
    pairs = [(i, j) for i in range(sources) for j in range(sources) if i != j]
    moves = np.eye(sources)[[j for _, j in pairs]] - np.eye(sources)[[i for i, _ in pairs]]
    giver, taker = np.array(pairs).T
    here, loss = start, float(predict(start[None])[0])
    step, last = _STEPS
    while step >= last:
        room = np.minimum(here[giver], (most - here)[taker]).clip(0.0, step)
        tried = here + room[:, None] * moves
        losses = predict(tried)
        best = int(np.argmin(losses))
        if losses[best] < loss:
            here, loss = tried[best], float(losses[best])
        else:
            step /= 2
    return here


@dataclass(frozen=True)
class Proposal:
    """The mixture that is predicted best, and how sure that is."""

    weights: Floats  # (sources,)
    low: Floats  # the interval of each weight of the best mixture: (sources,)
    high: Floats
    predicted: float  # the target's loss
    predicted_low: float
    predicted_high: float
    expected_regret: float  # how much worse than the best mixture it is expected to be
    largest_regret: float  # with 95 % probability it is no more


def propose(
    fit: Fit,
    weights: Floats,
    losses: Floats,
    shares: Floats,
    most: Floats,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Proposal:
    """Return the mixture that a fit predicts best, with 95 % intervals from a bootstrap.

    Residuals of the runs, widened for the parameters that were fitted, are drawn again and added to
    the fit; each draw is fitted and searched anew (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 9.4). The evaluation documents and the model chosen stay as they are,
    so the intervals hold for these.
    """
    fitted = fit.by_kind(weights)  # (runs, kinds)
    runs, free = len(weights), max(curve.parameters for curve in fit.curves)
    off = losses_by_kind(losses, shares, fit.kinds) - fitted
    off = (off - off.mean(axis=0)) * math.sqrt(runs / max(1, runs - free))
    starts = search_starts(most, seed=seed)
    chosen = rounded(best_mixture(fit, most, starts))
    generator = np.random.default_rng((seed, 14))
    best, regrets, predicted = np.empty((draws, len(most))), np.empty(draws), np.empty(draws)
    drawn = fitted + off[generator.integers(0, runs, (draws, runs))]  # (draws, runs, kinds)
    for draw, again in enumerate(fit.again(weights, drawn)):
        best[draw] = best_mixture(again, most, starts)
        predicted[draw], least = again(np.stack([chosen, best[draw]])).tolist()
        regrets[draw] = max(0.0, predicted[draw] - least)
    low, high = np.quantile(best, [0.025, 0.975], axis=0)
    return Proposal(
        weights=chosen,
        low=low,
        high=high,
        predicted=float(fit(chosen[None])[0]),
        predicted_low=float(np.quantile(predicted, 0.025)),
        predicted_high=float(np.quantile(predicted, 0.975)),
        expected_regret=float(regrets.mean()),
        largest_regret=float(np.quantile(regrets, 0.95)),
    )
