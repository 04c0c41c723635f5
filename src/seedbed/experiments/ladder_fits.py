"""How the loss falls with the size of the model and the text it sees, and what that foretells.

L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al., "Training compute-optimal large language
models", 2022, section 3.3), of N parameters and D bytes of text. A cell is a size and an amount of
text, with a run for each seed. Numpy only.
"""

# pyright: strict

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np

from seedbed.experiments.least_squares import Floats, descend

PARAMETERS = 5
HUBER = 1e-3  # of a residual of log L: Hoffmann et al.'s
DRAWS = 500
_EXPONENTS = 0.2, 0.5, 1.0  # to start from
_IRREDUCIBLE = 0.3, 0.8  # to start from: shares of the lowest loss
WIDEST_EXPONENTS = 0.01, 3.0
_RESTARTS = 0.0, 0.5, -0.5  # of a draw: away from the fit, on the exponents' logarithms

Order = Literal["holds", "turns round", "not known"]


@dataclass(frozen=True)
class ScalingLaw:
    """E + A / N^alpha + B / D^beta."""

    irreducible: float  # E
    size_factor: float  # A
    data_factor: float  # B
    alpha: float
    beta: float

    def __call__(self, sizes: Floats | float, amounts: Floats | float) -> Floats:
        """Return the loss of models of `sizes` parameters that saw `amounts` of text.

        >>> float(ScalingLaw(1.0, 10.0, 100.0, 0.5, 0.5)(100.0, 10_000.0))
        3.0
        """
        by_size = self.size_factor * np.asarray(sizes, np.float64) ** -self.alpha
        return self.irreducible + by_size + self.data_factor * np.asarray(amounts) ** -self.beta


@dataclass(frozen=True)
class Ladder:
    """What was run of one dataset: arrays of shape (cells,), and each cell's runs."""

    sizes: Floats
    amounts: Floats
    runs: Sequence[Floats]  # losses: (seeds,)

    @property
    def losses(self) -> Floats:
        """The mean over seeds: (cells,)."""
        return np.array([own.mean() for own in self.runs])

    def without(self, cell: int) -> Ladder:
        """Return the others."""
        keep = [at for at in range(len(self.sizes)) if at != cell]
        return Ladder(self.sizes[keep], self.amounts[keep], [self.runs[at] for at in keep])

    @property
    def top(self) -> int:
        """The cell with the most computation."""
        return int(np.argmax(self.sizes * self.amounts))


class _Scale:
    """Sizes and amounts around their geometric means, so that parameters are of like size."""

    def __init__(self, ladder: Ladder) -> None:
        self.size = math.exp(float(np.log(ladder.sizes).mean()))
        self.amount = math.exp(float(np.log(ladder.amounts).mean()))
        self.log_sizes = np.log(ladder.sizes / self.size)
        self.log_amounts = np.log(ladder.amounts / self.amount)
        low, high = float(ladder.losses.min()), float(ladder.losses.max())
        least, most = map(math.log, WIDEST_EXPONENTS)
        smallest = math.log(low) - 12.0
        self.low = np.array([smallest, smallest, smallest, least, least])
        self.high = np.array([math.log(low), *[math.log(high) + 1] * 2, most, most])

    def fit(self, starts: Floats, losses: Floats) -> tuple[Floats, Floats]:
        """Return where starts lead, and the loss there; `losses` may differ by start.

        Parameters are the logarithms of E, A, B, alpha and beta; the residuals those of log L.
        """
        targets = np.log(losses)  # (starts, cells) or (cells,)

        def residuals(parameters: Floats) -> tuple[Floats, Floats]:
            e, a, b, log_alpha, log_beta = parameters.T[:, :, None]
            of_size = np.exp(log_alpha) * self.log_sizes
            of_amount = np.exp(log_beta) * self.log_amounts
            terms = np.exp(np.stack([e + 0 * of_size, a - of_size, b - of_amount], axis=2))
            total = terms.sum(axis=2)
            shares = terms / total[:, :, None]  # (starts, cells, 3)
            exponents = [-shares[:, :, 1] * of_size, -shares[:, :, 2] * of_amount]
            slopes = np.concatenate([shares, np.stack(exponents, axis=2)], axis=2)
            return np.log(total) - targets, slopes

        return descend(residuals, starts, low=self.low, high=self.high, huber=HUBER)

    def law(self, parameters: Floats) -> ScalingLaw:
        """Return the law of scaled parameters."""
        e, a, b, alpha, beta = np.exp(parameters).tolist()
        return ScalingLaw(e, a * self.size**alpha, b * self.amount**beta, alpha, beta)


def _fit(ladder: Ladder) -> tuple[_Scale, Floats]:
    scale, losses = _Scale(ladder), ladder.losses
    starts: list[list[float]] = []
    for alpha, beta, share in product(_EXPONENTS, _EXPONENTS, _IRREDUCIBLE):
        left = math.log((float(losses.mean()) - share * float(losses.min())) / 2)
        irreducible = math.log(share * float(losses.min()))
        starts.append([irreducible, left, left, math.log(alpha), math.log(beta)])
    found, lost = scale.fit(np.array(starts), losses)
    return scale, found[int(np.argmin(lost))]


def fit_scaling_law(ladder: Ladder) -> ScalingLaw:
    """Return the law with the least Huber loss of log L over the cells, from several starts."""
    scale, parameters = _fit(ladder)
    return scale.law(parameters)


def bootstrap_laws(ladder: Ladder, *, draws: int = DRAWS, seed: int = 0) -> list[ScalingLaw]:
    """Return laws fitted to ladders that might as well have been.

    Seeds are drawn again, their scatter in log L pooled over all cells, around the fit. Where the
    law misses the cells by more than seeds explain, or each cell has one seed, the scatter is
    widened to that, on C - 5 degrees of freedom for C cells (Davison and Hinkley, Bootstrap Methods
    and their Application, 1997, section 6.2). So a law that is wrong in kind makes wide intervals,
    but none that hold far away.
    """
    scale, parameters = _fit(ladder)
    fitted = scale.law(parameters)(ladder.sizes, ladder.amounts)
    off = np.log(ladder.losses / fitted)
    scatter = _cell_scatter(ladder, off)
    generator = np.random.default_rng((seed, 15))
    drawn = fitted * np.exp(generator.choice(scatter, (draws, len(fitted))))
    restarts = np.array([[0.0, 0.0, 0.0, move, move] for move in _RESTARTS])
    starts = np.tile(parameters + restarts, (draws, 1))
    found, lost = scale.fit(starts, np.repeat(drawn, len(restarts), axis=0))
    best = lost.reshape(draws, -1).argmin(axis=1) + np.arange(draws) * len(restarts)
    return [scale.law(row) for row in found[best]]


def _cell_scatter(ladder: Ladder, off: Floats) -> Floats:
    """Return deviations of a cell's mean log loss to draw from, their mean zero."""
    by_fit = math.sqrt(float(np.square(off).sum()) / max(1, len(off) - PARAMETERS))
    pools = [
        (np.log(runs) - np.log(runs).mean()) / math.sqrt(len(runs) - 1)  # of a mean of the seeds
        for runs in ladder.runs
        if len(runs) > 1
    ]
    pool = np.concatenate(pools) if pools else off - off.mean()
    by_seeds = math.sqrt(float(np.square(pool).mean()))
    wider = max(1.0, by_fit / by_seeds) if by_seeds else 0.0
    return pool * wider


@dataclass(frozen=True)
class Foretold:
    """A loss beyond what was run."""

    predicted: float
    low: float
    high: float


def foretell(
    law: ScalingLaw,
    draws: Sequence[ScalingLaw],
    size: float,
    amount: float,
    alpha: float,
    *,
    luck: Floats | float = 0.0,
) -> Foretold:
    """Return the loss at a size and amount of text, with its (1 - alpha) interval.

    That of the law; or, with the `luck` of a cell's mean log loss for each draw, of runs there.
    """
    values = np.array([float(other(size, amount)) for other in draws]) * np.exp(luck)
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2]).tolist()
    return Foretold(float(law(size, amount)), low, high)


def back_test(ladder: Ladder, alpha: float) -> tuple[float, Foretold] | None:
    """Return the loss at the cell with the most computation, and what the others foretell of it.

    What was seen there has luck of its own, which the interval allows for. None where the others
    are too few to fit.
    """
    others = ladder.without(ladder.top)
    if len(others.sizes) <= PARAMETERS:
        return None
    size, amount = float(ladder.sizes[ladder.top]), float(ladder.amounts[ladder.top])
    law, draws = fit_scaling_law(others), bootstrap_laws(others)
    off = np.log(others.losses / law(others.sizes, others.amounts))
    luck = np.random.default_rng(16).choice(_cell_scatter(others, off), len(draws))
    foretold = foretell(law, draws, size, amount, alpha, luck=luck)
    return float(ladder.losses[ladder.top]), foretold


@dataclass(frozen=True)
class PairForetold:
    """Two datasets beyond what was run."""

    a: str  # the better one at the top of the ladder
    b: str
    difference: float  # a - b
    low: float  # the interval of all pairs at once
    high: float
    chance: float  # that a is better there too, by the draws
    order: Order


def foretell_order(
    laws: Mapping[str, ScalingLaw],
    draws: Mapping[str, Sequence[ScalingLaw]],
    size: float,
    amount: float,
    alpha: float,
) -> list[PairForetold]:
    """Return whether the order of each pair of datasets is expected to hold.

    The keys are the datasets, the best at the top of the ladder first. An order holds, or turns
    round, where the interval of the pair's difference leaves out zero: all pairs are within theirs
    with 1 - alpha (Bonferroni's correction: Dunn, JASA 1961).
    """
    alpha /= max(1, len(laws) * (len(laws) - 1) // 2)
    values = {n: np.array([float(law(size, amount)) for law in own]) for n, own in draws.items()}
    found: list[PairForetold] = []
    for a, b in combinations(laws, 2):
        gaps = values[a] - values[b]
        low, high = np.quantile(gaps, [alpha / 2, 1 - alpha / 2]).tolist()
        order: Order = "holds" if high < 0 else "turns round" if low > 0 else "not known"
        difference = float(laws[a](size, amount) - laws[b](size, amount))
        chance = float((gaps < 0).mean())
        found.append(PairForetold(a, b, difference, low, high, chance, order))
    return found
