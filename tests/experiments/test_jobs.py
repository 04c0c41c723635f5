"""Single jobs of a small experiment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from seedbed.checkpoints import load_checkpoint
from seedbed.evaluation.bits_per_byte import score_documents
from seedbed.experiments.jobs import job_config, load_all_scores, load_scores, run_job
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.planning import make_plan
from seedbed.runs import RunDir
from small_experiment import small_config


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentDir, Plan]:
    """Return a plan whose first job is done."""
    folder = tmp_path_factory.mktemp("jobs")
    config = small_config(folder / "texts", rates=[0.5], tasks=["swapped_words"], task_items=5)
    plan = make_plan(config, folder / "out", workers=1)
    run_job(folder / "out", plan.jobs[0])
    return ExperimentDir(folder / "out"), plan


def test_a_job_scores_every_document_with_its_last_weights(
    planned: tuple[ExperimentDir, Plan],
) -> None:
    place, plan = planned
    scores = load_scores(place.path, plan.jobs[0])
    assert scores is not None
    assert list(scores.evals) == ["a", "b"]
    loaded = load_checkpoint(place.run(plan.jobs[0]) / "checkpoints" / "latest")
    for name, found in scores.evals.items():
        texts = [document.text for document in place.read_eval(name)]
        assert found.bytes.tolist() == [len(text.encode()) for text in texts]
        ids = loaded.tokenizer.encode(texts[1])
        bos = loaded.tokenizer.special.bos
        alone = score_documents(loaded.model, [ids], [len(texts[1].encode())], bos=bos)
        assert found.nats[1] == pytest.approx(alone.nats[0], rel=1e-4)
    assert loaded.facts["step"] == plan.dataset("a").steps


def test_a_job_scores_the_tasks(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    scores = load_scores(place.path, plan.jobs[0])
    assert scores is not None
    assert {name: right.size for name, right in scores.tasks.items()} == {
        task.name: task.items for task in plan.tasks
    }
    assert all(0 <= value <= 1 for right in scores.tasks.values() for value in right)


def test_only_finished_jobs_have_scores(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    assert list(load_all_scores(place.path, plan)) == ["a.s0"]
    assert load_scores(place.path, plan.jobs[1]) is None


def test_a_finished_job_is_left_alone(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    before = place.scores(plan.jobs[0]).stat().st_mtime_ns
    status = RunDir(place.run(plan.jobs[0])).status.stat().st_mtime_ns
    run_job(place.path, plan.jobs[0])
    assert place.scores(plan.jobs[0]).stat().st_mtime_ns == before
    assert RunDir(place.run(plan.jobs[0])).status.stat().st_mtime_ns == status


def test_a_job_leaves_the_threads_as_they_were(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    before = torch.get_num_threads()
    run_job(place.path, plan.jobs[0])
    assert torch.get_num_threads() == before


def test_a_rate_check_differs_in_the_rates_only(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    [at_half] = [job for job in plan.jobs if job.rate != 1 and job.dataset == "a"]
    full, half = (job_config(place, plan, job) for job in (plan.jobs[0], at_half))
    assert half.optimizer.matrix_learning_rate == (full.optimizer.matrix_learning_rate or 0) / 2
    assert half.optimizer.learning_rate == (full.optimizer.learning_rate or 0) / 2
    same = {"out", "optimizer"}
    assert half.model_dump(exclude=same) == full.model_dump(exclude=same)


def start(place: ExperimentDir, name: str) -> subprocess.Popen[bytes]:
    """Start a job in a process, and wait until it has saved a checkpoint."""
    command = [sys.executable, "-m", "seedbed.experiments.jobs", str(place.path), name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.005)


def test_a_killed_job_goes_on_to_the_same_scores(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", budget="150k bytes", seeds=1)
    plan = make_plan(config, tmp_path / "out", workers=1)
    place, job = ExperimentDir(tmp_path / "out"), plan.jobs[0]
    process = start(place, job.name)
    wait_for(place.run(job) / "checkpoints" / "latest")
    process.kill()
    process.wait()
    assert load_scores(place.path, job) is None
    run_job(place.path, job)
    interrupted = place.scores(job).read_bytes()
    again = make_plan(config, tmp_path / "again", workers=1)
    run_job(tmp_path / "again", again.jobs[0])
    assert ExperimentDir(tmp_path / "again").scores(job).read_bytes() == interrupted


def test_a_job_that_is_asked_to_stop_saves_its_state_and_says_so(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", budget="400k bytes", seeds=1)
    plan = make_plan(config, tmp_path / "out", workers=1)
    place, job = ExperimentDir(tmp_path / "out"), plan.jobs[0]
    process = start(place, job.name)
    wait_for(place.run(job) / "checkpoints" / "latest")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    assert RunDir(place.run(job)).read_status()["state"] == "stopped"
    assert not place.scores(job).exists()


def test_a_job_ends_when_its_parent_lets_go(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", budget="2m bytes", seeds=1)
    plan = make_plan(config, tmp_path / "out", workers=1)
    place, job = ExperimentDir(tmp_path / "out"), plan.jobs[0]
    process = start(place, job.name)
    wait_for(place.run(job) / "metrics.jsonl")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=20) == 1
    assert not place.scores(job).exists()


def test_a_stop_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(tmp_path / "texts", seeds=1)
    plan = make_plan(config, tmp_path / "out", workers=1)
    place, job = ExperimentDir(tmp_path / "out"), plan.jobs[0]

    def write_status(run: RunDir, state: str, **facts: object) -> None:
        del run, state, facts
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunDir, "write_status", write_status)
    assert not run_job(place.path, job)
    assert not place.scores(job).exists()
    monkeypatch.undo()
    assert run_job(place.path, job)
    assert place.scores(job).exists()


def test_scores_are_whole_arrays_of_numbers(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    with np.load(place.scores(plan.jobs[0]), allow_pickle=False) as arrays:
        assert {"a.nats", "a.tokens", "a.bytes", "swapped_words.a.correct"} <= set(arrays.files)
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
