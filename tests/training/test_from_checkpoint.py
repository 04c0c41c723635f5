"""`--from CHECKPOINT`: a new run from the weights of another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.cli.main import run as run_command
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.errors import CheckpointError, ConfigError
from seedbed.files import read_json_lines
from seedbed.training import loop
from seedbed.training.job import RunResult

Trained = Callable[..., RunResult]
Final = Callable[[Path], dict[str, bytes]]
SHAPE_OF_THE_OTHER = dict.fromkeys(("d_model", "num_layers", "num_heads"))


def losses(run: Path) -> list[float]:
    return [line["train_loss"] for line in read_json_lines(run / "metrics.jsonl")]


@pytest.fixture
def origin(trained: Trained, tmp_path: Path) -> Path:
    trained("origin", horizon="30 steps", checkpoint={"every": 15})
    return tmp_path / "origin"


def test_a_run_from_a_checkpoint_begins_where_the_other_ended(
    origin: Path, trained: Trained, tmp_path: Path
) -> None:
    trained("second", from_checkpoint=origin, model=SHAPE_OF_THE_OTHER, horizon="4 steps")
    first, last = losses(origin)[0], sum(losses(origin)[-5:]) / 5
    assert abs(losses(tmp_path / "second")[0] - last) < (first - last) / 5
    assert [line["step"] for line in read_json_lines(tmp_path / "second/metrics.jsonl")] == [
        *range(1, 5)
    ]


def test_a_killed_run_goes_on_though_the_other_has_moved_on(
    origin: Path,
    trained: Trained,
    final: Final,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class KilledError(BaseException):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    trained("whole", from_checkpoint=origin)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "save", kill)
        with pytest.raises(KilledError):
            trained("killed", from_checkpoint=origin)  # before its first checkpoint
    best = origin / "checkpoints" / "best"
    best.unlink()
    best.symlink_to("step-000024")
    assert (best / "model.safetensors").is_file()
    trained("killed", from_checkpoint=origin)
    assert final(tmp_path / "killed") == final(tmp_path / "whole")


def test_a_run_that_has_checkpoints_no_longer_needs_the_other(
    origin: Path, trained: Trained
) -> None:
    trained("second", from_checkpoint=origin)
    shutil.rmtree(origin)
    assert trained("second", from_checkpoint=origin).state == "already finished"
    longer = trained("second", from_checkpoint=origin, horizon="15 steps")
    assert (longer.state, longer.step) == ("finished", 15)


def test_another_shape_is_refused(
    origin: Path,
    command_line: Callable[..., list[str]],
    trained: Trained,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wider = {"from_checkpoint": origin, "model": {"d_model": 64}}
    with pytest.raises(ConfigError, match=r"model\.d_model.* is 64, but the shape comes from"):
        trained("second", **wider)
    assert run_command(command_line("second", **wider)) == 2
    assert "Leave it out" in capsys.readouterr().err


def test_another_tokenizer_is_refused(origin: Path, trained: Trained, tmp_path: Path) -> None:
    char = tmp_path / "char"
    prepare(PrepareConfig(sources=("sample:stories:100",), out=char, tokenizer="char"))
    with pytest.raises(ConfigError, match="another tokenizer"):
        trained("second", data=char, from_checkpoint=origin)


def test_a_damaged_checkpoint_is_refused(origin: Path, trained: Trained) -> None:
    weights = origin / "checkpoints" / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors has"):
        trained("second", from_checkpoint=origin)
