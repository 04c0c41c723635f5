from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedbed.cli.finetune import _name_of
from seedbed.cli.main import run
from seedbed.config import read_yaml
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.runs import RunDir

FAST = ["device=cpu", "precision=fp32", "samples.tokens=2", "batch_size=2", "log_every=1"]


@pytest.fixture(scope="module")
def story_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a tiny model."""
    folder = tmp_path_factory.mktemp("stories")
    source = ("sample:stories:60",)
    prepare(PrepareConfig(sources=source, out=folder / "data", tokenizer="byte"))
    shape = ["model.d_model=32", "model.num_layers=2", "model.context_length=256"]
    words = ["train", "--data", str(folder / "data"), "--out", str(folder / "stories")]
    assert run([*words, "--steps", "1", *shape, *FAST]) == 0
    return folder / "stories"


def words(story_model: Path, out: Path, *more: str) -> list[str]:
    source = ["--data", "sample:chats:30"]
    return ["finetune", str(story_model), *source, "--out", str(out), *more, *FAST]


def test_it_says_how_it_ended_as_json(
    story_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(story_model, tmp_path / "chat", "--steps", "2", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["state"], result["step"]) == ("finished", 2)


def test_options_are_settings(story_model: Path, tmp_path: Path) -> None:
    given = ["--steps", "1", "--lora-rank", "2", "--lora-alpha", "6", "--learning-rate", "0.003"]
    assert run(words(story_model, tmp_path / "chat", *given, "--seed", "5")) == 0
    config = read_yaml(tmp_path / "chat" / "config.yaml")
    assert config["finetune"]["lora"] == {"rank": 2, "alpha": 6.0, "targets": None}
    assert config["seed"] == 5
    assert config["optimizer"]["learning_rate"] == 0.003
    assert config["optimizer"]["matrix_learning_rate"] == pytest.approx(0.01)


@pytest.mark.parametrize("setting", ["data", "from_checkpoint"])
def test_folders_that_fine_tuning_makes_cannot_be_given(
    setting: str, story_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(story_model, tmp_path / "chat", f"{setting}=other")) == 2
    assert f"`{setting}` is a folder that fine-tuning makes" in capsys.readouterr().err
    assert not (tmp_path / "chat").exists()


def test_the_run_is_named_after_what_it_began_from(story_model: Path) -> None:
    assert _name_of(story_model) == "stories"
    assert _name_of(story_model / "checkpoints" / "best") == "stories"


def test_a_file_without_conversations_says_what_is_wanted(
    story_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "Once."}\n' * 20)
    command = ["finetune", str(story_model), "--data", str(file), "--out", str(tmp_path / "chat")]
    assert run(command) == 2
    told = capsys.readouterr().err
    assert f"{file} line 1" in told
    assert "<user>" in told


def test_ctrl_c_saves_and_the_same_command_goes_on(story_model: Path, tmp_path: Path) -> None:
    command = words(story_model, tmp_path / "chat", "--steps", "100000")
    process = subprocess.Popen(
        [sys.executable, "-m", "seedbed", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while RunDir(tmp_path / "chat").read_status().get("step", 0) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert b"the same command goes on from there" in out
    step = RunDir(tmp_path / "chat").read_status()["step"]
    assert run(words(story_model, tmp_path / "chat", "--steps", str(step + 1))) == 0
    assert RunDir(tmp_path / "chat").read_status()["step"] == step + 1
