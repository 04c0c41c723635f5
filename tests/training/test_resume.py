"""A run that is stopped, however it is stopped, goes on as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from killing import kill_runs
from seedbed.cli.main import run as run_command
from seedbed.config import read_yaml
from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import open_dataset
from seedbed.distributed import World
from seedbed.errors import CheckpointError, ConfigError, DataError
from seedbed.files import read_json, read_json_lines
from seedbed.runs import RunDir
from seedbed.training import loop, minutes, pretrain, stopping
from seedbed.training.config import TrainConfig
from seedbed.training.job import RunResult
from seedbed.training.text_task import batch_function

Trained = Callable[..., RunResult]
Final = Callable[[Path], dict[str, bytes]]
Start = Callable[..., subprocess.Popen]

MOMENTS = {
    "before the request is written": ("seedbed.training.resume", "write_json", "before", 1),
    "before the first step": ("seedbed.training.loop", "take_step", "before", 1),
    "before the first checkpoint": ("seedbed.training.loop", "take_step", "after", 2),
    "amid the files of a save": ("seedbed.checkpoints", "save_file", "after", 3),
    "before the seal of a save": ("seedbed.checkpoints", "seal_folder", "before", 3),
    "between a save and its links": ("seedbed.training.loop", "save_checkpoint", "after", 4),
    "while old checkpoints are dropped": ("seedbed.checkpoints", "_remove", "before", 6),
    "between two saves": ("seedbed.training.loop", "take_step", "after", 7),
    "after a line of metrics": ("seedbed.runs", "append_json_line", "after", 8),
    "after the last save": ("seedbed.training.loop", "save", "after", 4),
}


def test_resumed_run_matches_uninterrupted_run(
    settings: Callable[..., TrainConfig],
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    names = {moment: f"run-{i}" for i, moment in enumerate(MOMENTS)}
    work = [
        (settings(name).model_dump(mode="json"), MOMENTS[moment]) for moment, name in names.items()
    ]
    kill_runs(work)
    for moment, name in names.items():
        assert trained(name).state == "finished"
        assert final(tmp_path / name) == undisturbed, moment
        steps = [line["step"] for line in read_json_lines(tmp_path / name / "metrics.jsonl")]
        assert steps == list(range(1, 13)), moment
        left = {p.name for p in (tmp_path / name / "checkpoints").iterdir()}
        assert left == {"step-000009", "step-000012", "latest", "best"}, moment


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_command_killed_and_run_again_ends_with_the_same_weights(
    start: Start, trained: Trained, final: Final, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    process = start()
    wait_until(lambda: RunDir(tmp_path / "run").read_status().get("step", 0) >= 5)
    process.kill()
    process.wait()
    assert trained().state == "finished"
    assert final(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_saves_the_state_and_exits_75(
    number: signal.Signals, start: Start, trained: Trained, tmp_path: Path
) -> None:
    process = start(horizon="100000 steps")
    run = RunDir(tmp_path / "run")
    wait_until(lambda: run.read_status().get("step", 0) >= 3)
    process.send_signal(number)
    assert process.wait(60) == 75
    status = run.read_status()
    assert status["state"] == "stopped"
    assert (run.checkpoints / "latest").resolve().name == f"step-{status['step']:06d}"
    assert read_json_lines(run.metrics)[-1]["step"] == status["step"]
    assert process.stdout is not None
    assert b"the same command goes on from there" in process.stdout.read()


def raise_signal_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Send this process SIGTERM in the `number`-th call of a function of the loop."""
    original, calls = getattr(loop, name), count(1)

    def signalling(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(loop, name, signalling)


@pytest.mark.parametrize(
    ("name", "number", "step"),
    [
        ("take_step", 5, 5),
        ("_note_evaluation", 1, 7),  # step 6 may not be saved, so the next is the last
        ("_log", 5, 6),
        ("save", 1, 4),
    ],
)
def test_a_stop_at_any_moment_saves_the_step_it_stops_at(
    name: str,
    number: int,
    step: int,
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        raise_signal_at(patched, name, number)
        result = trained()
    assert (result.state, result.step) == ("stopped", step)
    assert (tmp_path / "run" / "checkpoints" / "latest").resolve().name == f"step-{step:06d}"
    assert trained().state == "finished"
    assert final(tmp_path / "run") == undisturbed


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def test_a_finished_run_run_again_says_so_and_changes_nothing(
    command_line: Callable[..., list[str]],
    trained: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = trained()
    before = everything(tmp_path / "run")
    again = trained()
    assert again.state == "already finished"
    assert (again.step, again.val_loss, again.best_step) == (12, first.val_loss, first.best_step)
    assert run_command(command_line()) == 0
    assert "finished before, after 12 steps: nothing to do" in capsys.readouterr().out
    assert everything(tmp_path / "run") == before


@pytest.mark.parametrize("damage", ["{", "\x00", ""])
def test_a_damaged_status_costs_nothing(trained: Trained, tmp_path: Path, damage: str) -> None:
    first = trained()
    status = tmp_path / "run" / "status.json"
    status.write_text(damage)
    again = trained()
    assert (again.state, again.step, again.val_loss) == ("finished", 12, first.val_loss)
    assert read_json(status)["state"] == "finished"
    assert trained().state == "already finished"


def test_a_larger_horizon_goes_on(trained: Trained, tmp_path: Path) -> None:
    trained()
    extended = trained(horizon="20 steps")
    assert (extended.state, extended.step) == ("finished", 20)
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert trained(horizon="20 steps").state == "already finished"


def test_a_run_that_asks_for_a_common_decay_and_momentum_goes_on(trained: Trained) -> None:
    asked = {"optimizer": {"weight_decay": 0.1, "momentum": 0.9}}
    assert trained(horizon="2 steps", **asked).state == "finished"
    assert trained(horizon="2 steps", **asked).state == "already finished"
    assert trained(horizon="4 steps", **asked).step == 4
    with pytest.raises(ConfigError, match=r"optimizer\.weight_decay: was 0\.1, is None"):
        trained(horizon="4 steps")


def test_fewer_steps_than_were_done_are_refused(trained: Trained, tmp_path: Path) -> None:
    trained()
    before = everything(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"has done 12 steps already, more than the 5 asked for"):
        trained(horizon="5 steps")
    assert everything(tmp_path / "run") == before


def test_an_interrupt_tells_what_comes_of_it(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    take_step, calls = loop.take_step, count(1)

    def interrupted(*args: Any) -> Any:
        if next(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            told = capfd.readouterr().err.splitlines()
            assert told[-1] == stopping.STOPPING
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(*args)

    monkeypatch.setattr(loop, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(quiet=False)
    assert stopping.STOPPING not in capfd.readouterr().err
    status = RunDir(tmp_path / "run").read_status()
    assert (status["state"], status["step"]) == ("failed", 3)
    assert status["error"].startswith("interrupted, without saving")


def test_more_minutes_are_refused_and_more_steps_are_not(trained: Trained, tmp_path: Path) -> None:
    short = {"horizon": "1 minutes", "max_epochs": 0.01}
    assert trained(**short).step == 11
    with pytest.raises(ConfigError, match=r"11 of its 11 steps are done. Say in --steps"):
        trained(**{**short, "horizon": "2 minutes"})
    assert trained(**{**short, "horizon": "14 steps"}).step == 14
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 15))


def test_measuring_minutes_leaves_no_trace_in_the_weights(
    trained: Trained, final: Final, tmp_path: Path
) -> None:
    short = {"horizon": "1 minutes", "max_epochs": 0.01}
    steps = trained("minutes", **short).step
    trained("steps", horizon=f"{steps} steps")
    assert final(tmp_path / "minutes") == final(tmp_path / "steps")


def test_changing_other_settings_keeps_the_steps_that_minutes_became(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"horizon": "1 minutes", "max_epochs": 0.01}
    with monkeypatch.context() as patched:
        raise_signal_at(patched, "take_step", 5)
        assert trained(**short).state == "stopped"
    monkeypatch.setattr(minutes, "measure", None)
    result = trained(**short, evaluation={"every": 3, "tokens": 400})
    assert (result.state, result.step) == ("finished", 11)
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 12))


def test_changing_other_settings_keeps_the_intervals_that_were_measured(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_intervals = {"evaluation": {"every": None}, "checkpoint": {"every": None}}
    short = {"horizon": "1 minutes", "max_epochs": 0.01, "log_every": None, **open_intervals}
    with monkeypatch.context() as patched:
        patched.setattr(minutes, "plan", lambda *_, **__: (11, 3))
        raise_signal_at(patched, "take_step", 5)
        assert trained(**short).state == "stopped"
    before = read_yaml(tmp_path / "run" / "config.yaml")
    assert before["evaluation"]["every"] == 4
    assert trained(**short, samples={"tokens": 0}).step == 11
    after = read_yaml(tmp_path / "run" / "config.yaml")
    assert after["samples"]["tokens"] == 0
    assert {**after, "samples": None} == {**before, "samples": None}


def test_two_processes_do_not_train_one_run(
    command_line: Callable[..., list[str]],
    trained: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RunDir(tmp_path / "run").lock():
        with pytest.raises(CheckpointError, match="in use by another process"):
            trained()
        assert run_command(command_line()) == 2
    assert "in use by another process" in capsys.readouterr().err
    assert trained().state == "finished"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 7}, "seed: was 1337, is 7"),
        ({"model": {"d_model": 64}}, "model.d_model: was 32, is 64"),
        ({"optimizer": {"kind": "adamw"}}, "optimizer.kind: was 'muon', is 'adamw'"),
        ({"batch_size": 8}, "batch_size: was 4, is 8"),
    ],
    ids=["seed", "size", "optimizer", "batch"],
)
def test_changed_settings_are_refused_by_name(
    changes: dict[str, Any],
    named: str,
    command_line: Callable[..., list[str]],
    trained: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained(horizon="2 steps")
    before = everything(tmp_path / "run")
    with pytest.raises(ConfigError, match=named):
        trained(**changes)
    assert run_command(command_line(**changes)) == 2
    assert named in capsys.readouterr().err
    assert everything(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sources": ("sample:stories:150",)}, ["dataset's content"]),
        ({"tokenizer": "char"}, ["dataset's content", "dataset's tokenizer"]),
    ],
    ids=["data", "tokenizer"],
)
def test_changed_data_are_refused_by_name(
    changes: dict[str, Any], named: list[str], trained: Trained, tmp_path: Path
) -> None:
    data = {"sources": ("sample:stories:100",), "out": tmp_path / "data", "tokenizer": "byte"}
    prepare(PrepareConfig.model_validate(data))
    trained(data=tmp_path / "data", horizon="2 steps")
    prepare(PrepareConfig.model_validate({**data, **changes, "overwrite": True}))
    with pytest.raises(ConfigError) as error:
        trained(data=tmp_path / "data")
    assert all(name in str(error.value) for name in named)


def test_settings_that_do_not_touch_the_weights_may_change(
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        raise_signal_at(patched, "take_step", 5)
        trained()
    changed = {
        "evaluation": {"every": 4, "tokens": 300},
        "checkpoint": {"every": 4, "keep": 1},
        "samples": {"tokens": 0},
        "log_every": 2,
    }
    assert trained(**changed).state == "finished"
    assert final(tmp_path / "run") == undisturbed


def test_a_moved_dataset_and_run_go_on(
    dataset: Path,
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        raise_signal_at(patched, "take_step", 5)
        trained()
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "data").symlink_to(dataset)
    assert trained("moved", data=tmp_path / "data").state == "finished"
    assert final(tmp_path / "moved") == undisturbed


def test_resume_never_refuses_a_run_that_is_there(
    settings: Callable[..., TrainConfig], trained: Trained
) -> None:
    trained(horizon="2 steps")
    with pytest.raises(ConfigError, match="holds a run already"):
        pretrain.train(settings(horizon="2 steps"), resume="never", quiet=True)


def test_logs_of_steps_that_are_done_again_are_dropped(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    with monkeypatch.context() as patched:
        raise_signal_at(patched, "take_step", 5)
        trained()
    for log in (run.metrics, run.samples):
        with log.open("ab") as file:
            file.write(b'{"step": 6, "text": "done again"}\n')
            file.write('{"step": 7, "text": "é'.encode()[:-1])  # a kill or a full disk
    trained()
    lines = read_json_lines(run.metrics)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert {line["step"] for line in read_json_lines(run.samples)} == {6, 12}
    assert "done again" not in run.metrics.read_text() + run.samples.read_text()


def test_a_run_without_its_checkpoints_begins_again(
    trained: Trained, final: Final, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "run")
    trained()
    for link in ("best", "latest"):
        (run.checkpoints / link).unlink()
    run.checkpoints.rename(tmp_path / "elsewhere")
    assert trained().state == "finished"
    assert final(run.path) == undisturbed


def test_a_run_that_failed_before_its_first_checkpoint_begins_anew(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(loop, "take_step", fail)
        with pytest.raises(ZeroDivisionError):
            trained()
    first = read_json(tmp_path / "run" / "env.json")["id"]
    assert trained(seed=7, horizon="3 steps").state == "finished"
    assert read_json(tmp_path / "run" / "env.json")["id"] != first
    with pytest.raises(ConfigError, match="seed: was 7, is 1337"):
        trained()


@pytest.mark.parametrize("content", ["{", "5", "{}", '{"config": 3}'])
def test_a_run_whose_request_is_damaged_is_not_gone_on_with(
    content: str, trained: Trained, tmp_path: Path
) -> None:
    trained(horizon="1 steps")
    (tmp_path / "run" / "request.json").write_text(content)
    with pytest.raises(ConfigError, match=r"has checkpoints but no whole request\.json"):
        trained(horizon="1 steps")


def test_too_few_tokens_for_the_context_are_told_before_a_run_begins(
    trained: Trained, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="too few for a context"):
        trained(model={"context_length": 1_000_000})
    assert not (tmp_path / "run" / "request.json").exists()


@pytest.mark.parametrize("horizon", ["12 steps", "1 minutes"])
def test_a_stop_before_the_first_step_trains_nothing(
    horizon: str,
    trained: Trained,
    final: Final,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = pretrain.set_up

    def signalling(*args: Any) -> loop.Job:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "set_up", signalling)
        result = trained(horizon=horizon)
    assert (result.state, result.step) == ("stopped", 0)
    assert RunDir(tmp_path / "run").read_status()["state"] == "stopped"
    assert trained().state == "finished"
    assert final(tmp_path / "run") == undisturbed


def test_training_off_the_main_thread_hears_no_signals_and_trains(trained: Trained) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(trained, horizon="2 steps").result().state == "finished"


def test_resuming_on_more_processes_shares_out_the_same_rows(
    settings: Callable[..., TrainConfig], dataset: Path
) -> None:
    config = settings(batch_size=16, micro_batch_size=8)
    sampler = WindowSampler(open_dataset(dataset).train.tokens, 32, config.seed)

    def rows(size: int) -> list[Batch]:
        worlds = [World(rank=rank, size=size) for rank in range(size)]
        parts = [batch_function(sampler, config, world)(3) for world in worlds]
        return [batch for part in parts for batch in part]

    whole = torch.cat([batch.inputs for batch in rows(1)])
    for size in (2, 4, 8):
        assert torch.equal(torch.cat([batch.inputs for batch in rows(size)]), whole)
    with pytest.raises(ConfigError, match="16 but must be a multiple of the 3 processes"):
        rows(3)
