from __future__ import annotations

import numpy as np
import pytest

from seedbed.experiments.least_squares import Floats
from seedbed.experiments.mixture_fits import choose_model
from seedbed.experiments.mixture_search import (
    Predict,
    best_mixture,
    design,
    fewest_runs,
    limits,
    propose,
    rounded,
    search_starts,
    usual_runs,
    within,
)

NO_LIMIT = np.ones(3)
SD = 0.01  # of a run


def loss(weights: Floats) -> Floats:
    """Return what a target half like source 0 and half like 1 costs; source 2 is junk."""
    return 1.2 + np.exp(0.5 - 3.5 * weights[:, :2]).mean(axis=1)


def synthetic_runs(seed: int) -> tuple[Floats, Floats, Floats]:
    """Return mixtures, losses of 30 documents, and their shares."""
    generator = np.random.default_rng(seed)
    weights = design(3, 24, seed=seed)
    by_kind = 1.2 + np.exp(0.5 - 3.5 * weights[:, :2])
    documents = by_kind[:, np.arange(30) % 2] + generator.normal(0.0, 0.2, 30)
    luck = generator.normal(0.0, SD, (len(weights), 1))
    jitter = generator.normal(0.0, 2 * SD, documents.shape)
    return weights, documents + luck + jitter, np.full(30, 1 / 30)


@pytest.mark.parametrize(("sources", "runs"), [(2, 8), (3, 24), (7, 56)])
def test_a_design_has_corners_centre_again_and_different_mixtures(sources: int, runs: int) -> None:
    rows = design(sources, runs, seed=1)
    assert rows.shape == (runs, sources)
    assert rows.sum(axis=1) == pytest.approx(np.ones(runs))
    assert (rows[:sources] == np.eye(sources)).all()
    centre = (rows == rounded(np.full(sources, 1 / sources))).all(axis=1)
    assert centre.sum() == 1 + max(2, runs // 6)
    assert len(np.unique(rows, axis=0)) == runs - max(2, runs // 6)
    assert ((rows == 0) | (rows >= 0.01)).all()


def test_a_design_is_its_seeds() -> None:
    assert (design(3, 24, seed=1) == design(3, 24, seed=1)).all()
    assert (design(3, 24, seed=1) != design(3, 24, seed=2)).any()


def test_usual_runs_are_enough() -> None:
    assert [usual_runs(sources) >= fewest_runs(sources) for sources in range(2, 20)] == [True] * 18


def test_limits_are_what_may_be_repeated() -> None:
    assert limits([1e6, 1e5, 1e4], 1e6, 4.0).tolist() == [1.0, 0.4, 0.04]


def test_what_is_cut_off_goes_to_the_others() -> None:
    most = np.array([0.3, 0.5, 1.0])
    kept = within(np.vstack([np.eye(3), [[0.2, 0.3, 0.5]]]), most)
    assert (kept <= most + 1e-6).all()
    assert kept.sum(axis=1) == pytest.approx(np.ones(4))
    assert kept[3] == pytest.approx([0.2, 0.3, 0.5])
    assert within(np.eye(2)[:1], np.array([0.4, 0.6]))[0] == pytest.approx([0.4, 0.6])


def test_the_best_mixture_is_found_inside_on_an_edge_and_at_a_limit() -> None:
    def best(predict: Predict, most: Floats) -> Floats:
        return best_mixture(predict, most, search_starts(most))

    assert best(loss, NO_LIMIT) == pytest.approx([0.5, 0.5, 0.0], abs=0.005)
    assert best(lambda p: p[:, 1], np.ones(2)) == pytest.approx([1.0, 0.0], abs=1e-3)
    limited = best(loss, np.array([0.2, 1.0, 1.0]))
    assert limited == pytest.approx([0.2, 0.8, 0.0], abs=0.005)


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_mixture_is_proposed(seed: int) -> None:
    weights, losses, shares = synthetic_runs(seed)
    fit = choose_model(weights, losses, shares).fit
    proposal = propose(fit, weights, losses, shares, NO_LIMIT, draws=20, seed=seed)
    assert np.abs(proposal.weights - [0.5, 0.5, 0.0]).sum() < 0.2
    assert float(loss(proposal.weights[None])[0] - loss(np.array([[0.5, 0.5, 0.0]]))[0]) < SD
    assert (proposal.low <= proposal.high).all()
    assert proposal.low[2] < 0.05
    assert proposal.predicted_low < proposal.predicted < proposal.predicted_high
    assert 0 <= proposal.expected_regret <= proposal.largest_regret < 3 * SD


def test_a_proposal_keeps_to_the_limits() -> None:
    weights, losses, shares = synthetic_runs(0)
    fit = choose_model(weights, losses, shares).fit
    most = np.array([0.3, 0.6, 0.2])
    proposal = propose(fit, weights, losses, shares, most, draws=5)
    assert (proposal.weights <= most + 1e-3).all()
    assert proposal.weights == pytest.approx([0.3, 0.6, 0.1], abs=1e-3)
