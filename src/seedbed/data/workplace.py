"""Where a dataset is made: `OUT.partial`, from which an interrupted `prepare` continues.

plan.json       what was asked for; when it changes, everything starts over
hashes.u64      content hash of each document, 0 for a dropped one
survey.json     what the first pass found, written when it has ended
written.json    how far the second pass is known to have reached the disk
dataset/        the folder that becomes OUT, sealed and renamed, so that OUT is whole or not there
old/            what stood at OUT before, when it was to be replaced
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seedbed
from seedbed.config import differences
from seedbed.data.pieces import Source
from seedbed.data.prepared import KIND, PreparedDataset, open_dataset
from seedbed.errors import DataError
from seedbed.files import (
    MANIFEST,
    PARTIAL,
    flush_to_disk,
    full_disk_explained,
    held_alone,
    read_json,
    read_manifest,
    seal_folder,
    write_json,
)

_LOCK = "lock"
_PLAN = "plan.json"


@dataclass(frozen=True)
class Workplace:
    """The files of a dataset's making."""

    out: Path

    @property
    def folder(self) -> Path:
        """Return OUT.partial."""
        return self.out.with_name(self.out.name + PARTIAL)

    @property
    def dataset(self) -> Path:
        """Return the folder that becomes OUT."""
        return self.folder / "dataset"

    @property
    def hashes(self) -> Path:
        """Return the file with a content hash for each document."""
        return self.folder / "hashes.u64"

    @property
    def survey(self) -> Path:
        """Return the file that says what the first pass found."""
        return self.folder / "survey.json"

    @property
    def written(self) -> Path:
        """Return the file that says how far the second pass came."""
        return self.folder / "written.json"

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes out. Raises DataError when one is in."""
        problem = DataError(f"Another process is preparing {self.out}.")
        return held_alone(self.folder / _LOCK, otherwise=problem)

    def start_or_continue(self, settings: Mapping[str, Any], sources: Sequence[Source]) -> None:
        """Keep what an interrupted run of the same plan left here; remove everything else."""
        parts = [
            [p.name, p.size, p.modified, p.version] for source in sources for p in source.parts
        ]
        plan = {"version": seedbed.__version__, "settings": dict(settings), "parts": parts}
        plan_file = self.folder / _PLAN
        if not plan_file.exists() or read_json(plan_file) != plan:
            self._clear()
            write_json(plan_file, plan)
        self.dataset.mkdir(exist_ok=True)

    def _clear(self) -> None:
        (self.folder / _PLAN).unlink(missing_ok=True)  # first: without it nothing here counts
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Seal the finished folder, and put it at OUT."""
        for stale in self.dataset.glob(f"{MANIFEST}*"):
            stale.unlink()
        for file in self.dataset.iterdir():
            flush_to_disk(file)
        seal_folder(self.dataset, kind=KIND, **facts)
        if self.out.exists():
            shutil.rmtree(self.folder / "old", ignore_errors=True)
            self.out.rename(self.folder / "old")
        self.dataset.rename(self.out)
        flush_to_disk(self.out.parent)
        self.remove()

    def full_disk_explained(self) -> AbstractContextManager[None]:
        """Turn the error of a full disk into a DataError that says what to do."""
        return full_disk_explained(
            lambda error: DataError(
                f"The disk is full ({error.strerror}): {self.folder} needs about "
                f"{self._bytes_needed() / 1e6:,.0f} MB more. Free some space and run the same "
                f"command again: it continues. Or remove that folder."
            )
        )

    def _bytes_needed(self) -> float:
        """Estimate what is still to be written, a token taking two bytes and standing for three."""
        if not self.survey.exists():
            return 1e6
        wanted: float = read_json(self.survey)["survey"]["bytes_kept"] * 2 / 3
        there = sum(f.stat().st_size for f in self.dataset.iterdir() if f.is_file())
        return max(1e6, wanted - there)


def finished_dataset(
    out: Path, settings: Mapping[str, Any], sources: Sequence[Source], *, overwrite: bool
) -> PreparedDataset | None:
    """Return the dataset at `out` when it is what was asked for, None when nothing is in the way.

    Raises DataError when something else is there, unless it is a dataset to be overwritten.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        raise DataError(f"{out} exists and is not a prepared dataset. Choose another --out.")
    try:
        manifest = read_manifest(out, error=DataError)
        changed = _what_changed(
            manifest, settings, sources, since=(out / MANIFEST).stat().st_mtime_ns
        )
        if not changed:
            return open_dataset(out)
    except DataError:
        if not overwrite:
            raise
        return None
    if not overwrite:
        raise DataError(
            f"{out} holds another dataset: {', '.join(changed)} changed. "
            "Choose another --out, or --overwrite it."
        )
    return None


def _what_changed(
    manifest: Mapping[str, Any],
    settings: Mapping[str, Any],
    sources: Sequence[Source],
    *,
    since: int,
) -> list[str]:
    if manifest.get("kind") != KIND:
        return ["the kind of folder"]
    changed = [f"`{key}`" for key in differences(manifest["settings"], dict(settings))]
    sizes = {source["name"]: source for source in manifest["sources"]}
    for source in sources:
        if sizes.get(source.name) != source.facts() or source.modified > since:
            changed.append(source.name)
    return [*changed, *sorted(sizes.keys() - {source.name for source in sources})]  # those gone
