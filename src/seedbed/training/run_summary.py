"""Where runs stand and what they reached, read from their folders, finished or not. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from seedbed.config import build, read_yaml
from seedbed.errors import ConfigError, UserError
from seedbed.files import MANIFEST, read_json
from seedbed.model.config import ModelConfig
from seedbed.runs import RunDir, find_runs
from seedbed.training.config import Horizon, TrainConfig

State = Literal["running", "stopped", "finished", "failed", "crashed", "damaged"]
T = TypeVar("T")


@dataclass(frozen=True)
class RunSummary:
    """Where one run stands. None: not known, or nothing yet."""

    run: Path
    state: State  # crashed: it says that it runs, but no process does
    problem: str | None  # why it failed, or what is damaged
    data: Path | None
    parameters: int | None
    step: int
    steps: int | None
    best_step: int | None
    best_loss: float | None  # of validation: nats per token, or of dpo per pair of answers
    best_bits_per_byte: float | None
    last_loss: float | None  # of validation
    train_loss: float | None  # the last
    tokens: int | None  # seen
    seconds: float | None  # of training, evaluation and saving included
    tokens_per_second: float | None  # over all of it
    updated: str  # ISO 8601


def list_runs(
    folder: Path | str = "runs", *, sort: Literal["newest", "score"] = "newest"
) -> list[RunSummary]:
    """Return the runs in a folder and its subfolders: the newest first, or the best.

    The best has the fewest bits per byte. Raises ConfigError where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder. Say with --in where the runs are.")
    runs = sorted((summarise(path) for path in find_runs(folder)), key=_age)
    return sorted(runs, key=_score) if sort == "score" else runs


def _age(run: RunSummary) -> float:
    return -datetime.fromisoformat(run.updated).timestamp()


def _score(run: RunSummary) -> float:
    return math.inf if run.best_bits_per_byte is None else run.best_bits_per_byte


def summarise(path: Path) -> RunSummary:
    """Return where the run in a folder stands; what cannot be read is told as its problem.

    Lists are long and YAML is slow, so config.yaml is read in full only where it looks cut short
    or nothing else says what it does.
    """
    run, problems = RunDir(path), list[str]()
    status = _read(run.status, lambda: dict(run.read_status()), dict[str, Any](), problems)
    records = _read(run.metrics, run.read_metrics, list[dict[str, Any]](), problems)
    last = records[-1] if records else {}
    scored = [r for r in records if _number(r, "val_loss") is not None]
    best = min(scored, key=lambda r: r["val_loss"], default=dict[str, Any]())
    tokens, seconds = _number(last, "tokens"), _number(last, "seconds")
    steps, asked = _number(status, "steps"), _asked(run)
    data = Path(str(asked["data"])) if "data" in asked else None
    parameters = _parameters_of_checkpoint(run)
    if not (steps and data and parameters and _looks_whole(run.config, asked)):
        config = _read(run.config, lambda: read_config(run), None, problems)
        if config is not None:
            steps, data = steps or _steps_of(config), config.data
            parameters = parameters or _parameters_of_config(config)
    return RunSummary(
        run=path,
        state="damaged" if problems else state_of(run, status),
        problem=" ".join([*problems, status.get("error") or ""]).strip() or None,
        data=data,
        parameters=parameters,
        step=int(_number(last, "step") or _number(status, "step") or 0),
        steps=int(steps) if steps else None,
        best_step=best.get("step"),
        best_loss=best.get("val_loss"),
        best_bits_per_byte=_number(best, "val_bits_per_byte"),
        last_loss=scored[-1]["val_loss"] if scored else None,
        train_loss=_last_number(records, "train_loss"),
        tokens=None if tokens is None else int(tokens),
        seconds=seconds,
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        updated=_updated(run, status),
    )


def read_config(run: RunDir) -> TrainConfig:
    """Return the settings of a run, as resolved. Raises ConfigError when they are damaged."""
    return build(TrainConfig, read_yaml(run.config))


def _asked(run: RunDir) -> dict[str, Any]:
    """Return the settings that were asked for, or {} where they are not known."""
    try:
        return dict(run.read_request()["config"])
    except (KeyError, TypeError, ValueError):
        return {}


def _looks_whole(config: Path, asked: dict[str, Any]) -> bool:
    """Return whether each setting that was asked for has its line."""
    try:
        text = "\n" + config.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return all(f"\n{name}:" in text for name in asked)


def _parameters_of_checkpoint(run: RunDir) -> int | None:
    try:
        shape = read_json(run.checkpoints / "latest" / "config.json")["seedbed"]
        return build(ModelConfig, shape).parameters.total
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def _parameters_of_config(config: TrainConfig) -> int | None:
    """Return the number of parameters, where the dataset still tells the size of its vocabulary."""
    try:
        vocab_size = read_json(config.data / MANIFEST)["vocab_size"]
        return config.model.resolve(vocab_size).parameters.total
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def _read(file: Path, read: Callable[[], T], otherwise: T, problems: list[str]) -> T:
    """Return what `read` reads; where it cannot, `otherwise`, and say so."""
    try:
        return read()
    except UserError as error:
        problems.append(str(error) if str(file) in str(error) else f"{file}: {error}")
    except (OSError, ValueError, TypeError) as error:
        problems.append(f"{file} cannot be read: {error}.")
    return otherwise


def state_of(run: RunDir, status: dict[str, Any]) -> State:
    """Return the state of a run whose status.json is `status`, and whether a process is at it."""
    said = status.get("state")
    if said == "finished":
        return "finished"
    if run.is_held():
        return "running"
    return said if said in ("stopped", "failed") else "crashed"


def _steps_of(config: TrainConfig) -> int | None:
    horizon = Horizon.parse(config.horizon)
    return round(horizon.amount) if horizon.unit == "steps" else None


def _updated(run: RunDir, status: dict[str, Any]) -> str:
    try:
        said = datetime.fromisoformat(status["timestamp"])
    except (KeyError, TypeError, ValueError):
        said = datetime.fromtimestamp(run.path.stat().st_mtime, UTC)
    if said.tzinfo is None:
        said = said.replace(tzinfo=UTC)
    return said.isoformat(timespec="seconds")


def _number(record: dict[str, Any], key: str) -> float | None:
    value = record.get(key)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _last_number(records: Iterable[dict[str, Any]], key: str) -> float | None:
    numbers = [n for record in records if (n := _number(record, key)) is not None]
    return numbers[-1] if numbers else None
