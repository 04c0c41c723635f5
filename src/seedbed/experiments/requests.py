"""What a folder was asked for: the same call again must ask the same, of the same sources."""

# pyright: strict

from __future__ import annotations

import json
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from seedbed.config import Settings, Tree, differences
from seedbed.data.documents import SCHEMES
from seedbed.data.local_files import local_files
from seedbed.data.remote import is_remote
from seedbed.errors import ConfigError, DataError
from seedbed.files import MANIFEST, read_json, sha256_of, write_json

REQUEST = "request.json"


def keep_request(
    folder: Path, kind: str, config: Settings, *, may_change: Set[str] = frozenset()
) -> None:
    """Write down in a folder what is asked of it. `kind` says of what: "mixture" or "ladder".

    Raises ConfigError where it was asked something else, but for the settings that `may_change`, or
    holds somebody else's files.
    """
    asked = config.model_dump(mode="json")
    before = read_request(folder, kind, known_by=kind)
    if before:
        changeable = {key: asked[key] for key in may_change}
        refuse_changes(folder, kind, {**before[kind], **changeable}, asked)
    write_json(folder / REQUEST, {kind: asked})


def follow_tokenizer(folder: Path, tokenizer: str) -> None:
    """Write down where the tokenizer of an experiment lies, which was moved with it.

    That is for an experiment within another, whose tokenizer it shares: what was asked of the outer
    one is known to be the same.
    """
    file = folder / REQUEST
    before: Tree = read_json(file) if file.is_file() else {}
    if before.get("tokenizer", tokenizer) != tokenizer:
        write_json(file, {**before, "tokenizer": tokenizer})


def read_request(folder: Path, kind: str, *, known_by: str) -> Tree:
    """Return what was asked of a folder; {} of one that holds nothing.

    Raises ConfigError where it holds other things than a request that has the key `known_by`.
    """
    file = folder / REQUEST
    others = [path.name for path in folder.iterdir() if path.name != ".lock"]
    before: Tree = read_json(file) if file.is_file() else {}
    if others and known_by not in before:
        lacking = "" if file.is_file() else f", or not all of one: it has no {REQUEST}"
        raise ConfigError(
            f"{folder} holds {min(others)} and is no {kind}{lacking}. Choose another --out."
        )
    return before


def refuse_changes(folder: Path, kind: str, before: Tree, asked: Tree) -> None:
    """Raise ConfigError where a folder was asked something else before."""
    changed = [_change(key, *values) for key, values in differences(before, asked).items()]
    if changed:
        raise ConfigError(
            f"{folder} holds another {kind}: {', '.join(changed)}. Choose another --out."
        )


def _change(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) or isinstance(now, dict):
        return f"`{key}` {'is new' if before is None else 'is gone' if now is None else 'changed'}"
    return f"`{key}` was {_said(before)} and is {_said(now)}"


def _said(value: Any) -> str:
    """Return a setting's value as it would be written."""
    if value is None:
        return "not given"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def keep_sources(file: Path, sources: Iterable[str]) -> None:
    """Write down of each source the files that it has on this machine."""
    facts = {source: {str(path): _facts(path) for path in _files(source)} for source in sources}
    write_json(file, facts)


def refuse_changed_sources(file: Path) -> None:
    """Raise DataError where a source that was written down has other files now, or other text.

    One that is gone is not missed.
    """
    kept: dict[str, dict[str, dict[str, Any]]] = read_json(file) if file.is_file() else {}
    for source, before in kept.items():
        now = {str(path): path for path in _files(source)}
        if not now or (
            now.keys() == before.keys() and all(_is(now[name], before[name]) for name in now)
        ):
            continue
        size_before = sum(facts["bytes"] for facts in before.values())
        size = sum(path.stat().st_size for path in now.values())
        sizes = f"{size_before:,} bytes then, {size:,} now"
        told = sizes if size != size_before else f"{size:,} bytes as then, but others"
        raise DataError(f"`{source}` changed since the plan ({told}): choose another --out.")


def _files(source: str) -> list[Path]:
    """Return the files that a source has; none where it is made up, elsewhere or gone."""
    manifest = Path(source).expanduser() / MANIFEST
    if manifest.is_file():
        return [manifest]  # it has the checksums of the prepared text
    if is_remote(source) or source.partition(":")[0] in SCHEMES:
        return []
    try:
        return [Path(part.name) for part in local_files(source)]
    except DataError:
        return []


def _facts(path: Path) -> dict[str, Any]:
    facts = path.stat()
    return {"bytes": facts.st_size, "modified": facts.st_mtime_ns, "sha256": sha256_of(path)}


def _is(path: Path, before: dict[str, Any]) -> bool:
    """Return whether a file is as it was."""
    facts = path.stat()
    if facts.st_size != before["bytes"]:
        return False
    return facts.st_mtime_ns == before["modified"] or sha256_of(path) == before["sha256"]
