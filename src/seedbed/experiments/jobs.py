"""One job of an experiment: a training by one thread, and what its last weights cost each text.

`python -m seedbed.experiments.jobs DIR JOB` does one, in a process that ends with its parent.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seedbed.checkpoints import load_checkpoint
from seedbed.evaluation.bits_per_byte import DocumentScores, score_documents
from seedbed.evaluation.task_files import load_tasks
from seedbed.evaluation.tasks import score_tasks
from seedbed.experiments.budgets import EVALUATED_TOKENS, EVALUATIONS, at_rate
from seedbed.experiments.plan import ExperimentDir, Job, Plan
from seedbed.files import PARTIAL, flush_to_disk, write_json
from seedbed.machine import this_machine
from seedbed.model.config import ModelSettings
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.load import load_tokenizer
from seedbed.training.config import (
    CheckpointSettings,
    EvaluationSettings,
    SampleSettings,
    TrainConfig,
)
from seedbed.training.pretrain import train
from seedbed.training.stopping import STOPPED

SAMPLE_TOKENS = 48
_PARTS = ("nats", "tokens", "bytes")


@dataclass(frozen=True)
class JobScores:
    """What a run scored. Documents are in the order of the set, contaminated ones included."""

    evals: Mapping[str, DocumentScores]  # by evaluation set
    tasks: Mapping[str, NDArray[np.float64]]  # by task: (items,) 1 where right, or a share of it


def run_job(folder: Path, job: Job) -> bool:
    """Train and score one job of the experiment in a folder; return whether it finished.

    It has one thread, and once is enough. One that was interrupted, or asked to stop, goes on where
    it was when it is run again.
    """
    place = ExperimentDir(folder)
    if place.scores(job).is_file():
        return True
    plan = place.read_plan()
    with _one_thread():
        started = time.perf_counter()
        result = train(job_config(place, plan, job), quiet=True)
        if result.state == "stopped":
            return False
        trained = time.perf_counter()
        scores = score(place, plan, job)
        timing = {
            "training": round(trained - started, 2),  # of this process, were there others before
            "scoring": round(time.perf_counter() - trained, 2),
            "machine": this_machine().name,
            "cores": this_machine().cores,
        }
        write_json(place.run(job) / "timing.json", timing)
        _write_scores(place.scores(job), scores)
    return True


@contextmanager
def _one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def job_config(place: ExperimentDir, plan: Plan, job: Job) -> TrainConfig:
    """Return the training that a job is."""
    steps = plan.dataset(job.dataset).steps
    return TrainConfig(
        data=place.data(job.dataset, job.part),
        out=place.run(job),
        seed=job.seed,
        horizon=f"{steps} steps",
        model=ModelSettings(**plan.model.model_dump(exclude={"vocab_size"})),
        batch_size=plan.batch_size,
        device=plan.device,
        precision=plan.precision,  # pyright: ignore[reportArgumentType]
        compile="off",
        optimizer=at_rate(plan.optimizer, job.rate),
        schedule=plan.schedule,
        evaluation=EvaluationSettings(every=-(-steps // EVALUATIONS), tokens=EVALUATED_TOKENS),
        checkpoint=CheckpointSettings(keep=1),
        samples=SampleSettings(tokens=SAMPLE_TOKENS),
    )


def score(place: ExperimentDir, plan: Plan, job: Job) -> JobScores:
    """Return what the last weights of a finished run score on every evaluation set, in float32."""
    model = load_checkpoint(place.run(job) / "checkpoints" / "latest", plan.device).model
    evals = {e.name: score_eval(place, model, e.name) for e in plan.evals}
    if not plan.tasks:
        return JobScores(evals, {})
    tasks = score_tasks(model, load_tokenizer(place.tokenizer), load_tasks(place.tasks))
    return JobScores(evals, {name: task.correct for name, task in tasks.items()})


def score_eval(place: ExperimentDir, model: Transformer, name: str) -> DocumentScores:
    """Return what a model makes of an evaluation set, document by document."""
    tokenizer = load_tokenizer(place.tokenizer)
    texts = [document.text for document in place.read_eval(name)]
    return score_documents(
        model,
        [tokenizer.encode(text) for text in texts],
        [len(text.encode()) for text in texts],
        bos=tokenizer.special.bos,
    )


def _write_scores(path: Path, scores: JobScores) -> None:
    """Write the scores, which says that the job is done."""
    arrays = {f"{n}.{part}": getattr(of, part) for n, of in scores.evals.items() for part in _PARTS}
    arrays |= {f"{name}.correct": correct for name, correct in scores.tasks.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + PARTIAL)
    with aside.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    flush_to_disk(path.parent)


def load_scores(folder: Path, job: Job) -> JobScores | None:
    """Return what a finished job scored, or None where it is not finished."""
    path = ExperimentDir(folder).scores(job)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        by_name = {name: arrays[name] for name in arrays.files}
    names = [name.removesuffix(".nats") for name in by_name if name.endswith(".nats")]
    tasks = [name.removesuffix(".correct") for name in by_name if name.endswith(".correct")]
    return JobScores(
        {n: DocumentScores(*(by_name[f"{n}.{part}"] for part in _PARTS)) for n in names},
        {n: by_name[f"{n}.correct"] for n in tasks},
    )


def load_all_scores(folder: Path, plan: Plan) -> dict[str, JobScores]:
    """Return what every finished job of a plan scored, by the job's name."""
    found = {job.name: load_scores(folder, job) for job in plan.jobs}
    return {name: scores for name, scores in found.items() if scores is not None}


def _end_with_parent() -> None:
    """End this process when stdin does: a pipe that the parent holds, however that dies."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _main(folder: str, name: str) -> int:
    _end_with_parent()
    plan = ExperimentDir(Path(folder)).read_plan()
    job = next(job for job in plan.jobs if job.name == name)
    return 0 if run_job(Path(folder), job) else STOPPED


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
