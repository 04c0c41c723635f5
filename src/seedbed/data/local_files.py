"""Files, folders and globs of this machine."""

# pyright: strict

from __future__ import annotations

import difflib
import glob
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seedbed.data.formats import kind_of_file, known_kinds, read_file
from seedbed.data.pieces import Part
from seedbed.errors import DataError


def local_files(name: str) -> tuple[Part, ...]:
    """Return the file at a path, or all files of a known kind in a folder or that a glob finds.

    Raises DataError when there is none.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and not _is_hidden(p, path)]
        return _parts_of_folder(name, files)
    if path.is_file():
        return (_file_part(path),)
    if glob.has_magic(name):
        found = [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        return _parts_of_folder(name, [p for p in found if p.is_file()])
    raise DataError(f"SOURCE `{name}` does not exist.{_nearest_file(path)}")


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _parts_of_folder(name: str, files: Sequence[Path]) -> tuple[Part, ...]:
    known = [path for path in files if kind_of_file(path)]
    if not known:
        others = sorted({path.suffix or path.name for path in files})[:8]
        seen = f"; it has {', '.join(others)}" if others else ""
        is_nanogpt = any(path.name == "train.bin" for path in files)
        hint = f" For the tokens of nanoGPT write nanogpt:{name}" if is_nanogpt else ""
        raise DataError(
            f"SOURCE `{name}` has no file of a known kind ({known_kinds()}){seen}.{hint}"
        )
    return tuple(_file_part(path) for path in known)


def _file_part(path: Path) -> Part:
    if not kind_of_file(path):
        raise DataError(f"SOURCE `{path}` is not of a known kind: {known_kinds()}.")
    facts = path.stat()
    return Part(str(path), facts.st_size, facts.st_mtime_ns, partial(read_file, path))


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    siblings = [p.name for p in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f" Did you mean {path.parent / near[0]}?" if near else ""
