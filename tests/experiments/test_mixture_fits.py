from __future__ import annotations

import numpy as np
import pytest

from seedbed.experiments.boosted_trees import fit_trees
from seedbed.experiments.least_squares import Floats
from seedbed.experiments.mixture_fits import (
    Law,
    candidates,
    choose_model,
    fit_laws,
    fit_linear,
    fit_model,
    folds_of,
    kinds_of,
    noise_ceiling,
    rank_correlation,
)
from seedbed.experiments.mixture_search import design

NOISE = 0.01  # of a run
DOCUMENTS = 40


def planted(weights: Floats, *, seed: int, noise: float = NOISE) -> tuple[Floats, Floats]:
    """Return losses of documents, half of them like source 0, half like 1; and their shares."""
    generator = np.random.default_rng(seed)
    kinds = np.arange(DOCUMENTS) % 2
    laws = [1.2 + np.exp(0.5 - 3.5 * weights[:, own]) for own in (0, 1)]
    hardness = generator.normal(0.0, 0.2, DOCUMENTS)
    losses = np.stack([laws[kind] for kind in kinds], axis=1) + hardness
    luck = generator.normal(0.0, noise, (len(weights), 1))
    jitter = generator.normal(0.0, 3 * noise, losses.shape)  # of a document in a run
    return losses + luck + jitter, np.full(DOCUMENTS, 1 / DOCUMENTS)


def fit_law(weights: Floats, losses: Floats) -> Law:
    return fit_laws(weights, losses[:, None])[0]


def truth(weights: Floats) -> Floats:
    return 1.2 + (np.exp(0.5 - 3.5 * weights[:, :2])).mean(axis=1)


def test_the_law_is_found_again() -> None:
    weights = design(3, 24, seed=0)
    slopes = np.array([-2.0, 0.3, 0.8])
    law = fit_law(weights, 1.5 + np.exp(weights @ slopes))
    assert law.constant == pytest.approx(1.5, abs=1e-3)
    assert law.slopes == pytest.approx(slopes, abs=1e-3)


def test_the_laws_constant_is_never_negative() -> None:
    weights = design(2, 16, seed=0)
    falling = 1.0 - 0.9 * weights[:, 0]  # a line, which a law comes near from far below
    assert fit_law(weights, falling).constant >= -1e-9


def test_the_law_beats_a_line_and_trees_where_it_is_true() -> None:
    weights = design(3, 24, seed=1)
    losses = 1.2 + np.exp(0.5 - 3.5 * weights[:, 0])
    new = np.random.default_rng(5).dirichlet(np.ones(3), 200)
    expected = 1.2 + np.exp(0.5 - 3.5 * new[:, 0])
    law, line, trees = (
        fit(weights, losses)(new) - expected for fit in (fit_law, fit_linear, fit_trees)
    )
    assert np.abs(law).max() < 1e-3
    assert np.abs(line).max() > 0.05
    assert np.abs(trees).mean() > 10 * np.abs(law).mean()


def test_trees_follow_steps_that_no_line_can() -> None:
    points = np.random.default_rng(0).random((200, 2))
    values = (points[:, 0] > 0.5) * (points[:, 1] > 0.3).astype(np.float64)
    new = np.random.default_rng(1).random((200, 2))
    expected = (new[:, 0] > 0.5) * (new[:, 1] > 0.3) * 1.0
    assert np.mean((fit_trees(points, values)(new) > 0.5) == (expected > 0.5)) > 0.97


def test_trees_need_runs_enough() -> None:
    assert "trees" not in candidates(24, 3)
    assert "trees" in candidates(30, 3)


def test_kinds_of_documents_are_told_from_how_runs_differ() -> None:
    losses, shares = planted(design(3, 24, seed=0), seed=3)
    assert kinds_of(losses, shares, 2).tolist() == [0, 1] * (DOCUMENTS // 2)


def test_one_law_cannot_want_two_sources_but_laws_of_kinds_can() -> None:
    weights = design(3, 24, seed=0)
    losses, shares = planted(weights, seed=3)
    new = np.random.default_rng(5).dirichlet(np.ones(3), 200)
    by_name = {
        name: float(np.std(fit_model(name, weights, losses, shares)(new) - truth(new)))
        for name in ("law", "law by kinds")
    }
    assert by_name["law by kinds"] < 0.03 < by_name["law"]


def test_cross_validation_chooses_the_model_that_is_true() -> None:
    weights = design(3, 24, seed=0)
    losses, shares = planted(weights, seed=3)
    choice = choose_model(weights, losses, shares)
    assert choice.fit.name == "law by kinds"
    assert choice.errors["law by kinds"] == min(choice.errors.values())
    assert choice.rank_correlation > 0.9
    assert choice.regret < 3 * NOISE


def test_pure_noise_is_not_predicted() -> None:
    weights = design(3, 24, seed=0)
    losses = np.random.default_rng(0).normal(2.0, 0.01, (24, 1))
    choice = choose_model(weights, losses, np.ones(1))
    assert choice.rank_correlation < 0.5
    assert choice.rmse > 0.007


def test_runs_of_one_mixture_share_a_fold() -> None:
    weights = design(3, 24, seed=0)
    folds = folds_of(weights)
    same = (weights[:, None] == weights).all(axis=2)
    assert not (same & (folds[:, None] != folds)).any()
    assert set(folds) == set(range(8))


def test_the_noise_is_that_of_replicates() -> None:
    weights = design(3, 48, seed=0)
    generator = np.random.default_rng(1)
    expected = truth(weights)
    observed = expected + generator.normal(0.0, 0.05, 48)
    noise = noise_ceiling(weights, observed, expected)
    assert noise.degrees_of_freedom == 8
    assert 0.02 < noise.sd < 0.1
    assert 0.6 < noise.best_rank_correlation < 0.99
    assert np.isnan(noise_ceiling(np.eye(3), np.arange(3.0), np.arange(3.0)).sd)


def test_ties_share_their_mean_rank() -> None:
    one, other = np.array([1.0, 1.0, 2.0, 3.0]), np.array([4.0, 5.0, 9.0, 9.0])
    # ranks 1.5 1.5 3 4 and 1 2 3.5 3.5: 4 over the root of 4.5 times 4.5
    assert rank_correlation(one, other) == pytest.approx(4 / 4.5)
    assert rank_correlation(one, -other) == pytest.approx(-4 / 4.5)
    assert np.isnan(rank_correlation(one, np.ones(4)))
