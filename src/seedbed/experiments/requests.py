"""What a folder was asked for: the same call again must ask the same."""

# pyright: strict

from __future__ import annotations

from pathlib import Path

from seedbed.config import Settings, Tree, differences
from seedbed.errors import ConfigError
from seedbed.files import read_json, write_json


def keep_request(folder: Path, kind: str, config: Settings) -> None:
    """Write down in a folder what is asked of it. `kind` says of what: "mixture" or "ladder".

    Raises ConfigError where it was asked something else, or holds somebody else's files.
    """
    asked = {kind: config.model_dump(mode="json")}
    file = folder / "request.json"
    others = [path.name for path in folder.iterdir() if path.name != ".lock"]
    before: Tree = read_json(file) if file.is_file() else {}
    if others and kind not in before:
        raise ConfigError(f"{folder} holds {min(others)} and is no {kind}. Choose another --out.")
    changed = [path.removeprefix(f"{kind}.") for path in differences(before, asked)]
    if before and changed:
        raise ConfigError(
            f"{folder} holds another {kind}: {', '.join(map('`{}`'.format, changed))} changed. "
            "Choose another --out."
        )
    write_json(file, asked)
