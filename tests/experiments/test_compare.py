from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from seedbed.data.samples import sample_stories
from seedbed.errors import ConfigError
from seedbed.experiments.compare import compare, plan_comparison
from seedbed.experiments.config import ExperimentConfig
from seedbed.experiments.plan import Plan
from seedbed.experiments.results import Results, to_json


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    """Return an experiment of seconds: stories, and the same with their letters in disorder."""
    folder = tmp_path_factory.mktemp("texts")
    texts = list(sample_stories(80, seed=1))
    generator = random.Random(0)
    noisy = ["".join(generator.sample(text, len(text))) for text in texts]
    for name, documents in {"clean": texts, "noisy": noisy}.items():
        lines = [json.dumps({"text": text}) + "\n" for text in documents]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    held_out = [json.dumps({"text": text}) + "\n" for text in sample_stories(12, seed=2)]
    (folder / "other.jsonl").write_text("".join(held_out))
    return ExperimentConfig.model_validate(
        {
            "datasets": {name: str(folder / f"{name}.jsonl") for name in ("clean", "noisy")},
            "evals": {"other": str(folder / "other.jsonl")},
            "eval_bytes": 5000,
            "model": {"d_model": 32, "num_layers": 1, "num_heads": 2, "context_length": 64},
            "budget": "30k bytes",
            "seeds": 2,
            "rates": [],
            "tokenizer": "byte",
        }
    )


@pytest.fixture(scope="module")
def done(
    config: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Results]:
    """Return the folder of the experiment, and what `compare` said."""
    folder = tmp_path_factory.mktemp("experiment") / "noise"
    seen: list[tuple[Plan, bool]] = []
    results = compare(
        config,
        folder,
        workers=2,
        announce=lambda plan: seen.append((plan, (folder / "runs").exists())),
        quiet=True,
    )
    assert results is not None
    assert [(len(plan.jobs), trained) for plan, trained in seen] == [(4, False)]
    return folder, results


def test_the_better_text_wins(done: tuple[Path, Results]) -> None:
    _, results = done
    assert results.ranking == ["clean", "noisy"]
    assert results.pair("clean", "noisy").verdict == "better"
    assert results.verdict.startswith("clean is better than noisy")
    assert {run.state for run in results.runs} == {"finished"}


def test_what_was_found_is_written(done: tuple[Path, Results]) -> None:
    folder, results = done
    assert json.loads((folder / "results.json").read_text()) == to_json(results)
    assert (folder / "results.csv").read_text().count("\n") == 1 + 4 * 3
    assert results.verdict in (folder / "report.md").read_text()
    assert (folder / "report.html").is_file()


def test_the_same_call_again_trains_nothing(
    done: tuple[Path, Results], config: ExperimentConfig
) -> None:
    folder, results = done
    before = {path: path.stat().st_mtime_ns for path in (folder / "scores").iterdir()}
    assert compare(config, folder, quiet=True) == results
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "scores").iterdir()}


def test_what_is_missing_is_done_again_with_the_same_result(
    done: tuple[Path, Results], config: ExperimentConfig
) -> None:
    folder, _ = done
    before = (folder / "results.json").read_bytes()
    (folder / "results.json").unlink()
    (folder / "scores" / "noisy.s1.npz").unlink()
    compare(config, folder, workers=1, quiet=True)
    assert (folder / "results.json").read_bytes() == before


def test_another_request_is_refused_by_name(
    done: tuple[Path, Results], config: ExperimentConfig
) -> None:
    folder, _ = done
    with pytest.raises(ConfigError, match="`seeds`"):
        compare(config.model_copy(update={"seeds": 3}), folder, quiet=True)
    with pytest.raises(ConfigError, match="`race`"):
        plan_comparison(config.model_copy(update={"race": True}), folder, quiet=True)


def test_a_race_is_judged_at_the_level_of_a_look(
    done: tuple[Path, Results], config: ExperimentConfig, tmp_path: Path
) -> None:
    folder, results = done
    again = Path(shutil.copytree(folder, tmp_path / "race"))
    request = json.loads((again / "request.json").read_text())
    (again / "request.json").write_text(json.dumps({**request, "race": True}))
    raced = compare(config.model_copy(update={"race": True}), again, quiet=True)
    assert raced is not None
    assert raced.race is not None
    assert (raced.race.looks, raced.race.dropped, raced.race.runs_saved) == (1, {}, 0)
    assert raced.pairs == results.pairs
