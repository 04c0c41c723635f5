"""The report as Markdown, in short: for a repository, or the appendix of a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seedbed.experiments.report_parts import Section, Sheet
from seedbed.experiments.results import Results

FIGURES = "figures"  # folder


def text(results: Results, facts: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """Return the report in Markdown. It shows the figures that lie in figures/."""
    parts = [
        "# Datasets compared",
        _prose(results.verdict),
        _table(Sheet([name for name, _ in facts], [[value for _, value in facts]])),
    ]
    if results.warnings:
        parts += ["## Warnings", "\n".join(f"- {_prose(one)}" for one in results.warnings)]
    for section in sections:
        if section.brief:
            parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {_escaped(section.title)}", *map(_prose, section.text)]
    for picture in section.pictures:
        parts.append(f"![{_escaped(section.title)}]({FIGURES}/{picture.name}.svg)")
        parts.append(_prose(picture.caption))
    for sheet in section.sheets:
        if sheet.rows and not sheet.title:
            parts += [_table(sheet), *([_prose(sheet.note)] if sheet.note else [])]
    return parts


def _table(sheet: Sheet) -> str:
    """Return a table, with what its marks mean to be seen in bold."""
    heads = [_escaped(name) for name in sheet.columns]
    sides = ["---", *["---:"] * (len(heads) - 1)]
    rows = [
        [_cell(sheet, row, column) for column in range(len(cells))]
        for row, cells in enumerate(sheet.rows)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, sides, *rows])


def _cell(sheet: Sheet, row: int, column: int) -> str:
    shown = _escaped(sheet.rows[row][column])
    is_bold = sheet.marks.get((row, column)) == "meant" and shown
    return f"**{shown}**" if is_bold else shown


def _prose(text: str) -> str:
    r"""Return plain text in Markdown, where what stands between backticks stays code.

    >>> print(_prose("`a_b` or *a_b*"))
    `a_b` or \*a\_b\*
    """
    pieces = re.split(r"(`[^`\n]+`)", text)
    return "".join(piece if at % 2 else _escaped(piece) for at, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#&~!])", r"\\\1", re.sub(r"\s+", " ", text))
