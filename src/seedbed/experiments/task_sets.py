"""The tasks of an experiment: made of its evaluation texts, or brought along in folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seedbed.errors import ConfigError, did_you_mean
from seedbed.evaluation.task_files import holds_tasks, load_tasks, save_tasks
from seedbed.evaluation.task_items import TASKS, Item, chance_of, make_tasks
from seedbed.experiments.config import ExperimentConfig
from seedbed.experiments.plan import ExperimentDir, Plan, TaskSet


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
        TaskSet(name=name, origin=origins[name], items=len(items), chance=chance_of(items))
        for name, items in found.items()
    ]


def check_tasks(config: ExperimentConfig) -> None:
    """Raise ConfigError for what is neither a kind nor a folder of items, or for two of a name."""
    kinds = [name for name in config.tasks if name in TASKS]
    taken = {f"{kind}.{origin}" for kind in kinds for origin in (*config.texts, *config.evals)}
    for name in config.tasks:
        if name in TASKS:
            continue
        if not holds_tasks(Path(name).expanduser()):
            raise ConfigError(
                f"`tasks` has {name!r}, which is neither one of {', '.join(TASKS)} nor a folder "
                f"of items.{did_you_mean(name, TASKS)}"
            )
        brought = load_tasks(Path(name).expanduser()).keys()
        if taken & brought:
            raise ConfigError(
                f"`tasks` has two tasks called {min(taken & brought)!r}, the second in {name}: "
                "rename its file."
            )
        taken |= brought


def task_groups(plan: Plan, folder: Path) -> dict[str, list[int]]:
    """Return, for each task of an experiment, the group of each item: those that share text."""
    if not plan.tasks:
        return {}
    tasks = load_tasks(ExperimentDir(folder).tasks)
    return {name: [item.group for item in items] for name, items in tasks.items()}
