from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invented_runs import write_scores
from made_up_languages import documents, write_languages
from seedbed.config import build
from seedbed.errors import ConfigError, DataError
from seedbed.experiments.compare import plan_comparison
from seedbed.experiments.mixture_config import MixtureConfig, confirming_config, design_config
from seedbed.experiments.mixture_results import fit_runs, weight_limits
from seedbed.experiments.mixtures import mix
from seedbed.experiments.plan import ExperimentDir, Job, Plan

COUNT = 80
SECOND = set(documents(2, COUNT, seed=0)) | set(documents(2, 20, seed=1))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    files = write_languages(tmp_path_factory.mktemp("texts"), COUNT, held_out=20)
    return {
        "datasets": {name: str(files[name]) for name in ("one", "two", "junk")},
        "evals": {"target": str(files["target"])},
        "budget": "8k bytes",
        "runs": 15,
        "tokenizer": "byte",
        "model": {"d_model": 32, "num_layers": 1, "context_length": 64},
        "batch_size": 4,
        "precision": "fp32",
    }


def inventing(out: Path) -> Callable[[Plan], None]:
    """Return an `announce` that writes scores, by a law, in place of training."""

    def announce(plan: Plan) -> None:
        def loss(job: Job, text: str) -> float:
            weights = plan.dataset(job.dataset).mixture or {job.dataset: 1.0}
            known = weights.get("two" if text in SECOND else "one", 0.0)
            return 1.2 + math.exp(0.5 - 3.5 * known) + 0.1 * (len(text) % 7)

        write_scores(out / ("design" if plan.seeds == 1 else "confirm"), plan, loss)

    return announce


@pytest.fixture(scope="module")
def found(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("mixture") / "out"
    results = mix(build(MixtureConfig, settings), out, announce=inventing(out), quiet=True)
    assert results is not None
    return out, results


def test_the_planted_mixture_is_proposed_and_confirmed(found: tuple[Path, dict[str, Any]]) -> None:
    _, results = found
    truth = {"one": 0.5, "two": 0.5, "junk": 0.0}
    weights = results["proposal"]["weights"]
    assert sum(abs(weights[name] - truth[name]) for name in truth) < 0.2
    assert results["fit"]["model"] == "law by kinds"
    confirmed = results["confirmation"]
    assert confirmed["ranking"][0] == "proposed"
    assert confirmed["regret"] == 0.0
    assert {pair["verdict"] for pair in confirmed["pairs"] if pair["a"] == "proposed"} == {"better"}
    assert abs(results["predictions"]["proposed"] - results["proposal"]["predicted"]) < 1e-9


def test_what_was_found_is_written_and_said(found: tuple[Path, dict[str, Any]]) -> None:
    out, results = found
    assert json.loads((out / "results.json").read_text()) == results
    summary = (out / "summary.txt").read_text().splitlines()
    assert summary[0].startswith("The proposed mixture, in shares of bytes: ")
    assert summary[1].startswith("Confirmed with fresh seeds: proposed is ")
    assert any("rank correlation" in line for line in summary)


def test_runs_are_the_sources_alone_and_the_designed_mixtures(
    found: tuple[Path, dict[str, Any]],
) -> None:
    _, results = found
    runs = {run["name"]: run["weights"] for run in results["runs"]}
    assert list(runs)[:4] == ["one", "two", "junk", "mix-01"]
    assert len(runs) == 15
    assert runs["two"] == {"one": 0.0, "two": 1.0, "junk": 0.0}
    assert [run["bits_per_byte"] for run in results["runs"][3:6]] == pytest.approx(
        [results["runs"][3]["bits_per_byte"]] * 3, abs=0.1
    )


def test_a_search_that_was_killed_between_its_experiments_goes_on_to_the_same_end(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config, out = build(MixtureConfig, settings), tmp_path / "out"
    invent = inventing(out)

    def die_at_the_confirmation(plan: Plan) -> None:
        if plan.seeds > 1:
            raise KeyboardInterrupt
        invent(plan)

    with pytest.raises(KeyboardInterrupt):
        mix(config, out, announce=die_at_the_confirmation, quiet=True)
    fitted = (out / "fit.json").stat().st_mtime_ns
    results = mix(config, out, announce=inventing(out), quiet=True)
    assert results == found[1]
    assert (out / "fit.json").stat().st_mtime_ns == fitted


def test_the_same_call_again_runs_nothing(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]]
) -> None:
    out, results = found
    assert mix(build(MixtureConfig, settings), out, quiet=True) == results
    assert not (out / "design" / "runs").exists()


def test_a_search_that_was_moved_goes_on(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(found[0], tmp_path / "elsewhere")
    assert mix(build(MixtureConfig, settings), tmp_path / "elsewhere", quiet=True) == found[1]


def test_another_request_and_another_folder_are_refused(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="`runs` was 15 and is 16"):
        mix(build(MixtureConfig, settings, {"runs": 16}), found[0], quiet=True)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match=r"holds thesis\.txt and is no mixture"):
        mix(build(MixtureConfig, settings), tmp_path, quiet=True)


def test_too_little_text_for_the_run_that_it_is_for_is_told(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]]
) -> None:
    config = build(MixtureConfig, settings, {"intended_budget": "100m bytes"})
    with pytest.raises(DataError, match=r"too little for 100,000,000 bytes"):
        fit_runs(config, found[0] / "design")
    tight = build(MixtureConfig, settings, {"intended_budget": "150k bytes"})
    proposal = fit_runs(tight, found[0] / "design")["proposal"]
    assert all(epochs <= 4.02 for epochs in proposal["epochs"].values())
    assert 0 < proposal["limits"]["one"] <= 1


def test_too_little_text_is_told_before_any_run(settings: dict[str, Any], tmp_path: Path) -> None:
    config = build(MixtureConfig, settings, {"intended_budget": "100m bytes"})
    with pytest.raises(DataError, match=r"too little for 100,000,000 bytes"):
        mix(config, tmp_path / "out", announce=inventing(tmp_path / "out"), quiet=True)
    assert (tmp_path / "out" / "design" / "plan.json").exists()
    assert not (tmp_path / "out" / "design" / "scores").exists()


def test_limits_are_of_the_text_that_is_left_when_whole_documents_are_held_out(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    changes = {"eval_bytes": 2000, "intended_budget": "150k bytes"}
    config = build(MixtureConfig, settings, changes)
    plan = plan_comparison(design_config(config), tmp_path / "out", quiet=True)
    held_out = [d.text for d in ExperimentDir(tmp_path / "out").read_eval("one")]  # cut
    documents = [
        json.loads(line)["text"]
        for line in Path(settings["datasets"]["one"]).read_text(encoding="utf-8").splitlines()
    ]
    left = [d for d in documents if not any(d.startswith(beginning) for beginning in held_out)]
    size = sum(len(d.encode()) for d in left)
    assert len(left) < len(documents)
    assert weight_limits(config, plan)[0] == pytest.approx(4 * size / 150_000)


def test_a_source_that_changed_between_design_and_confirmation_is_refused(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(found[0], out)
    shutil.rmtree(out / "confirm")  # as if the call had been stopped before
    source = Path(settings["datasets"]["one"])
    text = source.read_text(encoding="utf-8")
    try:
        source.write_text(text + '{"text": "More."}\n', encoding="utf-8")
        with pytest.raises(DataError, match=r"one\.jsonl` changed since the plan"):
            mix(build(MixtureConfig, settings), out, announce=inventing(out), quiet=True)
    finally:
        source.write_text(text, encoding="utf-8")


def test_minutes_are_shared_between_design_and_confirmation(settings: dict[str, Any]) -> None:
    by_time = {**settings, "budget": None, "minutes": 24.0}
    assert design_config(build(MixtureConfig, by_time)).minutes == 15.0
    checked = {**by_time, "minutes": 39.0, "rates": [0.5, 2.0], "rate_seeds": 5}
    assert design_config(build(MixtureConfig, checked)).minutes == 13.929  # 15 runs of 15 + 27


def test_the_confirmation_has_the_designs_size_and_other_seeds(
    settings: dict[str, Any], found: tuple[Path, dict[str, Any]]
) -> None:
    config, folder = build(MixtureConfig, settings), found[0] / "design"
    design = design_config(config)
    confirming = confirming_config(config, folder, {"proposed": {"one": 0.6, "two": 0.4}})
    assert confirming.model.d_model == 32
    assert (confirming.seeds, confirming.seed, design.seed) == (3, 1, 0)
    assert confirming.tokenizer == str(folder.absolute() / "tokenizer")
    assert confirming.datasets["proposed"].mixture == {"one": 0.6, "two": 0.4}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runs": 8}, "3 datasets need 9"),
        ({"intended_budget": "1m tokens"}, "Write bytes of text"),
        ({"ingredients": {"x": "x.txt"}}, "no mixtures, no ingredients"),
        ({"datasets": {"uniform": "x.txt"}, "runs": None}, "`uniform` is what a mixture"),
    ],
)
def test_what_cannot_be_asked_is_told(
    settings: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        build(MixtureConfig, settings, change)


def test_one_dataset_is_no_mixture(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="two datasets or more"):
        build(MixtureConfig, {**settings, "datasets": {"one": "one.txt"}})
