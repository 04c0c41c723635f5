"""Whether a run begins, goes on as it was, goes on with changed settings, or is over."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

from seedbed.checkpoints import CheckpointFolder, find_checkpoint
from seedbed.config import build, differences, read_yaml, to_yaml
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.distributed import World
from seedbed.errors import ConfigError
from seedbed.files import write_json, write_text
from seedbed.runs import RunDir
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.job import RunResult
from seedbed.training.resolve import resolve

MAY_CHANGE = (
    "data",  # a dataset moved elsewhere; its content may not change
    "out",
    "horizon",
    "evaluation",
    "checkpoint",
    "samples",
    "log_every",
    "trackers",
)
_INTERVALS = {"evaluation": {"every": True}, "checkpoint": {"every": True}, "log_every": True}


def resume_or_begin(
    run: RunDir,
    config: TrainConfig,
    dataset: PreparedDataset,
    world: World,
    resume: Literal["auto", "never"],
) -> None:
    """Write what was asked and what it was resolved to, or check that it is what the run has.

    A run without a checkpoint has nothing to lose: it begins anew when other settings are asked.
    Raises ConfigError when the run was begun with other settings than may change.
    """
    request = {
        "config": _asked_for(config),
        "data": dataset.fingerprint,
        "tokenizer": dataset.tokenizer.fingerprint(),
    }
    if config.finetune and config.finetune.replay:
        request["replay"] = open_dataset(config.finetune.replay).fingerprint
    before = _asked_before(run)
    has_checkpoint = bool(CheckpointFolder(run.checkpoints).steps())
    if before is None and has_checkpoint:
        raise ConfigError(
            f"{run.path} has checkpoints but no whole {run.request.name}, so what they were "
            "trained with is not known. Choose another --out."
        )
    if before is None or not (has_checkpoint or before == request):
        _begin(run, config, request, dataset, world)
        return
    if resume == "never":
        raise ConfigError(f"{run.path} holds a run already. Choose another --out, or resume it.")
    changed = differences(before, request)
    refused = [key for key in changed if not set(key.split(".")[1:2]) & set(MAY_CHANGE)]
    if refused:
        raise ConfigError(_what_changed(run, {key: changed[key] for key in refused}))
    if changed:
        resolved = build(TrainConfig, read_yaml(run.config))
        if "config.horizon" in changed and Horizon.parse(config.horizon).unit == "minutes":
            raise ConfigError(_no_more_minutes(run, resolved))
        now = _changed(resolved, config, changed, dataset, world)
        _refuse_fewer_steps(run, now)
        write_text(run.config, to_yaml(now))
        write_json(run.request, request)


def _asked_for(config: TrainConfig) -> dict[str, Any]:
    """Return the settings as they are compared: where a run keeps its start is not asked for."""
    asked = config.model_dump(mode="json")
    return {**asked, "from_checkpoint": None} if config.finetune else asked


def _asked_before(run: RunDir) -> dict[str, Any] | None:
    """Return what a run was asked for; settings that are newer than it have their defaults.

    None where that is not known: there is no request.json, or a damaged one.
    """
    request = run.read_request()
    if not isinstance(request.get("config"), dict):
        return None
    return {**request, "config": _asked_for(build(TrainConfig, request["config"]))}


def _begin(
    run: RunDir,
    config: TrainConfig,
    request: dict[str, Any],
    dataset: PreparedDataset,
    world: World,
) -> None:
    """Write the settings of a new run, the request last: with it, the run has begun."""
    resolved = resolve(config, dataset, world)
    if config.from_checkpoint is not None:  # the best of a run may be another one tomorrow
        origin = find_checkpoint(config.from_checkpoint)
        resolved = resolved.model_copy(update={"from_checkpoint": origin})
    run.request.unlink(missing_ok=True)
    run.checkpoints.mkdir(exist_ok=True)
    run.write_environment()
    write_text(run.config, to_yaml(resolved))
    write_json(run.request, request)


def _changed(
    resolved: TrainConfig,
    asked: TrainConfig,
    changed: Iterable[str],
    dataset: PreparedDataset,
    world: World,
) -> TrainConfig:
    """Return a run's config with what may change taken from `asked`, resolved anew."""
    now = asked.model_dump(mode="json", include=set(MAY_CHANGE), exclude_none=True)
    kept = resolved.model_dump(mode="json", exclude={*MAY_CHANGE, "from_checkpoint"})
    if "config.horizon" not in changed:  # minutes became steps, and intervals with them
        now["horizon"] = resolved.horizon
        kept |= resolved.model_dump(include=_INTERVALS)
    alone = World(device=world.device)  # how many processes there are today is not of the run
    anew = resolve(build(TrainConfig, kept, now), dataset, alone)
    return anew.model_copy(update={"from_checkpoint": resolved.from_checkpoint})


def _what_changed(run: RunDir, changed: dict[str, tuple[Any, Any]]) -> str:
    names = {
        "data": "the dataset's content",
        "tokenizer": "the dataset's tokenizer",
        "replay": "the content of `replay`",
    }
    lines = [
        f"  {names.get(key) or key.removeprefix('config.')}: was {old!r}, is {new!r}"
        for key, (old, new) in changed.items()
    ]
    return (
        f"{run.path} was begun with other settings:\n" + "\n".join(lines) + "\n"
        "Ask for the same again, or choose another --out."
    )


def _no_more_minutes(run: RunDir, resolved: TrainConfig) -> str:
    done = CheckpointFolder(run.checkpoints).steps()[-1]
    return (
        f"{run.path} has begun: {done:,} of its {resolved.horizon} are done. Say in --steps, "
        "--tokens or --epochs how far it shall go."
    )


def _refuse_fewer_steps(run: RunDir, config: TrainConfig) -> None:
    """Raise ConfigError when the run has done more steps than a config gives it."""
    asked = round(Horizon.parse(config.horizon).amount)
    done = CheckpointFolder(run.checkpoints).steps()[-1]
    if done > asked:
        raise ConfigError(
            f"{run.path} has done {done:,} steps already, more than the {asked:,} asked for. Ask "
            f"for {done:,} or more, or choose another --out."
        )


def finished_before(run: RunDir, config: TrainConfig) -> RunResult | None:
    """Return how a run ended that is over and whose last checkpoint is whole, else None."""
    try:
        status = run.read_status()
    except ValueError:  # damaged: the checkpoints say where it stands
        return None
    if status.get("state") != "finished":
        return None
    horizon = Horizon.parse(config.horizon)
    if horizon.unit == "steps" and status["steps"] != round(horizon.amount):
        return None
    patience = config.evaluation.patience or math.inf
    if status["step"] < status["steps"] and status["evaluations_since_best"] < patience:
        return None
    folder = CheckpointFolder(run.checkpoints)
    if folder.newest_whole()[0] != folder.at(status["step"]):
        return None
    return RunResult(
        run=run.path,
        state="already finished",
        step=status["step"],
        val_loss=status["val_loss"],
        val_bits_per_byte=status["val_bits_per_byte"],
        best_step=status["best_step"],
    )
