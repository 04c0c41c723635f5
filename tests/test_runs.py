"""A run folder: its status, its logs, its lock."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from seedbed import runs
from seedbed.errors import CheckpointError
from seedbed.files import append_json_line, read_json_lines
from seedbed.runs import RunDir, find_runs, open_trackers

HOLDER = """
import sys
from pathlib import Path
from seedbed.runs import RunDir

with RunDir(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_goes_with_the_process_that_holds_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    command = [sys.executable, "-c", HOLDER, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="in use by another process"), run.lock():
            pass
        holder.kill()
        holder.wait()
        with run.lock():
            pass


def test_a_run_is_held_while_a_process_works_on_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    assert not run.is_held()
    assert not run.path.exists()  # asking leaves nothing behind
    with run.lock():
        assert run.is_held()
    assert not run.is_held()


def test_the_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


def test_a_status_waits_for_no_disk_and_comes_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(runs.time, "monotonic", lambda: now)
    monkeypatch.setattr(os, "fsync", None)
    run = RunDir(tmp_path)
    told: list[int] = []
    for step in range(8):
        run.write_running(step=step)
        told.append(run.read_status()["step"])
        now += 0.25
    assert told == [0, 0, 0, 0, 4, 4, 4, 4]
    run.write_status("finished", step=7)
    assert run.read_status()["state"] == "finished"


def test_the_status_is_the_last_one_written(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.read_status() == {}
    run.write_status("running", step=1)
    run.write_status("saving", step=2)
    status = run.read_status()
    assert (status["state"], status["step"]) == ("saving", 2)
    assert {"pid", "timestamp"} <= set(status)


def test_logs_keep_what_is_up_to_a_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.truncate_logs(0)
    assert not run.metrics.exists()
    for step in range(1, 6):
        append_json_line(run.metrics, {"step": step, "loss": None})
        append_json_line(run.samples, {"step": step, "text": "é"})
    run.truncate_logs(3)
    assert [r["step"] for r in read_json_lines(run.metrics)] == [1, 2, 3]
    assert [r["text"] for r in read_json_lines(run.samples)] == ["é"] * 3


def test_metrics_are_read_as_far_as_they_are_written(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.read_metrics() == []
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert [record["step"] for record in run.read_metrics()] == [1, 2]


@pytest.mark.parametrize("line", ["{", "5", "[]", '{"loss": 1}', "\0\0"])
def test_damaged_metrics_are_told(tmp_path: Path, line: str) -> None:
    run = RunDir(tmp_path)
    run.metrics.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged"):
        run.read_metrics()


@pytest.mark.parametrize("line", ["{", "5", '{"text": "a"}'])
def test_damaged_samples_are_told_where_a_run_goes_on(tmp_path: Path, line: str) -> None:
    run = RunDir(tmp_path)
    run.samples.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(CheckpointError, match=r"samples\.jsonl is damaged.* Take the line out"):
        run.truncate_logs(2)


def test_runs_are_found_at_any_depth_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("b", "a/deep/run", "c", "c/inside", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        for file in ("config.yaml", "status.json"):
            (tmp_path / name / file).touch()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "config.yaml").touch()
    assert find_runs(tmp_path) == [tmp_path / name for name in ("a/deep/run", "b", "c")]
    assert find_runs(tmp_path / "b") == [tmp_path / "b"]


def test_a_full_disk_is_told_and_other_errors_are_left_alone(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(CheckpointError, match="disk is full"), run.full_disk_explained():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), run.full_disk_explained():
        raise PermissionError


def test_runs_of_one_name_are_told_apart_by_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []
    module = SimpleNamespace(init=lambda **options: ids.append(options["id"]))
    monkeypatch.setitem(sys.modules, "wandb", module)
    for parent in ("one", "two"):
        run = RunDir(tmp_path / parent / "run")
        run.path.mkdir(parents=True)
        run.write_environment()
        open_trackers(run, ("wandb",), {})
        open_trackers(run, ("wandb",), {})
    assert ids[0] == ids[1] != ids[2] == ids[3]
