"""A run's folder: its settings, what it measured, its state, and a lock against a second process.

runs/NAME/
  request.json   the settings as asked for: the same command again must ask the same
  config.yaml    the settings as resolved: a recipe that gives this run again
  env.json  status.json  metrics.jsonl  samples.jsonl  checkpoints/
  base/  data/   of fine-tuning alone: the weights it began from, and its conversations
"""

from __future__ import annotations

import json
import math
import os
import platform
import secrets
import sys
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import psutil

from seedbed.errors import CheckpointError, ConfigError, UserError, how_to_install
from seedbed.files import (
    append_json_line,
    full_disk_explained,
    held_alone,
    read_json,
    read_json_lines,
    read_manifest,
    write_json,
    write_text,
)

_SECONDS_BETWEEN_STATUSES = 1.0


class RunDir:
    """The folder of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.request = path / "request.json"
        self.config = path / "config.yaml"
        self.environment = path / "env.json"
        self.status = path / "status.json"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples.jsonl"
        self.checkpoints = path / "checkpoints"
        self.base = path / "base"
        self.data = path / "data"
        self._status_at = -math.inf

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for this process; the lock goes with the process, however it ends.

        Raises CheckpointError when another process holds it.
        """
        problem = "is in use by another process. Wait for it, or choose another --out."
        return held_alone(self.path / ".lock", otherwise=CheckpointError(f"{self.path} {problem}"))

    def full_disk_explained(self) -> AbstractContextManager[None]:
        """Turn the error of a full disk into a CheckpointError that says what to do."""
        return full_disk_explained(
            lambda error: CheckpointError(
                f"The disk is full ({error.strerror}): {self.path} could not be written. Its "
                "checkpoints are whole. Free some space and run the same command again."
            )
        )

    def write_status(self, state: str, **facts: Any) -> None:
        """Replace status.json: running, saving, stopped, finished or failed; and what is known.

        It is not flushed: where a power cut damages it, the checkpoints say where the run stands.
        """
        record = {"state": state, "pid": os.getpid(), **facts, "timestamp": timestamp()}
        write_json(self.status, record, flush=False)
        self._status_at = time.monotonic()

    def write_running(self, **facts: Any) -> None:
        """Say in status.json that the run is at work, unless a second ago it said so already."""
        if time.monotonic() - self._status_at >= _SECONDS_BETWEEN_STATUSES:
            self.write_status("running", **facts)

    def read_status(self) -> dict[str, Any]:
        """Return status.json, or {} where there is none."""
        return read_json(self.status) if self.status.is_file() else {}

    def read_request(self) -> dict[str, Any]:
        """Return request.json, or {} where there is none, or a damaged one."""
        try:
            return dict(read_json(self.request))
        except (OSError, ValueError, TypeError):
            return {}

    def manifest_of(self, dataset: Path | None) -> dict[str, Any]:
        """Return the manifest in a dataset's folder, if it is the one that the run began with.

        Otherwise {}: it is no longer there, or was made anew since.
        """
        try:
            manifest = read_manifest(dataset) if dataset else {}
        except (UserError, OSError):
            return {}
        return manifest if manifest.get("checksum") == self.read_request().get("data") else {}

    def is_held(self) -> bool:
        """Return whether a process works on the run at this moment."""
        if not (self.path / ".lock").is_file():
            return False
        try:
            with self.lock():
                return False
        except CheckpointError:
            return True
        except OSError:  # somebody else's folder, where nothing may be written: ask for the process
            return psutil.pid_exists(self.read_status().get("pid", -1))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl, as far as they are written.

        Raises CheckpointError when a line other than the last is damaged.
        """
        return _records_of_steps(self.metrics)

    def write_environment(self) -> None:
        """Write env.json: what this run runs on, and a name of it that no other run has."""
        packages = ("seedbed", "torch", "numpy", "tokenizers", "safetensors")
        write_json(
            self.environment,
            {
                "id": secrets.token_hex(8),
                "python": sys.version.split()[0],
                "platform": platform.platform(),
                "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
                "packages": {name: version(name) for name in packages},
                "command": sys.argv,
                "started": timestamp(),
            },
        )

    def truncate_logs(self, step: int) -> None:
        """Drop what metrics.jsonl and samples.jsonl say of steps after `step`.

        Raises CheckpointError when a line other than the last is damaged.
        """
        for path in (self.metrics, self.samples):
            if path.exists():
                kept = [r for r in _records_of_steps(path) if r["step"] <= step]
                lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in kept]
                write_text(path, "".join(lines))


def _records_of_steps(path: Path) -> list[dict[str, Any]]:
    try:
        records = read_json_lines(path)
        whole = all(record.keys() >= {"step"} for record in records)
    except (ValueError, AttributeError):  # no JSON, or no object
        records, whole = [], False
    if not whole:
        raise CheckpointError(
            f"{path} is damaged: it has a line that is no record of a step. Take the line out."
        )
    return records


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders in a folder and its subfolders, by name; itself, where it is one.

    A run folder holds at least two of a run's own files, so that a damaged one is found too.
    """
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        if len(_OWN_FILES.intersection(files)) > 1:
            found.append(Path(parent))
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


_OWN_FILES = {"request.json", "config.yaml", "env.json", "status.json", "metrics.jsonl"}


class Tracker(Protocol):
    """Something that measurements are sent to as training goes."""

    def log(self, record: dict[str, Any]) -> None:
        """Take one record: `step`, and numbers or None."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


class JsonLinesTracker:
    """metrics.jsonl, a line each logged step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, record: dict[str, Any]) -> None:
        """Append the record, nulls included: each line has the same keys."""
        append_json_line(self._path, record)

    def close(self) -> None:
        """Do nothing: each line is written at once."""


class TensorBoardTracker:
    """Event files under RUN/tensorboard."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer  # pyright: ignore[reportMissingTypeStubs]
        except ImportError:
            raise ConfigError(
                f"`trackers` has tensorboard, which is not installed: {how_to_install('track')}."
            ) from None
        self._writer: Any = Writer(str(folder))

    def log(self, record: dict[str, Any]) -> None:
        """Send every number of the record."""
        for name, value in _numbers(record).items():
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class WandbTracker:
    """A Weights & Biases run."""

    def __init__(self, run: RunDir, config: dict[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ConfigError(
                f"`trackers` has wandb, which is not installed: {how_to_install('track')}."
            ) from None
        self._run: Any = wandb.init(  # pyright: ignore[reportUnknownMemberType]
            project="seedbed",
            name=run.path.name,
            id=read_json(run.environment)["id"],
            resume="allow",
            config=config,
        )

    def log(self, record: dict[str, Any]) -> None:
        """Send every number of the record."""
        self._run.log(_numbers(record), step=record["step"])

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def open_trackers(run: RunDir, names: tuple[str, ...], config: dict[str, Any]) -> list[Tracker]:
    """Return the trackers of a run: JSON Lines always, the named ones beside it."""
    trackers: list[Tracker] = [JsonLinesTracker(run.metrics)]
    if "tensorboard" in names:
        trackers.append(TensorBoardTracker(run.path / "tensorboard"))
    if "wandb" in names:
        trackers.append(WandbTracker(run, config))
    return trackers


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in record.items() if isinstance(v, int | float) and k != "step"}


def timestamp() -> str:
    """Return the time now, in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
