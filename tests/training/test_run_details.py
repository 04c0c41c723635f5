"""One run at a closer look, and runs side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from seedbed.cli.main import run as command_line_run
from seedbed.errors import CheckpointError
from seedbed.files import read_json_lines
from seedbed.runs import RunDir
from seedbed.training.job import RunResult
from seedbed.training.run_details import compare_runs, show_run


def test_a_run_is_shown_as_it_was_asked_for_and_went(
    trained: Callable[..., RunResult],
) -> None:
    result = trained(seed=7)
    details = show_run(result.run)
    assert details.settings["seed"] == 7
    assert details.settings["model.d_model"] == 32
    assert not {"data", "out", "sampling"} & set(details.settings)
    assert details.model["context_length"] == 32
    assert details.dataset["tokenizer"]["kind"] == "byte"
    assert details.machine["packages"]["torch"]
    assert [record["step"] for record in details.evaluations] == [6, 12]
    samples = read_json_lines(result.run / "samples.jsonl")
    assert details.samples == [s for s in samples if s["step"] == 12]
    assert [c.step for c in details.checkpoints][-1] == 12
    assert "latest" in details.checkpoints[-1].names
    assert [c.step for c in details.checkpoints if "best" in c.names] == [result.best_step]
    latest = result.run / "checkpoints" / "step-000012"
    size = sum(file.stat().st_size for file in latest.rglob("*") if file.is_file())
    assert details.checkpoints[-1].bytes == size


def test_a_dataset_that_was_made_anew_is_not_shown_as_the_runs(
    trained: Callable[..., RunResult],
) -> None:
    run = trained(horizon="1 steps").run
    request = json.loads((run / "request.json").read_text())
    (run / "request.json").write_text(json.dumps({**request, "data": "another"}))
    assert show_run(run).dataset == {}


def test_evaluations_are_spread_over_the_run_with_both_ends(tmp_path: Path) -> None:
    records = [{"step": step, "val_loss": 1.0} for step in range(1, 101)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    steps = [record["step"] for record in show_run(tmp_path).evaluations]
    assert len(steps) == 8
    assert (steps[0], steps[-1]) == (1, 100)
    gaps = [after - before for before, after in pairwise(steps)]
    assert max(gaps) - min(gaps) <= 1


def test_the_command_that_is_shown_goes_on_with_the_run(
    trained: Callable[..., RunResult], capfd: pytest.CaptureFixture[str]
) -> None:
    prompts = ["It's", "a: b", "yes", "1.5", "#", "é \n"]
    run = trained(horizon="6 steps", samples={"prompts": prompts, "tokens": 1}).run
    RunDir(run).write_status("stopped", step=6, steps=6)
    first, *others = show_run(run).commands
    words = shlex.split(first)
    assert words[:2] == ["seedbed", "train"]
    assert command_line_run(words[1:]) == 0, capfd.readouterr().err
    assert "resuming at step 6" in capfd.readouterr().err
    assert [shlex.split(command)[1] for command in others] == ["eval", "generate", "plot"]


def test_the_command_that_is_shown_says_where_even_if_it_is_here(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    request = {"config": {"data": ".", "out": ".", "seed": 7}}
    (tmp_path / "request.json").write_text(json.dumps(request))
    assert show_run(tmp_path).commands == ["seedbed train --data . --out . seed=7"]
    assert show_run(tmp_path).settings == {"seed": 7}


def test_a_run_at_work_or_without_checkpoints_is_not_told_to_go_on(
    trained: Callable[..., RunResult], tmp_path: Path
) -> None:
    run = trained(horizon="1 steps").run
    assert "--from" in show_run(run).commands[0]
    RunDir(run).write_status("running", step=1)
    with RunDir(run).lock():
        assert not [c for c in show_run(run).commands if " train " in c]
    (tmp_path / "metrics.jsonl").touch()
    assert show_run(tmp_path).commands == []


def test_runs_are_compared_where_they_differ(trained: Callable[..., RunResult]) -> None:
    one = trained("one", seed=1)
    two = trained("two", seed=2, horizon="6 steps")
    same = trained("same", seed=1)
    comparison = compare_runs([one.run, two.run, same.run])
    assert comparison.settings == {
        "seed": [1, 2, 1],
        "horizon": ["12 steps", "6 steps", "12 steps"],
    }
    assert [run.best_loss for run in comparison.runs] == [one.val_loss, two.val_loss, same.val_loss]
    assert comparison.cautions == []


def test_what_cannot_be_compared_is_told(
    trained: Callable[..., RunResult], other_dataset: Path
) -> None:
    one, longer = trained("one"), trained("longer", evaluation={"every": 6, "tokens": 400})
    elsewhere = trained("elsewhere", data=other_dataset)
    (caution,) = compare_runs([one.run, longer.run]).cautions
    assert "different lengths" in caution
    cautions = compare_runs([one.run, elsewhere.run]).cautions
    assert any("different datasets" in caution for caution in cautions)
    assert any("tokenizers differ" in caution for caution in cautions)
    machine = json.loads((longer.run / "env.json").read_text())
    (longer.run / "env.json").write_text(json.dumps({**machine, "cores": 999}))
    assert "different machines" in compare_runs([one.run, longer.run]).cautions[-1]


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run"):
        show_run(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        compare_runs([tmp_path / "a", tmp_path / "b"])


def test_broken_runs_are_shown_as_far_as_they_go(trained: Callable[..., RunResult]) -> None:
    run = trained(horizon="1 steps").run
    for file in run.iterdir():
        if file.is_file():
            file.write_text("{ no\n{\n")
    details = show_run(run)
    assert details.summary.state == "damaged"
    assert (details.model, details.settings, details.evaluations) == ({}, {}, [])
    assert len(compare_runs([run, run]).runs) == 2


@pytest.fixture(scope="session")
def other_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared dataset of other stories in characters."""
    from seedbed.data.prepare import PrepareConfig, prepare

    out = tmp_path_factory.mktemp("other") / "data"
    prepare(PrepareConfig(sources=("sample:stories:150",), out=out, tokenizer="char"))
    return out
