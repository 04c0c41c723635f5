from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seedbed.experiments.least_squares import Floats, Residuals, descend

X = np.linspace(0.0, 3.0, 12)
Y = 2.0 * np.exp(-1.3 * X) + 0.5 + 0.05 * np.sin(9 * X)
STARTS = np.array([[1.0, 1.0, 0.0], [5.0, 0.1, 1.0], [0.1, 3.0, 2.0]])


def best(residuals: Residuals, starts: Floats, **settings: Any) -> Floats:
    """Return what the start leads to that ends lowest."""
    found, losses = descend(residuals, starts, **settings)
    return found[int(np.argmin(losses))]


def off(parameters: Floats) -> tuple[Floats, Floats]:
    scale, rate, constant = parameters.T[:, :, None]
    decay = np.exp(-rate * X)
    slopes = np.stack([decay, -scale * X * decay, np.ones_like(decay)], axis=2)
    return scale * decay + constant - Y, slopes


def loss(parameters: Floats, huber: float) -> float:
    size = np.abs(off(parameters[None])[0][0])
    return float(np.where(size <= huber, size**2, 2 * huber * size - huber**2).sum())


@pytest.mark.parametrize("huber", [1e9, 0.02])
def test_no_step_from_what_is_found_is_downhill(huber: float) -> None:
    found = best(off, STARTS, low=np.full(3, -9.0), high=np.full(3, 9.0), huber=huber)
    here = loss(found, huber)
    assert here < min(loss(start, huber) for start in STARTS) / 10
    for move in np.vstack([np.eye(3), -np.eye(3)]):
        assert loss(found + 1e-3 * move, huber) > here


def test_a_line_is_what_the_normal_equations_say() -> None:
    design = np.stack([np.ones_like(X), X], axis=1)

    def line(parameters: Floats) -> tuple[Floats, Floats]:
        slopes = np.broadcast_to(design, (len(parameters), *design.shape))
        return parameters @ design.T - Y, slopes

    expected = np.linalg.lstsq(design, Y, rcond=None)[0]
    found = best(line, np.zeros((1, 2)), low=np.full(2, -9.0), high=np.full(2, 9.0))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_huber_fit_passes_by_a_point_that_is_far_off() -> None:
    def centre(parameters: Floats) -> tuple[Floats, Floats]:
        points = np.array([1.0, 1.0, 1.0, 1.0, 50.0])
        return parameters - points, np.ones((len(parameters), 5, 1))

    start, low, high = np.array([[5.0]]), np.array([-99.0]), np.array([99.0])
    assert best(centre, start, low=low, high=high)[0] == pytest.approx(10.8)
    robust = best(centre, start, low=low, high=high, huber=0.1)
    assert robust[0] == pytest.approx(1.025, abs=1e-4)  # four deviations balance one of 0.1


def test_bounds_are_kept() -> None:
    low, high = np.array([0.0, 0.0, 0.6]), np.full(3, 9.0)
    found = best(off, np.ones((1, 3)), low=low, high=high)
    assert found[2] == pytest.approx(0.6, abs=1e-3)
    assert loss(found, 1e9) < loss(np.array([1.9, 1.7, 0.6]), 1e9) + 1e-3
