from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from invented_scores import DOCUMENTS, Truth, plan_of, scores_of
from seedbed.experiments.plan import Plan
from seedbed.experiments.racing import run_race
from seedbed.experiments.results import RaceResult
from seedbed.experiments.verdict import judge

NAMES = ["a", "b", "c", "d"]


def race(plan: Plan, truth: Truth, **options: float) -> tuple[RaceResult, list[str]]:
    """Return the race's result and the jobs that it ran, in order."""
    scores = scores_of(plan, truth, **options)
    ran: list[str] = []
    kept = {e.name: np.ones(DOCUMENTS, bool) for e in plan.evals}
    result = run_race(
        plan,
        lambda jobs: ran.extend(job.name for job in jobs),
        lambda: {name: scores[name] for name in ran},
        kept=kept,
    )
    return result, ran


def far(dataset: str, _evaluation: str) -> float:
    return 2.0 + {"c": 0.2, "d": 0.3}.get(dataset, 0.0)


def test_what_cannot_be_best_leaves_and_the_others_run_to_the_end() -> None:
    plan = plan_of(NAMES, seeds=5, texts=["text"], rates=[0.5, 2.0])
    result, ran = race(plan, far)
    assert set(result.dropped) == {"c", "d"}
    assert set(result.dropped.values()) == {2}
    assert {f"{d}.s{s}" for d in "ab" for s in range(5)} <= set(ran)
    assert {"c.s1", "d.s1"} <= set(ran)
    assert not {"c.s2", "d.s2", "c.s0.x0.5"} & set(ran)
    assert {"a.s0.x0.5", "b.s0.x2"} <= set(ran)
    assert result.runs_saved == len(plan.jobs) - len(ran) == 2 * (3 + 2)
    assert result.share_saved == 10 / 28


def test_the_final_verdict_is_held_to_the_level_of_one_look() -> None:
    plan = plan_of(NAMES, seeds=5, texts=["text"])
    result, ran = race(plan, far)
    scores = scores_of(plan, far)
    results = judge(plan, {name: scores[name] for name in ran}, race=result)
    assert (result.looks, results.alpha) == (4, 0.05 / 4)
    assert results.pair("a", "d").verdict == "better"
    assert {run.state for run in results.runs if run.dataset == "d"} == {"finished", "dropped"}
    assert not any("not been made" in warning for warning in results.warnings)
    assert any("The race dropped" in warning for warning in results.warnings)


def test_equal_datasets_all_run_to_the_end() -> None:
    plan = plan_of(NAMES, seeds=4, texts=["text"])
    result, ran = race(plan, lambda *_: 2.0)
    assert (result.dropped, result.runs_saved) == ({}, 0)
    assert len(ran) == len(plan.jobs)


def test_a_race_ends_when_one_is_left() -> None:
    plan = plan_of(["a", "d"], seeds=6, texts=["text"], rates=[2.0])
    result, ran = race(plan, far, seed_sd=0.002)
    assert "d" in result.dropped
    assert len(ran) < len(plan.main_jobs)
    assert not any("x2" in name for name in ran)


@pytest.fixture
def noted() -> list[str]:
    return []


def test_who_leaves_is_told(noted: list[str]) -> None:
    plan = plan_of(NAMES, seeds=4, texts=["text"])
    scores = scores_of(plan, far)
    note: Callable[[str], object] = noted.append
    kept = {e.name: np.ones(DOCUMENTS, bool) for e in plan.evals}
    run_race(plan, lambda _: None, lambda: scores, kept=kept, note=note)
    assert "c leaves the race after 2 seeds: it is not the best" in noted


def test_the_best_is_dropped_as_seldom_as_alpha_says() -> None:
    # Of four equal datasets some lose with 5 % at most, whichever round it is
    plan = plan_of(NAMES, seeds=5, texts=["text"], own=False)
    lost = sum(bool(race(plan, lambda *_: 2.0, seed=s)[0].dropped) for s in range(150))
    assert lost <= 17  # more have a probability of 0.001
