"""What the benchmarks with a known truth are made of: damage, and the judging of verdicts."""

from __future__ import annotations

import random
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from invented_scores import plan_of, scores_of
from seedbed.data.overlap import ContaminationIndex
from seedbed.experiments.results import Results
from seedbed.experiments.verdict import judge

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
EDITS = ("word for word", "other letter case", "other white space", "both")
WORDS = " ".join(f"word{n}" for n in range(1000))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_shuffled_words_are_the_same_words_and_the_share_moves() -> None:
    import known_texts

    shuffled = known_texts.shuffled_words(0.3)(WORDS, random.Random(0))
    before, after = WORDS.split(), shuffled.split()
    assert sorted(after) == sorted(before)
    moved = sum(a != b for a, b in zip(before, after, strict=True))
    assert 280 <= moved <= 300


def test_noise_changes_its_share_of_the_characters() -> None:
    import known_texts

    text = "0" * 20_000
    noisy = known_texts.character_noise(0.05)(text, random.Random(0))
    assert len(noisy) == len(text)
    assert noisy.count("0") / len(text) == pytest.approx(0.95, abs=0.006)


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_of_a_planted_document_is_found(edit: str) -> None:
    import contamination
    import known_texts

    stories = known_texts.stories(True, held_out=True)
    copy = contamination.EDITS[edit](stories[3], random.Random(0))
    assert (copy == stories[3]) == (edit == "word for word")
    found = ContaminationIndex(stories, near=False).scan([copy])
    assert [match.document for match in found] == [3]


def test_recall_counts_all_edits_and_no_others() -> None:
    import contamination

    counts = Counter({("both", "planted"): 4, ("both", "found"): 3, ("none", "found"): 9})
    assert contamination.recall_of(counts) == 0.75


def verdict(truth: dict[str, float], *, seed: int) -> Results:
    plan = plan_of(list(truth), texts=["stories"], own=False)
    scores = scores_of(plan, lambda dataset, _: truth[dataset], seed=seed)
    return judge(plan, scores)


def test_only_large_true_differences_are_owed_a_decision() -> None:
    import validate

    found = verdict({"clean": 1.0, "noise5": 1.01, "noise15": 1.5}, seed=0)
    truth = verdict({"clean": 1.0, "noise5": 1.01, "noise15": 1.5}, seed=1)
    assert {(p.a, p.b) for p in validate.owed_pairs(found, truth)} == {
        ("clean", "noise15"),
        ("noise5", "noise15"),
    }
    assert validate.decided_check("stories", found, truth).passed


def test_a_decision_for_the_wrong_one_fails() -> None:
    import validate

    found = verdict({"clean": 1.5, "noise5": 1.0, "noise15": 1.0}, seed=0)
    truth = verdict({"clean": 1.0, "noise5": 1.5, "noise15": 1.5}, seed=1)
    check = validate.decided_check("stories", found, truth)
    assert not check.passed
    assert "clean and noise5" in check.found
    assert not validate.order_checks("stories", found)[0].passed


def test_a_matrix_with_the_wrong_winner_fails() -> None:
    import validate

    found = verdict({"clean": 1.1, "noise5": 1.0}, seed=0)
    assert [check.passed for check in validate.matrix_checks(found)] == [False]


def test_a_rate_off_the_nominal_one_is_a_problem_and_so_is_a_mild_control() -> None:
    import ties

    fields = ("pairs", "any_seeds_only", "any_pair")
    normal = dict.fromkeys(fields, ties.Rate(0.04, 0.01))
    normal |= {"seeds_only": ties.Rate(0.05, 0.01), "documents_only": ties.Rate(0.6, 0.01)}
    assert ties.problems(normal, normal) == []
    often = normal | {"seeds_only": ties.Rate(0.09, 0.01)}
    assert "real runs: the pooled t test" in ties.problems(often, normal)[0]
    rarely = normal | {"seeds_only": ties.Rate(0.01, 0.01)}
    assert len(ties.problems(rarely, normal)) == 1
    mild = normal | {"documents_only": ties.Rate(0.06, 0.01)}
    assert "negative control" in ties.problems(mild, normal)[0]


def test_the_error_of_a_rate_knows_that_corpora_differ() -> None:
    import ties

    alike = ties.rate_of([[0.0, 1.0] * 50] * 4)
    assert alike.value == 0.5
    assert alike.error == pytest.approx(0.025, rel=0.02)  # sqrt(0.25 / 400)
    other = ties.rate_of([[0.0] * 100, [1.0] * 100])
    assert other.error == pytest.approx(0.5)


def test_simulated_ties_are_called_different_at_the_nominal_rate() -> None:
    import ties

    asked = Namespace(datasets=7, seeds=3)
    rate = ties.rates_of({"simulated": ties.simulated(asked, 1500)})["seeds_only"]
    assert abs(rate.value - 0.05) < 3 * rate.error
    assert rate.error < 0.004


def test_verdicts_resampled_from_equal_runs_show_the_control_to_fail() -> None:
    import ties

    plan = plan_of(["c"], seeds=9)
    scores = scores_of(plan, lambda *_: 1.0, document_sd=0.0)
    runs = [scores[job.name] for job in plan.jobs]
    asked = Namespace(datasets=3, seeds=3)
    nulls = list(ties.resampled(runs, "c", asked, 30, 0))
    assert np.mean([null.pairs for null in nulls]) < 0.25
    assert np.mean([null.documents_only or 0 for null in nulls]) > 0.9
