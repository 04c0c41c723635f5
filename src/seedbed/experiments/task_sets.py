"""The tasks of an experiment: made of its evaluation texts, or brought along in folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from seedbed.errors import ConfigError, did_you_mean
from seedbed.evaluation.task_files import holds_tasks, load_tasks, save_tasks
from seedbed.evaluation.task_items import TASKS, Item, make_tasks
from seedbed.experiments.config import ExperimentConfig
from seedbed.experiments.plan import ExperimentDir, TaskSet


def write_tasks(
    config: ExperimentConfig, place: ExperimentDir, evals: Mapping[str, Sequence[str]]
) -> list[TaskSet]:
    """Return the tasks that the config names, written to the experiment's folder.

    `evals` has the documents of each evaluation set that no training text has. A task made of one
    is called KIND.SET. Raises ConfigError for a name that is neither a kind nor a folder of items.
    """
    check_tasks(config)
    found: dict[str, list[Item]] = {}
    origins: dict[str, str | None] = {}
    for name in config.tasks:
        if name not in TASKS:
            brought = load_tasks(Path(name).expanduser())
            found |= brought
            origins |= dict.fromkeys(brought)
    kinds = [name for name in config.tasks if name in TASKS]
    for origin, documents in evals.items() if kinds else ():
        made = make_tasks(documents, seed=config.seed, items=config.task_items)
        for kind in kinds:
            if kind in made:
                found[f"{kind}.{origin}"] = made[kind]
                origins[f"{kind}.{origin}"] = origin
    if found:
        save_tasks(place.tasks, found)
    return [
        TaskSet(name=name, origin=origins[name], items=len(items), chance=_chance(items))
        for name, items in found.items()
    ]


def check_tasks(config: ExperimentConfig) -> None:
    """Raise ConfigError for a task that is neither a kind nor a folder of items."""
    for name in config.tasks:
        if name not in TASKS and not holds_tasks(Path(name).expanduser()):
            raise ConfigError(
                f"`tasks` has {name!r}, which is neither one of {', '.join(TASKS)} nor a folder "
                f"of items.{did_you_mean(name, TASKS)}"
            )


def _chance(items: Sequence[Item]) -> float:
    return math.fsum(1 / len(item.choices) for item in items) / len(items)
