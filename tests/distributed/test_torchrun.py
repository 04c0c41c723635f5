"""Two gloo processes under torchrun train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.files import read_json_lines

SETTINGS = [
    "model.d_model=32", "model.num_layers=2", "model.context_length=32", "batch_size=8",
    "precision=fp32", "compile=off", "samples.tokens=0",
    "optimizer.learning_rate=1e-4", "optimizer.matrix_learning_rate=1e-3",
]  # fmt: skip


def train(
    data: Path,
    out: Path,
    processes: int,
    steps: int,
    *more: str,
    program: Sequence[str] = ("-m", "seedbed"),
) -> subprocess.CompletedProcess[str]:
    words = [*program, "train", "--data", str(data), "--out", str(out), "--steps", str(steps)]
    return launch(processes, *words, *SETTINGS, *more)


def launch(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    launcher: list[str] = []
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        launcher.append(str(processes))
    return subprocess.run(
        [sys.executable, *launcher, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "stories"
    prepare(PrepareConfig(sources=("sample:stories:100",), out=out, tokenizer="byte"))
    return out


def test_two_processes_train_the_model_that_one_does(data: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        done = train(data, tmp_path / str(processes), processes, 6, "evaluation.every=1")
        assert done.returncode == 0, done.stderr
    one, two = (read_json_lines(tmp_path / str(n) / "metrics.jsonl") for n in (1, 2))
    assert [r["step"] for r in one] == [1, 2, 3, 4, 5, 6]
    for mine, theirs in zip(one, two, strict=True):
        for key in ("train_loss", "grad_norm", "val_loss", "tokens"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3), (key, mine["step"])


def test_two_processes_resume_their_run(data: Path, tmp_path: Path) -> None:
    for steps in (3, 6):
        done = train(data, tmp_path / "run", 2, steps)
        assert done.returncode == 0, done.stderr
    assert "resuming at step 3" in done.stderr
    assert (tmp_path / "run" / "checkpoints" / "step-000006").is_dir()


def test_a_run_of_one_process_goes_on_in_two_and_not_in_three(data: Path, tmp_path: Path) -> None:
    micro = "micro_batch_size=8"
    assert train(data, tmp_path / "one", 1, 6, micro).returncode == 0
    for processes, steps in ((1, 3), (2, 6)):
        done = train(data, tmp_path / "both", processes, steps, micro)
        assert done.returncode == 0, done.stderr
    assert "8 but must be a multiple of the 3" in train(data, tmp_path / "both", 3, 7, micro).stderr
    one, both = (read_json_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "both"))
    assert [r["tokens"] for r in both] == [r["tokens"] for r in one]


def test_two_processes_measure_their_minutes_together(data: Path, tmp_path: Path) -> None:
    done = train(data, tmp_path / "run", 2, 1, "horizon=1 minutes", "max_epochs=0.02")
    assert done.returncode == 0, done.stderr
    steps = read_json_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    assert f"checkpoints/step-{steps:06d}" in str(
        list((tmp_path / "run" / "checkpoints").iterdir())
    )


WITHOUT_MEMORY = """
import os, sys, torch
from seedbed.cli.main import main
from seedbed.training import text_task

make_loss = text_task.make_loss

def scarce(model):
    whole = make_loss(model)

    def loss_sum(inputs, targets):
        if os.environ["RANK"] == "1" and len(inputs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(inputs, targets)

    return loss_sum

text_task.make_loss = scarce
main(sys.argv[1:])
"""


def test_two_processes_halve_together_when_one_runs_out_of_memory(
    data: Path, tmp_path: Path
) -> None:
    script = tmp_path / "scarce.py"
    script.write_text(WITHOUT_MEMORY)
    scarce = train(data, tmp_path / "scarce", 2, 3, "micro_batch_size=4", program=[str(script)])
    assert scarce.returncode == 0, scarce.stderr
    assert "no memory for 4 sequences at a time: going on with 2" in scarce.stderr
    assert train(data, tmp_path / "plain", 2, 3, "micro_batch_size=2").returncode == 0
    one, two = (read_json_lines(tmp_path / name / "metrics.jsonl") for name in ("scarce", "plain"))
    assert len(one) == 3
    for key in ("train_loss", "grad_norm", "val_loss", "tokens"):
        assert [line[key] for line in one] == [line[key] for line in two]


def test_two_processes_fine_tune_as_one_does(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path / "stories", 1, 2, "model.context_length=128").returncode == 0
    chats = tmp_path / "chats.jsonl"
    exchange = '{{"prompt": "Number {0}?", "completion": "It is {0}."}}\n'
    chats.write_text("".join(exchange.format(n) for n in range(40)))
    for processes in (1, 2):
        words = ["finetune", str(tmp_path / "stories"), "--data", str(chats), "--replay", str(data)]
        words += ["--out", str(tmp_path / str(processes)), "--steps", "4", "--eval-every", "1"]
        rates = ["optimizer.learning_rate=1e-4", "optimizer.matrix_learning_rate=1e-3"]
        same = ["batch_size=8", "precision=fp32", "compile=off", "samples.tokens=0", *rates]
        done = launch(processes, "-m", "seedbed", *words, *same)
        assert done.returncode == 0, done.stderr
    one, two = (read_json_lines(tmp_path / str(n) / "metrics.jsonl") for n in (1, 2))
    assert [r["step"] for r in one] == [1, 2, 3, 4]
    for mine, theirs in zip(one, two, strict=True):
        for key in ("train_loss", "grad_norm", "val_loss", "tokens"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3), (key, mine["step"])
