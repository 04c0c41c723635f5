"""Damaged checkpoints, full disks and losses that are not finite."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from seedbed import checkpoints
from seedbed.checkpoints import CheckpointFolder
from seedbed.cli.main import run as run_command
from seedbed.errors import CheckpointError
from seedbed.files import read_json, read_json_lines
from seedbed.runs import RunDir
from seedbed.training import pretrain
from seedbed.training.job import RunResult
from seedbed.training.loop import DivergedError

Trained = Callable[..., RunResult]
Final = Callable[[Path], dict[str, bytes]]
Spoil = Callable[[Callable[[int], object]], None]

# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training/optimizer.safetensors", "training/state.json"]
)
@pytest.mark.parametrize("way", ["cut", "flipped", "removed"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    name: str,
    way: str,
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained()
    path = tmp_path / "run" / "checkpoints" / "step-000012" / name
    whole = path.read_bytes()
    flipped = whole[:99] + bytes([whole[99] ^ 4]) + whole[100:]
    path.write_bytes(whole[:-1] if way == "cut" else flipped)
    if way == "removed":
        path.unlink()
    assert trained(quiet=False).state == "finished"
    note = capsys.readouterr().err
    assert "passed over a damaged checkpoint" in note
    assert Path(name).name in note
    assert "resuming at step 9" in note
    assert final(tmp_path / "run") == undisturbed


def test_a_damaged_checkpoint_is_not_counted_among_those_to_keep(
    trained: Trained, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path / "run" / "checkpoints")
    trained(horizon="11 steps")
    for step in (9, 11):
        (folder.at(step) / "model.safetensors").write_bytes(b"")
    assert folder.steps() == [9, 11]
    trained(horizon="11 steps")  # from the beginning
    assert folder.steps() == [9, 11]
    (folder.at(11) / "manifest.json").unlink()
    trained(checkpoint={"every": 12, "keep": 1})
    assert folder.steps() == [12]


# --- a full disk ----------------------------------------------------------------------------


def full_disk_error() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [full_disk_error(), SafetensorError("No space left on device")])
def test_a_disk_full_in_a_save_keeps_the_checkpoint_before_it(
    error: Exception,
    command_line: Callable[..., list[str]],
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original, calls = checkpoints.save_file, count(1)

    def full(*args: Any, **options: Any) -> None:
        if next(calls) >= 4:  # in the optimizer's state of the second save
            raise error
        original(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_file", full)
        assert run_command(command_line()) == 2
    message = capsys.readouterr().err
    assert "step-000006 could not be saved" in message
    assert "No space left on device" in message
    run = RunDir(tmp_path / "run")
    assert run.read_status()["state"] == "failed"
    assert [p.name for p in run.checkpoints.glob("step-*")] == ["step-000003"]
    assert trained().state == "finished"
    assert final(run.path) == undisturbed


@pytest.mark.parametrize("nth", [1, 4, 9, 20, 45, 80])
def test_a_disk_that_stays_full_is_told_and_a_later_run_continues(
    nth: int,
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, calls = os.fsync, count(1)

    def full(descriptor: int) -> None:
        if next(calls) >= nth:
            raise full_disk_error()
        original(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"No space left.*[Ff]ree some space"):
            trained()
    assert trained().state == "finished"
    assert final(tmp_path / "run") == undisturbed


def test_a_limit_on_file_sizes_is_a_full_disk(
    trained: Trained, final: Final, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(undisturbed["model.safetensors"]) // 2, hard))
    try:
        with pytest.raises(CheckpointError, match="could not be saved"):
            trained()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not CheckpointFolder(tmp_path / "run" / "checkpoints").steps()
    assert trained().state == "finished"
    assert final(tmp_path / "run") == undisturbed


# --- losses that are not finite -------------------------------------------------------------


def steps_in(run: Path) -> list[int]:
    return [line["step"] for line in read_json_lines(run / "metrics.jsonl")]


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    trained: Trained, spoil: Spoil, final: Final, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    spoil(lambda step: step in (4, 5, 9))
    result = trained()
    assert (result.state, result.step) == ("finished", 12)
    assert read_json(tmp_path / "run" / "status.json")["skipped_steps"] == 3
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if line["train_loss"] is None] == [5, 6, 10]
    assert [line.get("skipped_steps", 0) for line in lines[3:]] == [0, 1, 2, 2, 2, 2, 3, 3, 3]
    assert steps_in(tmp_path / "run") == list(range(1, 13))
    assert final(tmp_path / "run") != undisturbed


def test_a_skipped_step_leaves_weights_and_optimizer_alone(
    trained: Trained, spoil: Spoil, final: Final, tmp_path: Path
) -> None:
    constant = {"schedule": {"kind": "constant"}}
    trained("shorter", horizon="3 steps", **constant)
    spoil(lambda step: step == 3)
    trained("longer", horizon="4 steps", **constant)
    assert final(tmp_path / "shorter") == final(tmp_path / "longer")


def test_several_bad_steps_in_a_row_go_back_with_half_the_learning_rate(
    trained: Trained, spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(lambda step: 4 <= step < 9)  # steps 5 to 9; the last checkpoint is that of step 3
    result = trained(schedule={"kind": "constant"}, quiet=False)
    assert (result.state, result.step) == ("finished", 12)
    assert "back to step 3, with 0.5 times the learning rate" in capsys.readouterr().err
    assert steps_in(tmp_path / "run") == list(range(1, 13))
    rates = [line["lr"] for line in read_json_lines(tmp_path / "run" / "metrics.jsonl")]
    assert rates[3:] == [rates[0] / 2] * 9
    assert read_json(tmp_path / "run" / "status.json")["skipped_steps"] == 5


def test_without_a_checkpoint_going_back_is_beginning_anew(
    trained: Trained, spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(lambda step: 1 <= step < 6)
    trained(quiet=False, checkpoint={"every": 50})
    assert "back to step 0" in capsys.readouterr().err
    assert steps_in(tmp_path / "run") == list(range(1, 13))


def test_training_that_stays_bad_stops_with_a_diagnosis(
    command_line: Callable[..., list[str]],
    trained: Trained,
    spoil: Spoil,
    final: Final,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(lambda step: step >= 4)
    with pytest.raises(DivergedError, match=r"even after 3 returns.*a lower optimizer"):
        trained()
    status = read_json(tmp_path / "run" / "status.json")
    assert status["state"] == "failed"
    assert "diverged" in status["error"]
    assert CheckpointFolder(tmp_path / "run" / "checkpoints").steps() == [3]
    assert run_command(command_line()) == 1
    assert "Training diverged at step" in capsys.readouterr().err


def test_a_kill_after_going_back_changes_nothing(
    trained: Trained,
    spoil: Spoil,
    final: Final,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class KilledError(BaseException):
        pass

    spoil(lambda step: 4 <= step < 9)
    trained("whole")

    def killed_in_step_12(step: int) -> bool:  # two steps after the rollback, before a save
        if step == 11:
            raise KilledError
        return 4 <= step < 9

    spoil(killed_in_step_12)
    with pytest.raises(KilledError):
        trained("killed")
    spoil(lambda step: 1 <= step < 6)  # the same steps of the run, begun at its step 3
    trained("killed")
    assert final(tmp_path / "killed") == final(tmp_path / "whole")


# --- precision ------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_and_keeps_its_weights_in_float32(
    precision: str, trained: Trained, tmp_path: Path
) -> None:
    trained(precision=precision, horizon="30 steps")
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert lines[-1]["train_loss"] < lines[0]["train_loss"] - 1
    model = checkpoints.load_checkpoint(tmp_path / "run").model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_training_in_float16_finds_its_loss_scale(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_go_back", with_loss_scale(2.0**40, pretrain._go_back))
    result = trained(precision="fp16", horizon="40 steps", checkpoint={"every": 100})
    assert result.state == "finished"
    state = read_json(tmp_path / "run" / "checkpoints" / "latest" / "training" / "state.json")
    assert state["skipped_steps"] > 5  # more than would be trouble, were they not overflows
    assert state["rollbacks"] == state["skipped_in_a_row"] == 0
    assert state["loss_scale"]["value"] == 2.0 ** (40 - state["skipped_steps"])


def with_loss_scale(value: float, original: Callable[..., None]) -> Callable[..., None]:
    def go_back(job: Any, *args: Any) -> None:
        original(job, *args)
        job.state.loss_scale.value = value

    return go_back
