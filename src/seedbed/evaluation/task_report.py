"""What `seedbed eval --tasks` reports: how often a model knows how a text goes on."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from seedbed.checkpoints import Checkpoint, load_checkpoint
from seedbed.data.dataset_texts import dataset_names
from seedbed.data.pieces import ReadOptions
from seedbed.data.prepared import open_dataset
from seedbed.data.token_shards import SPLITS, Split
from seedbed.distributed import join_world
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation.evaluate import (
    choose_documents,
    dataset_of_run,
    document_text,
    read_text,
    trained_window,
)
from seedbed.evaluation.task_files import holds_tasks, load_tasks, save_tasks
from seedbed.evaluation.task_items import ITEMS, Item, make_tasks
from seedbed.evaluation.tasks import TaskScore, score_tasks
from seedbed.files import read_json

Tasks = dict[str, list[Item]]

_MOST_TOKENS = 2_000_000  # of a split that tasks are made of


@dataclass(frozen=True)
class TaskFigures:
    """How often a model is right. The names are those of the JSON that `eval --tasks` prints."""

    items: int
    groups: int  # of items that are independent of each other
    chance: float  # the accuracy of guessing
    accuracy: float  # by likelihood per byte
    standard_error: float | None  # of the accuracy, over groups; None for a single one
    low: float  # the 95 % interval of the accuracy
    high: float
    plain_accuracy: float  # by likelihood


@dataclass(frozen=True)
class TasksReport:
    """The figures of each task by its name."""

    tasks: dict[str, TaskFigures]


def evaluate_tasks(
    checkpoint: Path,
    sources: Sequence[str],
    *,
    data: Path | None = None,
    text_field: str | None = None,
    document_separator: str | None = None,
    seed: int = 0,
    limit: int = ITEMS,
    save: Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Callable[[str, int, int], object] = lambda stage, done, total: None,  # noqa: ARG005
    note: Callable[[str], object] = warnings.warn,
) -> TasksReport:
    """Return how a checkpoint or run does on the tasks of `sources`.

    A source is a text, of which tasks are made, `limit` items of each; or "val" or "train", the
    split of `data` or of the dataset that the run was trained on; or a folder or file of items. The
    names of several begin with that of their source. Tasks are written to the folder `save`, where
    it is given. `text_field` and `document_separator` say how texts are read, as in `prepare`;
    `precision` is that of `load_checkpoint`. Raises ConfigError, DataError or CheckpointError.
    """
    if limit < 1:
        raise ConfigError(f"`limit` is {limit} but must be 1 or more.")
    if data and not set(sources) & set(SPLITS):
        raise ConfigError("`--data` is for `--tasks val` or `--tasks train`.")
    loaded = load_checkpoint(checkpoint, join_world(device).device, precision)
    options = ReadOptions(text_field or "text", document_separator)
    tasks: Tasks = {}
    for name, source in zip(dataset_names(sources), sources, strict=True):
        prefix = re.sub(r"[^\w.-]+", "-", name) + "-" if len(sources) > 1 else ""
        found = _tasks_of(source, loaded, data, options, seed, limit, note)
        tasks |= {prefix + task: items for task, items in found.items()}
    if save:
        bos = read_json(loaded.path / "tokenizer_config.json").get("bos_token")
        save_tasks(save, tasks, bos=bos if isinstance(bos, str) else "")
    scores = score_tasks(
        loaded.model,
        loaded.tokenizer,
        tasks,
        window=trained_window(loaded),
        progress=partial(progress, "choosing"),
    )
    return TasksReport({name: figures_of(score) for name, score in scores.items()})


def _tasks_of(
    source: str,
    loaded: Checkpoint,
    data: Path | None,
    options: ReadOptions,
    seed: int,
    limit: int,
    note: Callable[[str], object],
) -> Tasks:
    """Return the tasks of a source; `note` those that have fewer items than were asked for."""
    path = Path(source).expanduser()
    if holds_tasks(path):
        return load_tasks(path)
    if source in SPLITS:
        documents = _documents_of(loaded, data, cast("Split", source))
    else:
        documents = read_text(source, options)
    tasks = make_tasks(documents, seed=seed, items=limit)
    if not tasks:
        raise DataError(
            f"No task can be made of `{source}`: it has no two sentences of which the first has 20 "
            "words or more. Give more text."
        )
    fewer = [f"{name} {len(items):,}" for name, items in tasks.items() if len(items) < 0.9 * limit]
    if fewer:
        note(f"`{source}` has text for fewer than {limit:,} items of some: {', '.join(fewer)}.")
    return tasks


def _documents_of(loaded: Checkpoint, data: Path | None, split: Split) -> list[str]:
    dataset = open_dataset(data) if data else dataset_of_run(loaded)
    if dataset.manifest.get("conversations"):
        raise DataError(f"{dataset.folder} holds conversations: measure these with --chat.")
    shards = dataset.val if split == "val" else dataset.train
    numbers = choose_documents(shards, _MOST_TOKENS)
    return [document_text(dataset, shards.document(number)) for number in numbers]


def figures_of(score: TaskScore) -> TaskFigures:
    """Return the figures of a task's score."""
    error, (low, high) = score.standard_error, score.interval
    return TaskFigures(
        items=len(score.correct),
        groups=len(set(score.groups.tolist())),
        chance=score.chance,
        accuracy=score.accuracy,
        standard_error=None if math.isnan(error) else error,
        low=low,
        high=high,
        plain_accuracy=score.plain_accuracy,
    )
