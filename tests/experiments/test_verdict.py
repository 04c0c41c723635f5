from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from invented_scores import DOCUMENTS, plan_of, scores_of
from seedbed.errors import DataError
from seedbed.evaluation.bits_per_byte import DocumentScores
from seedbed.experiments.evidence import Evidence
from seedbed.experiments.jobs import JobScores
from seedbed.experiments.lens import choose_lens, compare_through
from seedbed.experiments.plan import EvalSet
from seedbed.experiments.results import Results
from seedbed.experiments.verdict import judge

NAMES = ["clean", "copies", "noise", "shuffled"]
WORSE = {"clean": 0.0, "copies": 0.004, "noise": 0.15, "shuffled": 0.08}


def truth(dataset: str, evaluation: str) -> float:
    """Return a score that is better at home, on sets that are not equally hard."""
    hard = {"noise": 0.7, "text": 0.2}.get(evaluation, 0.0)
    return 2.5 + WORSE[dataset] + hard - (0.5 if dataset == evaluation else 0.0)


def judged_by_texts(**options: float) -> Results:
    plan = plan_of(NAMES, texts=["text", "speech"])
    return judge(plan, scores_of(plan, truth, **options))


def test_a_clear_order_is_found() -> None:
    results = judged_by_texts()
    assert results.ranking[2:] == ["shuffled", "noise"]
    assert set(results.top_set) == {"clean", "copies"}
    assert results.judged_on["mode"] == "texts"
    assert results.judged_on["evals"] == ["text", "speech"]
    pair = results.pair("clean", "noise")
    assert (pair.a, pair.b, pair.verdict, pair.winner) == ("clean", "noise", "better", "clean")
    assert pair.simultaneous_low < pair.low < pair.difference < pair.high < 0
    assert pair.difference == pytest.approx(-0.15, abs=0.03)


def test_a_score_is_the_macro_average_of_total_bits_over_total_bytes() -> None:
    plan = plan_of(["a", "b"], seeds=2, texts=["x", "y"], own=False)
    plan = plan.model_copy(
        update={"evals": [e.model_copy(update={"documents": 2}) for e in plan.evals]}
    )
    sizes = {"x": np.array([100, 300]), "y": np.array([50, 50])}

    def run(bits: dict[str, Sequence[float]]) -> JobScores:
        nats = {name: np.array(values) * math.log(2) for name, values in bits.items()}
        return JobScores({n: DocumentScores(v, sizes[n], sizes[n]) for n, v in nats.items()}, {})

    good = run({"x": [100, 700], "y": [30, 70]})  # 2 and 1 bits per byte
    bad = run({"x": [800, 800], "y": [100, 100]})  # 4 and 2
    worse = run({"x": [800, 1600], "y": [100, 100]})  # 6 and 2
    results = judge(plan, {"a.s0": bad, "a.s1": worse, "b.s0": good, "b.s1": good})
    assert results.ranking == ["b", "a"]
    by_name = {d.name: d for d in results.datasets}
    assert by_name["a"].scores == pytest.approx([3, 4])
    assert by_name["b"].scores == pytest.approx([1.5, 1.5])
    assert results.seed_sd == pytest.approx(math.sqrt(0.5 / 2))  # squares 0.5 and 0, on 1 + 1
    assert results.matrix["a"]["x"].bits_per_byte == pytest.approx(5)
    assert results.matrix["b"]["y"].bits_per_byte == pytest.approx(1)
    assert results.pair("a", "b").difference == pytest.approx(-2)


def test_without_texts_a_pair_is_judged_on_the_parts_of_the_others() -> None:
    plan = plan_of(NAMES)
    results = judge(plan, scores_of(plan, truth))
    assert results.judged_on["mode"] == "others"
    assert results.pair("clean", "noise").evals == ["copies", "shuffled"]
    # Neither the home advantage of 0.5 nor the hard part of the noisy text is in it
    assert results.pair("clean", "noise").difference == pytest.approx(-0.15, abs=0.03)
    assert results.ranking[2:] == ["shuffled", "noise"]


def test_a_score_leaves_out_the_own_part_and_what_makes_a_part_hard() -> None:
    # All but `noise` are judged on its hard part: by plain means it would lead.
    plan = plan_of(NAMES)
    results = judge(plan, scores_of(plan, truth, seed_sd=0.001))
    scores = {d.name: d.score for d in results.datasets}
    plain = {
        d: np.mean([cell.bits_per_byte for e, cell in row.items() if e != d])
        for d, row in results.matrix.items()
    }
    assert min(plain, key=lambda d: plain[d]) == "noise"
    assert results.ranking[-1] == "noise"
    assert scores["noise"] - scores["clean"] == pytest.approx(0.15, abs=0.01)
    assert scores["shuffled"] - scores["clean"] == pytest.approx(0.08, abs=0.01)
    assert np.mean(list(scores.values())) == pytest.approx(2.5 + 0.0585 + 0.175, abs=0.05)


def test_the_home_advantage_is_told_and_the_ranking_with_it() -> None:
    plan = plan_of(NAMES)
    results = judge(plan, scores_of(plan, truth))
    homes = {home.dataset: home for home in results.home_advantage}
    # 0.5 better at home, less what the dataset is worse than the mean of the others
    assert homes["clean"].difference == pytest.approx(-0.5 - 0.078, abs=0.03)
    assert homes["clean"].low < homes["clean"].difference < homes["clean"].high < 0
    assert homes["noise"].difference == pytest.approx(-0.5 + 0.122, abs=0.03)
    assert results.home_included is not None
    assert results.home_included.scores["clean"] == pytest.approx(
        np.mean([cell.bits_per_byte for cell in results.matrix["clean"].values()])
    )
    assert results.home_excluded is None  # it is the verdict's


def test_with_texts_the_held_out_parts_give_a_ranking_beside_it() -> None:
    results = judged_by_texts()
    assert results.home_excluded is not None
    assert results.home_excluded.ranking[2:] == ["shuffled", "noise"]
    assert results.home_included is not None


def test_datasets_are_equivalent_by_held_out_parts_too() -> None:
    plan = plan_of(["a", "b", "c", "d"], texts=["text"], seeds=8, margin=0.05)
    results = judge(plan, scores_of(plan, lambda *_: 2.5, document_sd=0.002))
    assert results.home_included is not None
    assert results.home_excluded is not None
    for variant in (results.home_included, results.home_excluded):
        assert {pair["verdict"] for pair in variant.differences} == {"equivalent"}


def test_two_datasets_are_judged_on_both_parts_and_the_report_says_so() -> None:
    plan = plan_of(["clean", "noise"])
    results = judge(plan, scores_of(plan, truth))
    assert results.judged_on["mode"] == "all"
    assert results.pair("clean", "noise").evals == ["clean", "noise"]
    assert any("home advantage" in warning for warning in results.warnings)


def test_a_mixture_is_at_home_where_its_ingredients_are() -> None:
    own = {"a": {"a"}, "b": {"b"}, "c": {"c"}, "ab": {"a", "b"}}
    lens = choose_lens(own, ["a", "b", "c"])
    assert lens.mode == "all"  # c and ab have no part that is neither's
    plan = plan_of(["a", "b", "ab"], texts=[], mixtures={"ab": {"a": 0.5, "b": 0.5}})
    found = Evidence(plan, {}, {e.name: np.ones(DOCUMENTS, bool) for e in plan.evals}).own("ab")
    assert found == {"a", "b"}


def test_equal_datasets_are_not_told_apart_and_more_seeds_are_asked_for() -> None:
    results = judged_by_texts()
    pair = results.pair("clean", "copies")
    assert pair.verdict == "unresolved"
    assert pair.more_text is not None
    assert results.next_run is not None
    assert {results.next_run.a, results.next_run.b} == {"clean", "copies"}
    assert "is not resolved" in results.verdict


def test_many_seeds_show_that_two_are_equivalent() -> None:
    plan = plan_of(["a", "b", "c"], seeds=8, texts=["text"], margin=0.05)
    results = judge(plan, scores_of(plan, lambda d, _: 2.5 + 0.2 * (d == "c")))
    assert results.pair("a", "b").verdict == "equivalent"
    assert "equivalent: they differ by less than 0.050" in results.verdict
    assert results.next_run is None


def test_a_difference_below_the_documents_error_asks_for_text() -> None:
    plan = plan_of(["a", "b"], texts=["text"], own=False, margin=0.001)
    scores = scores_of(plan, lambda d, _: 2.5 + 0.02 * (d == "b"), seed_sd=1e-4, document_sd=0.2)
    pair = judge(plan, scores).pair("a", "b")
    assert (pair.verdict, pair.towards) == ("unresolved", "better")
    assert pair.more_text is not None
    assert pair.more_text > 1


def test_a_difference_far_within_the_margin_asks_for_what_shows_that_it_is() -> None:
    plan = plan_of(["a", "b", "c"], texts=["text"], margin=0.03)
    scores = scores_of(plan, lambda d, _: 2.5 + 0.2 * (d == "c"), seed_sd=0.02, document_sd=0.01)
    pair = judge(plan, scores).pair("a", "b")
    assert (pair.verdict, pair.towards) == ("unresolved", "equivalent")
    assert pair.more_seeds is not None
    more = plan_of(["a", "b", "c"], texts=["text"], margin=0.03, seeds=3 + pair.more_seeds)
    found = [
        judge(more, scores_of(more, lambda *_: 2.5, seed_sd=0.02, seed=s)).pair("a", "b").verdict
        for s in range(10)
    ]
    assert found.count("equivalent") >= 5


def test_what_the_experiment_can_find_is_told() -> None:
    few, many = (
        judge(plan, scores_of(plan, truth)).minimum_detectable_difference
        for plan in (plan_of(NAMES, seeds=s, texts=["text"]) for s in (2, 12))
    )
    assert few is not None
    assert many is not None
    assert 0.005 < many < few < 0.2


def test_one_seed_leaves_everything_open() -> None:
    plan = plan_of(NAMES, seeds=1, texts=["text"])
    results = judge(plan, scores_of(plan, truth, seed_sd=0.001))
    assert results.ranking[-1] == "noise"
    assert {pair.verdict for pair in results.pairs} == {"unresolved"}
    assert results.seed_sd is None
    assert results.minimum_detectable_difference is None
    assert results.top_set == results.ranking
    assert "one seed" in results.verdict


def test_a_single_dataset_has_its_scores_and_no_pairs() -> None:
    plan = plan_of(["clean"])
    results = judge(plan, scores_of(plan, truth))
    assert (results.ranking, results.pairs, results.home_advantage) == (["clean"], [], [])
    assert "only dataset" in results.verdict


def test_failed_runs_are_left_out_and_named() -> None:
    plan = plan_of(NAMES, texts=["text"])
    scores = scores_of(plan, truth)
    for name in ("clean.s1", "noise.s0", "noise.s1", "noise.s2"):
        del scores[name]
    results = judge(plan, scores, failed={"clean.s1": "no memory", "noise.s0": "no memory"})
    assert "noise" not in results.ranking
    assert {d.name: d.seeds for d in results.datasets}["clean"] == 2
    told = " ".join(results.warnings)
    assert "2 of 12 runs failed twice" in told
    assert "2 of 12 runs have not been made: noise.s1 and noise.s2" in told
    assert "No run of noise has finished" in told
    states = {run.name: (run.state, run.error) for run in results.runs}
    assert states["clean.s1"] == ("failed", "no memory")
    assert states["noise.s2"] == ("not run", None)
    assert states["clean.s0"] == ("finished", None)


def test_nothing_finished_is_an_error() -> None:
    with pytest.raises(DataError, match="No run"):
        judge(plan_of(NAMES), {})


def with_dropped(names: Sequence[str], dropped: int) -> list[EvalSet]:
    return [e.model_copy(update={"dropped": dropped}) for e in plan_of(names, texts=["text"]).evals]


def test_contaminated_documents_are_left_out_and_the_ranking_with_them_is_told() -> None:
    # `noise` has learned a fifth of the text by heart
    plan = plan_of(NAMES, texts=["text"], evals=with_dropped(NAMES, 10))
    scores = scores_of(plan, truth, seed_sd=0.002)
    known = np.arange(DOCUMENTS) < 10
    for name, run in scores.items():
        if name.startswith("noise"):
            run.evals["text"].nats[known] = 0
    flags = {e.name: known for e in plan.evals}
    results = judge(plan, scores, contaminated=flags)
    assert results.ranking[-1] == "noise"
    assert results.with_contaminated is not None
    assert results.with_contaminated.ranking[0] == "noise"
    assert ["noise", "clean"] in results.with_contaminated.undecided
    assert any("the ranking would be another: noise" in warning for warning in results.warnings)
    assert judge(plan, scores).with_contaminated is None


def test_a_set_without_clean_documents_is_not_judged_on() -> None:
    evals = plan_of(["a", "b"], texts=["x", "y"], own=False).evals
    evals = [evals[0].model_copy(update={"dropped": DOCUMENTS}), evals[1]]
    plan = plan_of(["a", "b"], texts=["x", "y"], own=False, evals=evals)
    scores = scores_of(plan, lambda *_: 2.0)
    results = judge(plan, scores, contaminated={"x": np.ones(DOCUMENTS, bool)})
    assert results.judged_on["evals"] == ["y"]
    every = {name: np.ones(DOCUMENTS, bool) for name in "xy"}
    with pytest.raises(DataError, match="--eval"):
        judge(plan, scores, contaminated=every)


def test_a_set_with_one_clean_document_is_not_judged_on() -> None:
    # Its error is not known: taken for nothing, it would decide pairs.
    evals = plan_of(["a", "b"], texts=["x", "y"], own=False).evals
    evals = [evals[0].model_copy(update={"dropped": DOCUMENTS - 1}), evals[1]]
    plan = plan_of(["a", "b"], texts=["x", "y"], own=False, evals=evals)
    scores = scores_of(plan, lambda *_: 2.0)
    but_one = np.arange(DOCUMENTS) > 0
    results = judge(plan, scores, contaminated={"x": but_one})
    assert results.judged_on["evals"] == ["y"]
    with pytest.raises(DataError, match="more, --eval"):
        judge(plan, scores, contaminated={"x": but_one, "y": but_one})


def test_other_learning_rates_that_agree_are_said_to() -> None:
    plan = plan_of(NAMES, texts=["text"], rates=[0.5, 2.0])
    results = judge(plan, scores_of(plan, truth, seed_sd=0.002))
    assert [(check.rate, check.seeds) for check in results.rates] == [(0.5, 1), (2.0, 1)]
    assert all(not check.variant.flips for check in results.rates)
    assert all((check.variant.tau or 0) > 0.6 for check in results.rates)
    assert "At half and twice the learning rates no verdict turns round." in results.verdict


def test_a_verdict_that_turns_with_the_learning_rate_is_told() -> None:
    plan = plan_of(["a", "b", "c"], texts=["text"], rates=[0.5, 2.0])

    def at_rate(dataset: str, rate: float) -> float:
        return {("a", 2.0): 0.4, ("b", 0.5): -0.3, ("c", 0.5): 0.1}.get((dataset, rate), 0.0)

    scores = scores_of(plan, lambda d, _: 2.5 + 0.2 * "abc".index(d), at_rate=at_rate)
    results = judge(plan, scores)
    half, twice = results.rates
    assert results.ranking == ["a", "b", "c"]
    assert half.variant.ranking == ["b", "a", "c"]
    assert half.variant.flips == [["b", "a"]]
    assert ["b", "a"] in twice.variant.flips
    assert half.variant.tau == pytest.approx(1 / 3)
    assert "At half the learning rates the verdict on b and a turns round." in results.verdict
    assert results.best_rates is not None
    assert results.best_rates.rates["b"] == 0.5
    assert results.best_rates.rates["c"] != 0.5
    assert results.best_rates.variant.ranking[0] == "b"


def test_a_dataset_without_a_run_at_the_planned_rate_is_left_out_of_the_check() -> None:
    plan = plan_of(["a", "b", "c"], texts=["text"], own=False, rates=[0.5])
    scores = scores_of(plan, lambda d, _: 2.5 + 0.2 * "abc".index(d))
    ran = {name: own for name, own in scores.items() if not name.startswith("c.") or "x0.5" in name}
    results = judge(plan, ran)
    assert results.ranking == ["a", "b"]
    [check] = results.rates
    assert check.variant.ranking == ["a", "b"]
    assert any("No run of c has finished" in warning for warning in results.warnings)
    del ran["b.s0.x0.5"]
    assert judge(plan, ran).rates == []


def test_the_best_rate_is_chosen_on_replicates_that_all_rates_have() -> None:
    # The first run has bad luck at any rate, so that half the rate is below it, and not the mean.
    plan = plan_of(["a", "b"], texts=["text"], own=False, rates=[0.5])
    scores = scores_of(plan, lambda *_: 2.0, seed_sd=0.0, at_rate=lambda _, rate: 0.1 * rate)
    for name in ("a.s0", "a.s0.x0.5"):
        scores[name].evals["text"].nats[:] += scores[name].evals["text"].bytes
    best = judge(plan, scores).best_rates
    assert best is not None
    assert best.rates == {"a": 0.5, "b": 0.5}
    assert best.replicates == {"a": 1, "b": 1}


def test_the_best_rate_stays_the_planned_one_where_no_replicate_was_run_at_both() -> None:
    plan = plan_of(["a", "b"], texts=["text"], own=False, rates=[0.5])
    scores = scores_of(plan, lambda *_: 2.0, at_rate=lambda _, rate: 0.1 * rate)
    del scores["a.s0"]
    best = judge(plan, scores).best_rates
    assert best is not None
    assert best.rates == {"a": 1.0, "b": 0.5}


def test_runs_count_once_in_the_scatter_behind_the_best_rates() -> None:
    # At the best rates these are the verdict's runs: the same intervals, to the last digit.
    plan = plan_of(["a", "b", "c"], texts=["text"], rates=[0.5])
    worse = scores_of(plan, lambda *_: 2.0, at_rate=lambda _, rate: 0.0 if rate == 1 else 9.0)
    results = judge(plan, worse)
    assert results.best_rates is not None
    assert set(results.best_rates.rates.values()) == {1.0}
    for pair in results.best_rates.variant.differences:
        same = results.pair(pair["a"], pair["b"])
        assert (pair["low"], pair["high"]) == (same.low, same.high)


def test_a_mixture_of_a_dataset_is_none_of_the_others_on_its_part() -> None:
    mixtures = {"ab": {"a": 0.5, "b": 0.5}}
    plan = plan_of(["a", "b", "ab"], mixtures=mixtures)
    home = {("a", "a"): -0.5, ("b", "b"): -0.5, ("ab", "a"): -0.4, ("ab", "b"): -0.4}
    scores = scores_of(plan, lambda d, e: 2.5 + home.get((d, e), 0.0), seed_sd=0.001)
    found = {h.dataset: h.difference for h in judge(plan, scores).home_advantage}
    assert found == pytest.approx({"a": -0.5, "b": -0.5}, abs=0.03)
    plan = plan_of(["a", "ab", "a2"], mixtures={"ab": {"a": 0.5, "a2": 0.5}, "a2": {"a": 1.0}})
    assert judge(plan, scores_of(plan, lambda *_: 2.0)).home_advantage == []


def test_tasks_have_chance_levels_and_intervals() -> None:
    plan = plan_of(["a", "b"], tasks={"cloze": 0.25, "order": 0.5})
    scores = scores_of(plan, lambda *_: 2.0)
    for run in scores.values():
        run.tasks["cloze"][:] = np.arange(40) < 30
    results = judge(plan, scores)
    cloze, order = (next(t for t in results.tasks if t.task == n) for n in ("cloze", "order"))
    assert (cloze.accuracy, cloze.items, cloze.chance) == (0.75, 40, 0.25)
    assert cloze.low == pytest.approx(0.5960, abs=1e-4)  # Wilson's for 29.25 of 39: n - 1
    assert cloze.high == pytest.approx(0.8592, abs=1e-4)
    assert cloze.above_chance
    assert not order.above_chance


def test_items_of_one_document_count_as_far_as_they_tell_something_new() -> None:
    plan = plan_of(["a", "b"], tasks={"cloze": 0.25})
    scores = scores_of(plan, lambda *_: 2.0)
    for run in scores.values():
        run.tasks["cloze"][:] = np.arange(40) < 30
    alone, fives = (
        judge(plan, scores, groups={"cloze": [item // size for item in range(40)]}).tasks[0]
        for size in (1, 5)
    )
    assert alone == judge(plan, scores).tasks[0]
    assert fives.low == pytest.approx(0.3889, abs=1e-4)  # Wilson's for 5.25 of 7: of 8 documents
    assert fives.high == pytest.approx(0.9340, abs=1e-4)
    sure = judge(plan.model_copy(update={"alpha": 0.01}), scores).tasks[0]
    assert sure.high - sure.low > 1.2 * (alone.high - alone.low)


def test_seeds_that_scatter_unlike_are_warned_of() -> None:
    plan = plan_of(NAMES, seeds=6, texts=["text"])
    scores = scores_of(plan, truth)
    for s, shift in enumerate([-0.3, 0.3, -0.2, 0.2, -0.25, 0.25]):
        nats = scores[f"noise.s{s}"].evals["text"].nats
        nats += shift * scores[f"noise.s{s}"].evals["text"].bytes
    assert any("The seeds of noise scatter" in w for w in judge(plan, scores).warnings)
    assert not any("scatter" in w for w in judged_by_texts().warnings)


def test_chances_follow_the_scores() -> None:
    results = judged_by_texts()
    by_name = {d.name: d for d in results.datasets}
    assert sum(d.p_best for d in results.datasets) == pytest.approx(1)
    assert by_name["noise"].p_best < 0.01
    assert by_name["noise"].expected_regret == pytest.approx(0.15, abs=0.03)
    assert (by_name["noise"].best_rank, by_name["noise"].worst_rank) == (4, 4)
    assert (by_name["clean"].best_rank, by_name["clean"].worst_rank) == (1, 2)
    for dataset in results.datasets:
        assert dataset.low < dataset.score < dataset.high


def test_nothing_measured_is_in_the_results() -> None:
    slow = plan_of(NAMES, seconds_per_job=9.0, workers=7, minutes_expected=3.0)
    quick = plan_of(NAMES)
    scores = scores_of(quick, truth)
    assert judge(slow, scores) == judge(quick, scores)


@pytest.mark.parametrize("texts", [(), ("text",)])
def test_equal_datasets_are_told_apart_as_seldom_as_alpha_says(texts: Sequence[str]) -> None:
    # 5 % of 200 experiments: more than 20 have a probability of 0.001
    decided = 0
    plan = plan_of(["a", "b", "c", "d"], texts=texts)
    kept = {e.name: np.ones(DOCUMENTS, bool) for e in plan.evals}
    for seed in range(200):
        scores = scores_of(plan, lambda d, e: 2.0 - (d == e), seed=seed, document_sd=0.0)
        evidence = Evidence(plan, scores, kept)
        compared = compare_through(evidence.lens, evidence.table(), alpha=0.05)
        decided += any(pair.winner for pair in compared.pairs)
    assert decided <= 20
