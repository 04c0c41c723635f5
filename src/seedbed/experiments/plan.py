"""The plan of an experiment: what is decided before training; and where things lie. No torch.

DIR/experiment.yaml     the settings as resolved
DIR/request.json        as asked: the same command again must ask the same
DIR/sources.json        the files that were read, to notice where they change
DIR/plan.json           the plan; written once, when all that it speaks of is there
DIR/tokenizer/          shared by all datasets
DIR/data/DATASET/PART/  prepared datasets: a part of the documents, and those held out as val
DIR/eval/NAME/          documents.jsonl: what models are judged on
DIR/tasks/              items of tasks, where there are any
DIR/runs/JOB/           a run of `train`, and timing.json
DIR/scores/JOB.npz      what the run's last weights cost each evaluation document
DIR/timings.json        seconds of each job: apart, so that all else is equal for any workers
DIR/failed.json         jobs that failed twice, with their last words
"""

# pyright: strict

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.config import Settings, build
from seedbed.errors import DataError
from seedbed.files import held_alone, read_json, read_json_lines, write_json
from seedbed.machine import this_machine
from seedbed.model.config import ModelConfig
from seedbed.training.config import OptimizerSettings, ScheduleSettings

FEWEST_KEPT = 2  # documents of an evaluation set that counts: of one, nothing tells the scatter


def usual_workers(device: str) -> int:
    """Return how many jobs run at once unless it is said: one a core, or one for a GPU."""
    return this_machine().cores if device == "cpu" else 1


class Job(Settings):
    """One training: a dataset, a replicate of it, and a multiple of the learning rates."""

    dataset: str
    replicate: int  # from 0
    rate: float = 1.0
    seed: int  # of the weights and the order; the same at other rates
    part: str  # of the dataset's documents: "0", "1", ..., or "all"

    @property
    def name(self) -> str:
        """What its files are called.

        >>> Job(dataset="a", replicate=2, rate=0.5, seed=1, part="2").name
        'a.s2.x0.5'
        """
        rate = "" if self.rate == 1 else f".x{self.rate:g}"
        return f"{self.dataset}.s{self.replicate}{rate}"


class EvalSet(Settings):
    """Texts that every run is judged on. Documents that occur in training text are among them."""

    name: str
    origin: str | None  # the dataset whose held-out part it is; None: other text
    documents: int
    bytes: int
    dropped: int  # documents that occur in a training text: `judge` leaves them out

    @property
    def kept(self) -> int:
        """The documents to judge by."""
        return self.documents - self.dropped


class TaskSet(Settings):
    """Items with a right answer."""

    name: str
    origin: str | None  # the evaluation set that it was made of; None: a folder
    items: int
    chance: float  # what guessing gets


class DatasetFacts(Settings):
    """What there is of a dataset, and what a run of it sees."""

    name: str
    sources: tuple[str, ...]
    mixture: dict[str, float]  # {} or the share of each ingredient, in bytes
    found_documents: int  # kept by cleaning, held-out ones included; 0 of a mixture
    found_bytes: int
    training_bytes: int  # of these, without what is held out of any text; 0 of a mixture
    drops: dict[str, int]  # documents that cleaning left out, by reason
    documents: int  # for training, of all parts together
    bytes: int  # of UTF-8
    tokens: int  # by the shared tokenizer, ends of documents counted
    bytes_per_token: float
    parts: int  # 1: all replicates share the documents
    parts_are_disjoint: bool
    steps: int  # of a run
    tokens_per_run: int
    bytes_per_run: int
    flops_per_run: float
    epochs: float  # how often a run sees a document of its part; in a mixture, at most


class Plan(Settings):
    """Everything decided before training."""

    version: str  # of seedbed
    datasets: list[DatasetFacts]
    evals: list[EvalSet]
    tasks: list[TaskSet]
    tokenizer: str  # its kind
    tokenizer_bytes: int  # of each dataset, that it was trained on; 0: it was given
    model: ModelConfig
    parameters: int
    budget: str  # of a run, such as 1,500,000 bytes
    batch_size: int
    optimizer: OptimizerSettings  # the same for all
    schedule: ScheduleSettings
    precision: str
    device: str
    seeds: int
    seed: int
    rates: list[float]
    jobs: list[Job]  # replicate by replicate, so that a part of them is a smaller experiment
    shared_documents: bool  # the verdict holds for these documents only
    alpha: float
    margin: float
    seed_sd: float  # assumed
    minimum_detectable_difference: float | None  # bits per byte; None: with one seed none is
    seconds_per_job: float  # expected, of one core
    workers: int  # that the minutes are for
    minutes_expected: float
    warnings: list[str]

    def dataset(self, name: str) -> DatasetFacts:
        """Return the facts of a dataset."""
        return next(facts for facts in self.datasets if facts.name == name)

    @property
    def main_jobs(self) -> list[Job]:
        """The jobs at the planned learning rate."""
        return [job for job in self.jobs if job.rate == 1]


@dataclass(frozen=True)
class EvalDocument:
    """A document to judge by, and the datasets whose training text has it."""

    text: str
    found_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExperimentDir:
    """The folder of an experiment."""

    path: Path

    @property
    def plan(self) -> Path:
        """Where the plan is."""
        return self.path / "plan.json"

    @property
    def sources(self) -> Path:
        """Where the files are told that were read."""
        return self.path / "sources.json"

    @property
    def tokenizer(self) -> Path:
        """The folder of the shared tokenizer."""
        return self.path / "tokenizer"

    @property
    def timings(self) -> Path:
        """Where the seconds of each job are, once gathered."""
        return self.path / "timings.json"

    @property
    def failed(self) -> Path:
        """Where the jobs are that failed twice."""
        return self.path / "failed.json"

    def data(self, dataset: str, part: str) -> Path:
        """Return the prepared folder of a part of a dataset."""
        return self.path / "data" / dataset / part

    def eval(self, name: str) -> Path:
        """Return the file with the documents of an evaluation set."""
        return self.path / "eval" / name / "documents.jsonl"

    @property
    def tasks(self) -> Path:
        """The folder of the items of all tasks."""
        return self.path / "tasks"

    def run(self, job: Job) -> Path:
        """Return the run folder of a job."""
        return self.path / "runs" / job.name

    def scores(self, job: Job) -> Path:
        """Return the file that is there when a job is done."""
        return self.path / "scores" / f"{job.name}.npz"

    def lock(self) -> AbstractContextManager[None]:
        """Hold the experiment for this process. Raises DataError when another one holds it."""
        problem = "is in use by another process. Wait for it, or choose another --out."
        return held_alone(self.path / ".lock", otherwise=DataError(f"{self.path} {problem}"))

    def read_plan(self) -> Plan:
        """Return the plan."""
        return build(Plan, read_json(self.plan))

    def write_plan(self, plan: Plan) -> None:
        """Write the plan: from now on the experiment is what it says."""
        write_json(self.plan, plan.model_dump(mode="json"))

    def read_eval(self, name: str) -> list[EvalDocument]:
        """Return the documents of an evaluation set."""
        records = read_json_lines(self.eval(name))
        return [EvalDocument(record["text"], tuple(record["found_in"])) for record in records]

    def contaminated(self, name: str) -> NDArray[np.bool_]:
        """Return which documents of an evaluation set occur in a training text: (documents,)."""
        return np.array([bool(document.found_in) for document in self.read_eval(name)], np.bool_)
