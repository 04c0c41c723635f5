"""What commands share: how they print results, and how a library's progress is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def print_result(result: Any, as_json: bool, lines: Callable[[], list[str]]) -> None:
    """Print a result to stdout: as JSON, or as `lines` for a person."""
    if as_json:
        value = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
        click.echo(json.dumps(value, default=_plain, ensure_ascii=False))
    else:
        for line in lines():
            click.echo(line)


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
