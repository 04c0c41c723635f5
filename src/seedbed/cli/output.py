"""What commands share: some options, and how they print results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click


def _with_line_ends(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    return text and text.replace("\\n", "\n")


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cpu, cuda or mps; auto takes the fastest there is.",
)
text_field_option = click.option(
    "--text-field", help="Field of JSON records and parquet rows.  [default: text]"
)
document_separator_option = click.option(
    "--document-separator",
    metavar="TEXT",
    callback=_with_line_ends,
    help=r"Text that ends a document; \n is a line's end.  [default: lines of <|endoftext|>]",
)


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
