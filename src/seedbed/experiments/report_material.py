"""What the report tells from an experiment's folder: curves, samples, cost, machines, the texts."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.data.dataset_texts import is_prepared
from seedbed.data.describe import Description, describe
from seedbed.data.pieces import ReadOptions
from seedbed.data.prepared import open_dataset
from seedbed.experiments.plan import ExperimentDir, Job, Plan
from seedbed.experiments.report_parts import Quote
from seedbed.experiments.results import Results
from seedbed.files import append_json_line, read_json, read_json_lines
from seedbed.runs import RunDir

DESCRIBED_BYTES = 1_000_000  # of each dataset, about
_SAMPLES = 2  # of a dataset
_PARTS = ("training", "scoring")  # of a job's seconds


@dataclass(frozen=True)
class Material:
    """What there is beside the results. What an experiment did not keep is empty."""

    plan: Plan
    curves: dict[str, np.ndarray]  # of a dataset: bytes of text, then each run: (1 + runs, points)
    samples: list[Quote]
    seconds: dict[str, dict[str, float]]  # of a job: training, scoring
    machines: list[str]  # what the jobs ran on, and with what
    contents: dict[str, str]  # DATASET/PART: what its text adds up to
    description: Description | None
    settings: str  # experiment.yaml


def read_material(folder: Path, results: Results) -> Material:
    """Return what the folder of an experiment has for its report."""
    place = ExperimentDir(folder)
    plan = place.read_plan()
    names = ordered(results, plan)
    timings = read_json(place.timings)["jobs"] if place.timings.is_file() else {}
    settings = folder / "experiment.yaml"
    return Material(
        plan=plan,
        curves=_curves(place, plan, results),
        samples=[quote for name in names for quote in _samples(place, plan, results, name)],
        seconds={name: {part: job[part] for part in _PARTS} for name, job in timings.items()},
        machines=_machines(place, plan, timings),
        contents=_contents(place, plan),
        description=_describe(place, plan, names),
        settings=settings.read_text(encoding="utf-8") if settings.is_file() else "",
    )


def ordered(results: Results, plan: Plan) -> list[str]:
    """Return all datasets: as ranked, then those without a finished run."""
    rest = [facts.name for facts in plan.datasets if facts.name not in results.ranking]
    return [*results.ranking, *rest]


def _finished(plan: Plan, results: Results, dataset: str) -> list[Job]:
    """Return a dataset's finished jobs at the planned rate."""
    done = {run.name for run in results.runs if run.state == "finished"}
    return [job for job in plan.main_jobs if job.dataset == dataset and job.name in done]


def _curves(place: ExperimentDir, plan: Plan, results: Results) -> dict[str, np.ndarray]:
    """Return the validation curves of each dataset's runs, where all of them were evaluated."""
    curves: dict[str, np.ndarray] = {}
    for name in results.ranking:
        runs = [_points(place.run(job)) for job in _finished(plan, results, name)]
        shared = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
        if shared:
            facts = plan.dataset(name)
            seen = np.array(shared) * (facts.bytes_per_run / facts.tokens_per_run)
            curves[name] = np.array([seen, *([run[at] for at in shared] for run in runs)])
    return curves


def _points(run: Path) -> dict[int, float]:
    """Return a run's bits per byte of held-out text, by the tokens seen."""
    records = read_json_lines(RunDir(run).metrics)
    key = "val_bits_per_byte"
    return {r["tokens"]: r[key] for r in records if r.get(key) is not None}


def _samples(place: ExperimentDir, plan: Plan, results: Results, dataset: str) -> list[Quote]:
    """Return what the first finished run of a dataset wrote at its end."""
    for job in _finished(plan, results, dataset)[:1]:
        samples = read_json_lines(RunDir(place.run(job)).samples)
        last = [s for s in samples if s["step"] == samples[-1]["step"]]
        return [Quote(dataset, sample["prompt"], sample["text"]) for sample in last[:_SAMPLES]]
    return []


def _machines(place: ExperimentDir, plan: Plan, timings: dict[str, Any]) -> list[str]:
    """Return in a line each what the jobs ran on: one, unless they ran in several places."""
    found: set[str] = set()
    for job in plan.jobs:
        file = RunDir(place.run(job)).environment
        if file.is_file():
            facts = read_json(file)
            machine = timings.get(job.name, {}).get("machine") or "machine unknown"
            packages = ", ".join(f"{name} {of}" for name, of in facts["packages"].items())
            system = f"{facts['cores']} cores, {facts['platform']}"
            found.add(f"{machine}, {system}; Python {facts['python']}; {packages}")
    return sorted(found)


def _contents(place: ExperimentDir, plan: Plan) -> dict[str, str]:
    parts = dict.fromkeys((job.dataset, job.part) for job in plan.jobs)
    folders = {f"{name}/{part}": place.data(name, part) for name, part in parts}
    return {
        key: open_dataset(folder, verify=False).manifest["content"]
        for key, folder in folders.items()
        if is_prepared(folder)
    }


def _describe(place: ExperimentDir, plan: Plan, names: Sequence[str]) -> Description | None:
    """Return what the texts are like that the first runs learn from; None where they are gone."""
    parts = {job.dataset: job.part for job in reversed(plan.main_jobs)}
    folders = [place.data(name, parts[name]) for name in names]
    if not all(is_prepared(folder) for folder in folders):
        return None
    with tempfile.TemporaryDirectory() as aside:
        files = [Path(aside) / f"{number}.jsonl" for number in range(len(names))]
        for folder, file in zip(folders, files, strict=True):
            _write_some(folder, file)
        found = describe([str(file) for file in files], options=ReadOptions(whole=True))
    named = zip(found.datasets, names, strict=True)
    return replace(found, datasets=[replace(each, name=name) for each, name in named])


def _write_some(folder: Path, file: Path) -> None:
    """Write the training documents of a prepared dataset, or every second, third and so on."""
    dataset = open_dataset(folder, verify=False)
    shards, tokenizer = dataset.train, dataset.tokenizer
    every = math.ceil(dataset.manifest["train"]["bytes"] / DESCRIBED_BYTES)
    for at in range(0, shards.num_documents, max(1, every)):
        ids = tokenizer.special.inside(shards.document(at))
        append_json_line(file, {"text": tokenizer.decode(ids.tolist())})
