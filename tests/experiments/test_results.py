from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from invented_scores import plan_of, scores_of
from seedbed.experiments.results import to_json, write_results
from seedbed.experiments.verdict import judge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the results of three datasets, of which a run failed."""
    plan = plan_of(["a", "b", "c"], seeds=2, rates=[2.0], texts=["text"], tasks={"order": 0.5})
    scores = scores_of(plan, lambda d, _: 2.0 + 0.3 * (d == "b"))
    del scores["c.s1"]
    write_results(tmp_path, judge(plan, scores, failed={"c.s1": "no memory"}))
    return tmp_path


def test_the_promised_names_are_there(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    assert {"ranking", "pairs", "matrix", "runs", "plan", "warnings"} <= set(results)
    assert results["ranking"][-1] == "b"
    promised = {"a", "b", "difference", "low", "high", "p_adjusted", "verdict"}
    assert all(promised <= set(pair) for pair in results["pairs"])
    pair = next(p for p in results["pairs"] if "b" in (p["a"], p["b"]))
    assert pair["verdict"] == "better"
    assert pair["difference"] < 0
    assert pair["b"] == "b"
    assert set(results["matrix"]) == {"a", "b", "c"}
    assert set(results["matrix"]["a"]) == {"a", "b", "c", "text"}
    assert results["matrix"]["a"]["text"]["bits_per_byte"] == pytest.approx(2, abs=0.2)
    assert results["plan"]["seeds"] == 2


def test_the_table_has_a_line_for_each_run_and_set(folder: Path) -> None:
    with (folder / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 8 * 4 + 1  # 9 runs on 4 sets, of which one has no scores
    first = lines[0]
    assert (first["run"], first["dataset"], first["rate"], first["eval"]) == (
        "a.s0",
        "a",
        "1.0",
        "a",
    )
    assert float(first["bits_per_byte"]) == pytest.approx(2, abs=0.2)
    failed = next(line for line in lines if line["run"] == "c.s1")
    assert (failed["state"], failed["bits_per_byte"]) == ("failed", "")


def test_a_number_that_there_is_not_is_null_and_the_json_is_strict() -> None:
    plan = plan_of(["a", "b", "c"], seeds=1)
    values = to_json(judge(plan, scores_of(plan, lambda *_: 2.0)))
    text = json.dumps(values, allow_nan=False)
    assert json.loads(text)["pairs"][0]["p_adjusted"] is None


def test_the_same_scores_give_the_same_bytes(folder: Path) -> None:
    before = (folder / "results.json").read_bytes(), (folder / "results.csv").read_bytes()
    plan = plan_of(["a", "b", "c"], seeds=2, rates=[2.0], texts=["text"], tasks={"order": 0.5})
    scores = scores_of(plan, lambda d, _: 2.0 + 0.3 * (d == "b"))
    del scores["c.s1"]
    reversed_scores = dict(reversed(scores.items()))  # jobs end in any order
    write_results(folder, judge(plan, reversed_scores, failed={"c.s1": "no memory"}))
    assert before == ((folder / "results.json").read_bytes(), (folder / "results.csv").read_bytes())
