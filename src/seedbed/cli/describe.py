"""`seedbed describe`."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedbed.cli.output import (
    document_separator_option,
    json_option,
    print_result,
    text_field_option,
)

if TYPE_CHECKING:
    from seedbed.data.description_table import Table

WIDTH = 118
_NAME, _LABEL, _LONGEST_LABEL = 18, 34, 46


@click.command(
    "describe", epilog="Example: seedbed describe sample:stories:500 --tokenizer byte --json"
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE|DIR...")
@click.option(
    "--tokenizer",
    metavar="KIND|PATH",
    help="Count tokens with it: byte, gpt2, or a path as for prepare; bpe, sentencepiece and char "
    "are made from equally much of each dataset.  [default: the own one of a prepared DIR]",
)
@click.option(
    "--eval",
    "evaluation",
    multiple=True,
    metavar="SOURCE",
    help="Evaluation text to look for in the datasets; may be given several times.",
)
@text_field_option
@document_separator_option
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a page with plots, which needs no network.",
)
@json_option
def command(
    sources: tuple[str, ...],
    tokenizer: str | None,
    evaluation: tuple[str, ...],
    text_field: str | None,
    document_separator: str | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Say what datasets are like, side by side.

    SOURCE is as for prepare, DIR what prepare wrote; each is a column. Told are: sizes and lengths;
    duplicate documents, lines and paragraphs; vocabulary and compression on samples of the same
    length; readability, languages, kinds of text; what looks like personal data. For several: how
    well an n-gram model of one predicts another, and what they have in common. Numbers without ±
    are exact counts; those with it come from a sample, with a 95 % bootstrap interval.
    """
    from seedbed.data.describe import describe
    from seedbed.data.description_table import tables
    from seedbed.data.pieces import ReadOptions
    from seedbed.progress import Progress

    if html:
        from seedbed.plots.description import check_page

        check_page(html)
    with Progress("reading", None, unit="bytes") as progress:
        begun: dict[str, float] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            progress.title, progress.total = stage, total
            now = time.monotonic()
            seconds = now - begun.setdefault(stage, now)
            progress.update(done, **({"rate": _rate(done, seconds)} if done and seconds else {}))

        description = describe(
            sources,
            tokenizer=tokenizer,
            evaluation=evaluation,
            options=ReadOptions(text_field or "text", document_separator),
            progress=show,
            note=progress.note,
        )
    if html:
        from seedbed.plots.description import write_page

        write_page(description, html)
    print_result(
        description,
        as_json,
        lambda: (
            [line for table in tables(description) for line in _lines(table)]
            + ([f"The page is {html}"] if html else [])
        ),
    )


def _rate(done: int, seconds: float) -> str:
    return f"{done / seconds / 1e6:.1f} MB/s"


def _lines(table: Table) -> list[str]:
    """Return a table in lines, its columns in as many parts as the width needs."""
    labels = [_short(row.label, _LONGEST_LABEL) for row in table.rows]
    label = max(_LABEL, *map(len, labels))
    heads = [_short(head, _NAME) for head in table.columns]
    widths = [
        max(len(head), *(len(row.cells[at]) for row in table.rows)) for at, head in enumerate(heads)
    ]
    lines: list[str] = []
    first = 0
    while first < len(heads):
        end = first + 1
        while end < len(heads) and label + sum(w + 2 for w in widths[first : end + 1]) <= WIDTH:
            end += 1
        part = slice(first, end)
        lines += [_line(table.title.upper(), heads[part], label, widths[part])]
        lines += [
            _line(name, row.cells[part], label, widths[part])
            for name, row in zip(labels, table.rows, strict=True)
        ]
        first = end
    notes = textwrap.wrap(table.note, WIDTH - 2, initial_indent="  ", subsequent_indent="  ")
    return [*lines, *notes, ""]


def _short(name: str, width: int) -> str:
    """Return a name of at most so many characters, its middle left out where it is longer."""
    return name if len(name) <= width else f"{name[: width // 2]}…{name[1 - width // 2 :]}"


def _line(label: str, cells: list[str], label_width: int, widths: list[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([label.ljust(label_width), *padded])
