"""Non-linear least squares with several starts at once. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Parameters (starts, parameters) to residuals (starts, points), and to how each changes with each
# parameter (starts, points, parameters).
Residuals = Callable[[Floats], tuple[Floats, Floats]]

STEPS = 100
_SMALL = 1e-10  # a relative gain below it ends the search
_DAMPING = 1e-3, 1e-12, 1e12  # at first, least, most


def descend(
    residuals: Residuals,
    starts: Floats,
    *,
    low: Floats,
    high: Floats,
    huber: float = math.inf,
) -> tuple[Floats, Floats]:
    """Return where each start leads, (starts, parameters), and the loss there, (starts,).

    Levenberg and Marquardt's method (Marquardt, J. SIAM 1963) with steps cut off at the bounds.
    The loss of a residual is Huber's (Annals of Mathematical Statistics 1964): its square up to
    `huber`, linear beyond, by reweighting.

    >>> line = np.array([1.0, 2.0, 3.0])
    >>> def off(slopes):
    ...     return slopes * line - 2 * line, np.broadcast_to(line[:, None], (len(slopes), 3, 1))
    >>> found, _ = descend(off, np.array([[0.0]]), low=np.array([-9.0]), high=np.array([9.0]))
    >>> found.round(6)
    array([[2.]])
    """
    found = np.clip(starts, low, high)
    diagonal = range(found.shape[1])
    damping = np.full(len(found), _DAMPING[0])
    off, slopes = residuals(found)
    losses = _losses(off, huber)
    ended = np.zeros(len(found), np.bool_)
    for _ in range(STEPS):
        weighted = slopes * _weights(off, huber)[:, :, None]
        square = np.einsum("spk,spl->skl", weighted, slopes)  # (starts, parameters, parameters)
        gradient = np.einsum("spk,sp->sk", weighted, off)
        scale = np.maximum(square[:, diagonal, diagonal], 1e-12)
        square[:, diagonal, diagonal] += damping[:, None] * scale
        steps: Floats = np.linalg.solve(square, gradient[:, :, None])
        tried: Floats = np.clip(found - steps[:, :, 0], low, high)
        new_off, new_slopes = residuals(tried)
        new_losses = _losses(new_off, huber)
        better = new_losses < losses
        ended |= better & (losses - new_losses <= _SMALL * losses)
        ended |= ~better & (damping > 1e8)
        found[better], losses[better] = tried[better], new_losses[better]
        off[better], slopes = new_off[better], np.where(better[:, None, None], new_slopes, slopes)
        damping = np.clip(np.where(better, damping / 5, damping * 4), *_DAMPING[1:])
        if ended.all():
            break
    return found, losses


def _weights(off: Floats, huber: float) -> Floats:
    return np.minimum(1.0, huber / np.maximum(np.abs(off), 1e-300))


def _losses(off: Floats, huber: float) -> Floats:
    """Return the loss of each start: (starts,)."""
    size = np.abs(off)
    if math.isinf(huber):
        return np.square(size).sum(axis=1)
    return np.where(size <= huber, size**2, 2 * huber * size - huber**2).sum(axis=1)
