"""Files that are whole or not there: atomic replacement, checksums, JSON Lines, locks.

Everything is written aside, flushed to the disk, renamed, and the parent folder flushed, so that a
reader (or the same program after a kill or a power cut) sees the old state or the new one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seedbed.errors import UserError

MANIFEST = "manifest.json"
PARTIAL = ".partial"  # ends the name of anything that is still being written

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full_disk(error: OSError) -> bool:
    """Return whether an error says that there is no room: on the disk, or under a quota."""
    return error.errno in _FULL


@contextmanager
def full_disk_explained(explain: Callable[[OSError], UserError]) -> Generator[None]:
    """Turn the error of a full disk into the one that `explain` makes of it."""
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise explain(error) from error


@contextmanager
def held_alone(lock_file: Path, *, otherwise: UserError) -> Generator[None]:
    """Hold a lock, which goes with the process, however it ends; make its folder.

    Raises `otherwise` when another process holds it.
    """
    from filelock import FileLock, Timeout  # `seedbed --help` imports this module

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise otherwise from None
    try:
        yield
    finally:
        lock.release()


def flush_to_disk(path: Path) -> None:
    """Wait until the file or folder at `path` has reached the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, *, flush: bool = True) -> None:
    """Replace the file at `path` by `text`, atomically.

    Without `flush`, which takes milliseconds, a power cut (no kill) may leave it empty.
    """
    aside = path.with_name(path.name + PARTIAL)
    with aside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        if flush:
            os.fsync(file.fileno())
    aside.replace(path)
    if flush:
        flush_to_disk(path.parent)


def write_json(path: Path, value: Any, *, flush: bool = True) -> None:
    """Replace the file at `path` by `value` as indented JSON, as `write_text` does."""
    write_text(path, _to_json(value), flush=flush)


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Return the value of the JSON file at `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def replace_folder(path: Path) -> Generator[Path]:
    """Yield an empty folder that becomes `path` when the block ends without an error.

    On an error the half-written folder is removed and what stood at `path` stays.
    """
    aside = path.with_name(path.name + PARTIAL)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for file in sorted(aside.rglob("*")):
            flush_to_disk(file)
        flush_to_disk(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if path.exists():
        shutil.rmtree(path)
    aside.rename(path)
    flush_to_disk(path.parent)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_json_line(path: Path, record: dict[str, Any]) -> None:
    """Append `record` to the JSON Lines file at `path`."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]


def seal_folder(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write manifest.json: `facts`, the size and SHA-256 of every file, and a checksum of itself.

    It is written last, so a folder with a manifest is whole. Returns what was written.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in names
        if name != MANIFEST
    }
    manifest = {**facts, "files": files}
    manifest["checksum"] = _checksum_of(manifest)
    write_json(folder / MANIFEST, manifest)
    return manifest


def check_seal(folder: Path, *, error: type[UserError] = UserError) -> dict[str, Any]:
    """Return the manifest of a sealed folder whose every file is as it was written.

    Raises `error`, naming the file, when one is missing, cut short, changed or unreadable.
    """
    manifest = read_manifest(folder, error=error)
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise error(f"{file} is missing.")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise error(f"{file} has {size:,} bytes, but {expected['bytes']:,} were written.")
        if sha256_of(file) != expected["sha256"]:
            raise error(f"{file} is damaged: its SHA-256 is not the one that was written down.")
    return manifest


def read_manifest(folder: Path, *, error: type[UserError] = UserError) -> dict[str, Any]:
    """Return the manifest of a sealed folder, checked against its own checksum, files unread."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        manifest = json.loads(content)
        checksum = manifest["checksum"]
    except FileNotFoundError:
        raise error(f"{folder} has no {MANIFEST}: it is not whole, or not of this kind.") from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise error(f"{path} is damaged: it is not the JSON that was written.") from None
    if checksum != _checksum_of(manifest) or content != _to_json(manifest).encode():
        raise error(f"{path} is damaged: its checksum does not match its content.")
    return manifest


def _checksum_of(manifest: dict[str, Any]) -> str:
    facts = {key: value for key, value in manifest.items() if key != "checksum"}
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
