"""Lists of runs: real ones, interrupted ones and broken ones."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.checkpoints import load_checkpoint
from seedbed.errors import ConfigError
from seedbed.files import read_json_lines
from seedbed.runs import RunDir
from seedbed.training.job import RunResult
from seedbed.training.run_summary import list_runs, summarise


def test_a_finished_run_is_summed_up(trained: Callable[..., RunResult], dataset: Path) -> None:
    result = trained()
    summary = summarise(result.run)
    records = read_json_lines(result.run / "metrics.jsonl")
    assert (summary.state, summary.problem) == ("finished", None)
    assert (summary.step, summary.steps) == (12, 12)
    assert summary.data == dataset
    assert summary.parameters == load_checkpoint(result.run).model.config.parameters.total
    assert (summary.best_step, summary.best_loss) == (result.best_step, result.val_loss)
    assert summary.best_bits_per_byte == result.val_bits_per_byte
    assert summary.last_loss == records[-1]["val_loss"]
    assert summary.tokens == records[-1]["tokens"] == 12 * 4 * 32
    assert summary.seconds == records[-1]["seconds"]
    assert summary.tokens_per_second is not None
    assert math.isclose(summary.tokens_per_second * records[-1]["seconds"], summary.tokens)


def test_a_run_without_a_checkpoint_has_its_size_and_its_steps(
    trained: Callable[..., RunResult], tmp_path: Path
) -> None:
    result = trained()
    whole = summarise(result.run)
    young = tmp_path / "young"
    young.mkdir()
    for name in ("config.yaml", "request.json", "env.json"):
        (young / name).write_bytes((result.run / name).read_bytes())
    summary = summarise(young)
    assert (summary.parameters, summary.steps, summary.step) == (whole.parameters, 12, 0)
    assert (summary.best_loss, summary.tokens_per_second) == (None, None)


@pytest.mark.parametrize(
    ("said", "held", "state"),
    [
        ("running", True, "running"),
        ("saving", True, "running"),
        ("stopped", True, "running"),  # it goes on, and has not said so yet
        ("running", False, "crashed"),
        ("saving", False, "crashed"),
        (None, False, "crashed"),
        ("stopped", False, "stopped"),
        ("failed", False, "failed"),
        ("finished", False, "finished"),
    ],
)
def test_the_state_is_what_is_said_and_whether_a_process_is_at_work(
    trained: Callable[..., RunResult], said: str | None, held: bool, state: str
) -> None:
    run = RunDir(trained(horizon="1 steps").run)
    if said is None:
        run.status.unlink()
    else:
        run.write_status(said, error="Training diverged." if said == "failed" else None)
    if held:
        with run.lock():
            assert summarise(run.path).state == state
    else:
        summary = summarise(run.path)
        assert summary.state == state
        assert summary.problem == ("Training diverged." if said == "failed" else None)


@pytest.mark.parametrize("file", ["config.yaml", "status.json", "metrics.jsonl"])
def test_a_damaged_file_is_named_and_the_rest_is_told(
    trained: Callable[..., RunResult], file: str
) -> None:
    run = trained(horizon="1 steps").run
    for content in (b"{\n", b"\xff\0\0\n", b"5\n", b"[1]\n"):
        (run / file).write_bytes(content)
        (summary,) = list_runs(run.parent)
        assert summary.state == "damaged"
        assert summary.problem is not None
        assert str(run / file) in summary.problem
        assert summary.parameters is not None


def test_runs_stand_newest_first_or_best_first(tmp_path: Path) -> None:
    scores = {"old": 1.5, "middle": None, "new": 2.5}
    for day, (name, score) in enumerate(scores.items(), start=1):
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        status = {"state": "stopped", "timestamp": f"2026-01-0{day}T00:00:00+00:00"}
        run.status.write_text(json.dumps(status))
        record = {"step": 1, "val_loss": score, "val_bits_per_byte": score}
        run.metrics.write_text(json.dumps(record) + "\n")
    assert [run.run.name for run in list_runs(tmp_path)] == ["new", "middle", "old"]
    assert [run.run.name for run in list_runs(tmp_path, sort="score")] == ["old", "new", "middle"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        list_runs(tmp_path / "runs")
    assert list_runs(tmp_path) == []


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys, seedbed.cli.runs, seedbed.training.run_summary, seedbed.training.run_details;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
