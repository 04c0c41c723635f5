from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from invented_runs import write_scores
from seedbed.config import build
from seedbed.errors import ConfigError
from seedbed.experiments.compare import plan_comparison
from seedbed.experiments.ladder import (
    LadderConfig,
    Rung,
    climb,
    find_rungs,
    rung_config,
    top_config,
    top_folder,
)
from seedbed.experiments.ladder_fits import ScalingLaw
from seedbed.experiments.plan import Job, Plan
from small_experiment import small_settings

LAWS = {"a": ScalingLaw(1.0, 60.0, 900.0, 0.4, 0.5), "b": ScalingLaw(1.3, 60.0, 900.0, 0.4, 0.5)}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("texts")
    return {
        **small_settings(folder, model={"context_length": 64}, budget=None),
        "sizes": "40k,80k,160k",
        "budgets": "4k bytes,8k bytes,16k bytes",
        "seeds": 2,
    }


def invent(config: LadderConfig, out: Path, rungs: Sequence[Rung]) -> None:
    """Plan every rung, and write scores by the laws in place of training."""
    for rung in rungs:
        folder = out / "rungs" / rung.name
        plan = plan_comparison(
            rung_config(config, rung, top_folder(config, out)), folder, quiet=True
        )

        def loss(job: Job, text: str, plan: Plan = plan) -> float:
            seen = plan.dataset(job.dataset).bytes_per_run
            return float(LAWS[job.dataset](plan.parameters, seen)) + 0.1 * (len(text) % 5)

        write_scores(folder, plan, loss, sd=0.003)


@pytest.fixture(scope="module")
def found(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, LadderConfig, dict[str, Any]]:
    config = build(LadderConfig, settings)
    out = tmp_path_factory.mktemp("ladder") / "out"
    results = climb(config, out, announce=lambda rungs, _: invent(config, out, rungs), quiet=True)
    assert results is not None
    return out, config, results


def test_the_verdict_is_the_tops_and_the_order_is_foretold(
    found: tuple[Path, LadderConfig, dict[str, Any]],
) -> None:
    out, _, results = found
    top = json.loads((out / "rungs" / "160k.b3" / "results.json").read_text())
    assert results["verdict"] == top["verdict"]
    assert results["ranking"] == results["foretold_ranking"] == ["a", "b"]
    assert [pair["order"] for pair in results["foretold_pairs"]] == ["holds"]


def test_a_rung_has_each_size_and_budget_and_one_tokenizer(
    found: tuple[Path, LadderConfig, dict[str, Any]],
) -> None:
    out, config, results = found
    assert [rung["name"] for rung in results["rungs"]][::4] == ["40k.b1", "80k.b2", "160k.b3"]
    assert len(results["rungs"]) == 9
    rungs = find_rungs(config, top_folder(config, out))
    asked = rung_config(config, rungs[0], top_folder(config, out))
    assert asked.tokenizer == str(top_folder(config, out).absolute() / "tokenizer")
    assert (asked.model.size, asked.budget, asked.seeds) == ("40k", "4000 bytes", 2)


def test_the_loss_beyond_the_ladder_is_foretold_with_an_interval(
    found: tuple[Path, LadderConfig, dict[str, Any]],
) -> None:
    _, _, results = found
    parameters = results["rungs"][-1]["parameters"]
    assert results["foretold_at"] == {"parameters": 4.0 * parameters, "bytes": 64_000.0}
    for name, law in LAWS.items():
        facts = results["datasets"][name]
        truth = float(law(4.0 * parameters, 64_000.0)) + 0.2  # a text costs so much more
        assert facts["foretold"]["predicted"] == pytest.approx(truth, rel=0.05)
        assert facts["foretold"]["low"] < facts["foretold"]["high"]
        assert facts["back_test"]["observed"] > 0
        low, high = facts["law_intervals"]["beta"]
        assert low <= facts["law"]["beta"] <= high


def test_the_same_call_again_runs_nothing_and_says_the_same(
    found: tuple[Path, LadderConfig, dict[str, Any]],
) -> None:
    out, config, results = found
    assert climb(config, out, quiet=True) == results
    assert json.loads((out / "results.json").read_text()) == results
    summary = (out / "summary.txt").read_text()
    assert summary.startswith("At the largest size and budget: a is better than b")
    assert "a is expected to stay better than b" in summary
    assert not list(out.glob("rungs/*/runs"))
    other = config.model_copy(update={"seeds": 3})
    with pytest.raises(ConfigError, match="holds another ladder: `seeds` was 2 and is 3"):
        climb(other, out, quiet=True)


def test_another_size_is_foretold_from_a_finished_ladder(
    found: tuple[Path, LadderConfig, dict[str, Any]], tmp_path: Path
) -> None:
    out, config, results = found
    again = tmp_path / "again"
    shutil.copytree(out, again)
    other = config.model_copy(update={"to_size": "2m", "to_budget": "1m bytes"})
    told = climb(other, again, quiet=True)
    assert told is not None
    assert told["foretold_at"] == {"parameters": 2e6, "bytes": 1e6}
    assert {**told, "rungs": 0}.keys() == {**results, "rungs": 0}.keys()
    assert told["rungs"] == results["rungs"]
    assert climb(config, again, quiet=True) == results  # and back


def test_a_ladder_that_was_moved_goes_on(
    found: tuple[Path, LadderConfig, dict[str, Any]], tmp_path: Path
) -> None:
    out, config, results = found
    moved = tmp_path / "elsewhere"
    shutil.copytree(out, moved)
    shutil.rmtree(moved / "rungs" / "80k.b3")  # which has to be planned there

    def announce(rungs: Sequence[Rung], _: Plan) -> None:
        invent(config, moved, [rung for rung in rungs if rung.name == "80k.b3"])

    assert climb(config, moved, announce=announce, quiet=True) == results
    rung = json.loads((moved / "rungs" / "80k.b2" / "request.json").read_text())
    assert rung["tokenizer"] == str(moved / "rungs" / "160k.b3" / "tokenizer")


def test_minutes_are_for_all_rungs(settings: dict[str, Any]) -> None:
    changes = {"budgets": (), "minutes": 20.0, "sizes": ("50k", "100k", "200k")}
    top = top_config(build(LadderConfig, settings, changes))
    assert top.minutes == pytest.approx(20 / (1.75 * 1.75), abs=0.001)
    assert top.model.size == "200k"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sizes": "1m,2m"}, "Give three or more, all different"),
        ({"sizes": "1m,2m,3m,2000k"}, "Give three or more, all different"),
        ({"sizes": "1m,2m,big"}, "Write a count such as 1m"),
        ({"budgets": "1m bytes"}, "Give two or more, all different"),
        ({"budgets": "1m bytes,2m bytes,1000k bytes"}, "Give two or more, all different"),
        ({"to_size": "huge"}, "Write a count such as 1m"),
        ({"budgets": "1m tokens,2m tokens"}, "bytes of text"),
        ({"to_budget": "3 epochs"}, "bytes of text"),
        ({"minutes": 3.0}, "or `minutes` decide"),
        ({"model": {"size": "1m"}}, "leave out `model`'s size"),
    ],
)
def test_what_cannot_be_asked_is_told(
    settings: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        build(LadderConfig, settings, change)
