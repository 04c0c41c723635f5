"""Ten runs, each with a fault of its own, and healthy ones: what the doctor says of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.prepared import open_dataset
from seedbed.data.samples import sample_stories
from seedbed.doctor import course, leaks, learning
from seedbed.doctor.diagnosis import CHECKS, diagnose
from seedbed.doctor.evidence import RunEvidence
from seedbed.errors import CheckpointError
from seedbed.files import read_json, read_json_lines, write_json
from seedbed.model import attention
from seedbed.training import pretrain
from seedbed.training.config import TrainConfig
from seedbed.training.finetune import finetune

Train = Callable[..., Path]
Prepare = Callable[..., Path]
Found = Callable[[Path], list[str]]


def adamw(learning_rate: float, **changes: Any) -> dict[str, Any]:
    return {"optimizer": {"kind": "adamw", "learning_rate": learning_rate, **changes}}


CONSTANT = {"schedule": {"kind": "constant", "warmup_steps": 0}}
COSINE = {"schedule": {"kind": "cosine", "warmup_steps": 10, "floor": 0.1}}


# Ten faults


def test_diverged(train: Train, found: Found) -> None:
    run = train("diverged", horizon="80 steps", **adamw(30.0, clip_norm=None), **CONSTANT)
    assert found(run)[0] == "diverged"


def test_gave_up(train: Train) -> None:
    run = train("gave-up", horizon="80 steps", **adamw(1e5, clip_norm=None), **CONSTANT)
    first = diagnose(run).findings[0]
    assert first.name == "diverged"
    assert "training gave up" in first.evidence


def test_never_learned(train: Train, found: Found) -> None:
    assert found(train("nothing", **adamw(1e-8)))[0] == "never learned"


def test_validation_text_in_the_training_text(
    train: Train, prepared: Prepare, tmp_path: Path
) -> None:
    stories = list(sample_stories(200, seed=3))
    write(tmp_path / "all.txt", stories)
    # Not word for word, which `prepare` would notice: another last character.
    write(tmp_path / "val.txt", [story[:-1] + "?" for story in stories[::10]])
    data = prepared(
        "copied", sources=(str(tmp_path / "all.txt"),), val=(str(tmp_path / "val.txt"),)
    )
    first = diagnose(train("copied", data=data)).findings[0]
    assert first.name == "leak"
    assert "100% of the validation documents stand in the training text" in first.evidence


def test_a_mask_that_lets_the_future_through(train: Train, found: Found) -> None:
    with pytest.MonkeyPatch.context() as patched:
        whole = attention.fused_attention
        patched.setattr(
            attention, "fused_attention", lambda *a, **k: whole(*a, **{**k, "causal": False})
        )
        run = train("unmasked", horizon="200 steps")
        first = diagnose(run).findings[0]
        assert first.name == "leak"
        assert "causality is broken" in first.evidence
    mended = diagnose(run).findings[0]  # the code is mended, the run is what it was
    assert mended.name == "leak"
    assert "is not that of its checkpoint" in mended.evidence


def test_overfitted(train: Train, prepared: Prepare) -> None:
    few = prepared("few", sources=("sample:stories:8",), val_fraction=0.3)
    run = train("overfitted", data=few, horizon="300 steps", **adamw(1e-2))
    first = diagnose(run).findings[0]
    assert first.name == "overfitted"
    losses = {r["step"]: r["val_loss"] for r in read_json_lines(run / "metrics.jsonl")}
    scores = {step: loss for step, loss in losses.items() if loss is not None}
    best = min(scores, key=scores.__getitem__)
    assert f"lowest at step {best}" in first.evidence
    assert f"is {scores[300] - scores[best]:.3f} higher at step 300" in first.evidence


def test_an_epoch_of_pairs_of_answers_is_a_row_of_each(
    healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pairs.jsonl"
    pair = '{{"prompt": "{}?", "chosen": "Yes.", "rejected": "No."}}\n'
    file.write_text("".join(pair.format(n) for n in range(20)))
    own = {"checkpoint": healthy, "sources": (str(file),), "method": "dpo"}
    common = {"horizon": "1 steps", "device": "cpu", "precision": "fp32", "samples": {"tokens": 0}}
    monkeypatch.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
    settings = {**common, "batch_size": 2, "out": tmp_path / "run", "finetune": own}
    finetune(TrainConfig.model_validate(settings), quiet=True)
    evidence = RunEvidence(tmp_path / "run")
    pairs = evidence.dataset.train.num_documents // 2
    assert learning._epochs(evidence, 3 * 64 * pairs) == "; the text was seen 3.0 times"


def test_learning_rate_too_high(train: Train, found: Found) -> None:
    assert found(train("high", **adamw(0.5), **COSINE))[0] == "learning rate too high"


def test_learning_rate_too_low(train: Train, found: Found) -> None:
    assert found(train("low", **adamw(2e-4)))[0] == "learning rate too low"


def test_starved_by_data_loading(train: Train, found: Found) -> None:
    quick = WindowSampler.batch

    def slow(sampler: WindowSampler, first: int, rows: int) -> Batch:
        time.sleep(0.03)
        return quick(sampler, first, rows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(WindowSampler, "batch", slow)
        run = train("starved")
    assert found(run)[0] == "starved by data loading"


def test_stopped_early(train: Train, healthy: Path) -> None:
    with stopping_at(70):
        run = train("stopped")
    first = diagnose(run).findings[0]
    assert first.name == "stopped early"
    assert "stopped on request, at step 71 of 120" in first.evidence


def test_tokenizer_mismatch(healthy: Path, prepared: Prepare, tmp_path: Path, found: Found) -> None:
    run = copy(healthy, tmp_path)
    other = prepared("bpe", tokenizer="bpe", vocab_size=300)
    latest = (run / "checkpoints" / "latest").resolve()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, latest / name)
    assert found(run)[0] == "tokenizer mismatch"


def test_samples_that_loop(train: Train, prepared: Prepare, tmp_path: Path, found: Found) -> None:
    stories = list(sample_stories(60, seed=5))
    write(tmp_path / "loops.txt", [(story.split(".")[0][:30] + ". ") * 12 for story in stories])
    write(tmp_path / "val.txt", stories[:20])
    data = prepared(
        "loops",
        sources=(str(tmp_path / "loops.txt"),),
        val=(str(tmp_path / "val.txt"),),
        tokenizer="bpe",
        vocab_size=400,
    )
    run = train("loops", data=data, horizon="250 steps", samples={"tokens": 60})
    assert "samples that loop" in found(run)[:1]


# Healthy runs

HEALTHY: dict[str, dict[str, Any]] = {
    "muon": {},
    "adamw, cosine": {**adamw(5e-3), **COSINE},
    "gpt2": {
        "model": {
            "preset": "gpt2",
            "d_model": 48,
            "num_layers": 2,
            "num_heads": 2,
            "context_length": 64,
            "dropout": 0.1,
        },
        **adamw(5e-3),
        **COSINE,
    },
    "evaluated often": {"evaluation": {"every": 5, "tokens": 500}, "log_every": 1},
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_nothing_is_wrong_with_a_healthy_run(kind: str, train: Train) -> None:
    diagnosis = diagnose(train(f"healthy {kind}", **HEALTHY[kind]))
    assert diagnosis.findings == []
    assert diagnosis.not_checked == {}
    assert diagnosis.checked == list(CHECKS)


def test_nothing_is_wrong_with_a_healthy_run_of_bpe(train: Train, prepared: Prepare) -> None:
    data = prepared("bpe", tokenizer="bpe", vocab_size=300)
    assert diagnose(train("healthy bpe", data=data)).findings == []


def test_a_few_steps_are_not_judged(train: Train) -> None:
    diagnosis = diagnose(train("few", horizon="30 steps"))
    assert diagnosis.findings == []
    assert "30 steps are too few" in diagnosis.not_checked["never learned"]


def test_a_run_that_still_warms_up_is_not_judged(train: Train) -> None:
    slow = {"schedule": {"kind": "cosine", "warmup_steps": 1000}}
    with stopping_at(70):
        run = train("warming up", horizon="2000 steps", log_every=1, **adamw(5e-3), **slow)
    diagnosis = diagnose(run)
    assert [finding.name for finding in diagnosis.findings] == ["stopped early"]
    assert "1000 are needed" in diagnosis.not_checked["learning rate too low"]


def test_a_run_from_trained_weights_is_not_short_of_time(healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    request = read_json(run / "request.json")
    request["config"]["horizon"] = "1 minutes"
    write_json(run / "request.json", request)
    losses = [2.0, *np.linspace(2.1, 2.1, 60).tolist(), *np.linspace(2.1, 1.9, 60).tolist()]
    records = [{"step": step, "train_loss": loss} for step, loss in enumerate(losses, start=1)]
    lines = [json.dumps(record) + "\n" for record in records]
    (run / "metrics.jsonl").write_text("".join(lines))
    said = course.stopped_early(RunEvidence(run))
    assert said is not None
    assert "ran out while the loss was still falling fast" in said.evidence
    text = (run / "config.yaml").read_text()
    assert "from_checkpoint:\n" in text
    further = text.replace("from_checkpoint:\n", f"from_checkpoint: {healthy}\n")
    (run / "config.yaml").write_text(further)
    assert course.stopped_early(RunEvidence(run)) is None


def test_text_that_repeats_itself_is_no_leak_where_only_a_part_of_it_is_searched(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = list(sample_stories(100, seed=3))
    alike = [story[:-1] + mark for story in stories for mark in "?!;:)]}>"]
    random.Random(0).shuffle(alike)
    write(tmp_path / "alike.txt", alike)
    write(tmp_path / "val.txt", [story[:-1] + "," for story in stories])
    sources = {"sources": (str(tmp_path / "alike.txt"),), "val": (str(tmp_path / "val.txt"),)}
    evidence: Any = SimpleNamespace(dataset=open_dataset(prepared("alike", **sources)))
    monkeypatch.setattr(leaks, "_TRAINING", evidence.dataset.train.num_tokens // 4)
    assert leaks._copied(evidence) is None


# What is not there is not guessed


def test_what_is_not_there_is_not_checked(healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    shutil.rmtree(run / "checkpoints")
    (run / "samples.jsonl").unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([*lines[:4], "{half a li"]))
    diagnosis = diagnose(run)
    assert diagnosis.findings == []
    assert diagnosis.not_checked["leak"] == "the run has no checkpoint"
    assert "4 training losses" in diagnosis.not_checked["never learned"]
    assert "samples.jsonl" in diagnosis.not_checked["samples that loop"]


def test_a_dataset_that_is_gone_leaves_what_needs_none(healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    text = (run / "config.yaml").read_text()
    data = next(line for line in text.splitlines() if line.startswith("data:"))
    (run / "config.yaml").write_text(text.replace(data, f"data: {tmp_path / 'gone'}"))
    diagnosis = diagnose(run)
    assert diagnosis.findings == []
    assert "no such dataset" in diagnosis.not_checked["leak"]
    assert "diverged" in diagnosis.checked


def test_a_killed_run_is_told_from_a_live_one(healthy: Path, tmp_path: Path, found: Found) -> None:
    run = copy(healthy, tmp_path)
    status = read_json(run / "status.json")
    write_json(run / "status.json", {**status, "state": "running", "step": 60, "pid": 2**22 + 1})
    assert found(run) == ["stopped early"]
    assert diagnose(run).state == "crashed"


def test_a_damaged_checkpoint_is_named(healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    file = (run / "checkpoints" / "latest").resolve() / "training" / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    (finding,) = diagnose(run).findings
    assert (finding.name, "optimizer.safetensors" in finding.evidence) == (
        "damaged checkpoint",
        True,
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_checkpoint_cut_short_is_named(name: str, healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    file = (run / "checkpoints" / "latest").resolve() / name
    file.write_bytes(file.read_bytes()[:-20])
    diagnosis = diagnose(run)
    assert [finding.name for finding in diagnosis.findings] == ["damaged checkpoint"]
    assert name in diagnosis.findings[0].evidence
    assert "leak" in diagnosis.not_checked


@pytest.mark.parametrize("name", ["status.json", "request.json"])
def test_a_run_with_a_damaged_file_is_still_examined(
    name: str, healthy: Path, tmp_path: Path
) -> None:
    run = copy(healthy, tmp_path)
    (run / name).write_text("{")
    assert "diverged" in diagnose(run).checked


def test_samples_with_other_ends_of_lines_in_them_are_read(healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    samples = [{"step": 120, "prompt": "", "text": f"one{end}two"} for end in "\u2028\x85"]
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples]
    (run / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    assert RunEvidence(run).samples == samples


def test_bytes_that_are_no_text_are_no_loop(healthy: Path, tmp_path: Path) -> None:
    run = copy(healthy, tmp_path)
    broken = "\N{REPLACEMENT CHARACTER}" * 8
    for text, loops in (
        (f"once upon a time a fox {broken} ran off", False),
        ("once upon a time " * 3, True),
    ):
        lines = [json.dumps({"step": 120, "prompt": "", "text": text}) + "\n"] * 2
        (run / "samples.jsonl").write_text("".join(lines))
        assert (course.looping_samples(RunEvidence(run)) is not None) == loops


def test_another_folder_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a run folder"):
        diagnose(tmp_path)


@contextmanager
def stopping_at(step: int) -> Iterator[None]:
    """Stop what is trained in the block, as Ctrl-C does, in the step after this one."""
    quick, calls = WindowSampler.batch, iter(range(10_000))

    def stopping(sampler: WindowSampler, first: int, rows: int) -> Batch:
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return quick(sampler, first, rows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(WindowSampler, "batch", stopping)
        yield


def copy(run: Path, folder: Path) -> Path:
    """Return a copy of a run, which still finds its dataset."""
    shutil.copytree(run, folder / "run", symlinks=True)
    return folder / "run"


def write(file: Path, stories: list[str]) -> None:
    file.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
