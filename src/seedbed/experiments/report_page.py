"""The report as one HTML page that needs no network."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib.resources import files

import seedbed
from seedbed.experiments.report_parts import Picture, Quote, Section, Sheet
from seedbed.experiments.results import Results
from seedbed.plots.figures import inline_svg


def page(results: Results, facts: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """Return the page: the verdict, what to know first, warnings, the sections."""
    first, _, rest = results.verdict.partition(". ")
    return _PAGE.format(
        title=html.escape(", ".join(results.ranking)),
        style=(files("seedbed.experiments") / "report.css").read_text(encoding="utf-8"),
        first=_prose(first if first.endswith(".") else f"{first}."),
        rest=f"<p>{_prose(rest)}</p>" if rest else "",
        facts="".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
            for name, value in facts
        ),
        warnings=_warnings(results.warnings),
        links="".join(f'<a href="#{s.name}">{html.escape(s.title)}</a>' for s in sections),
        sections="\n".join(map(_section, sections)),
        version=html.escape(seedbed.__version__),
    )


def _prose(text: str) -> str:
    """Return text as HTML, where what stands between backticks is code.

    >>> _prose("`a` < b")
    '<code>a</code> &lt; b'
    """
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text))


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{_prose(warning)}</li>" for warning in warnings)
    return f'<aside id="warnings"><h2>Warnings</h2><ul>{items}</ul></aside>'


def _section(section: Section) -> str:
    text = "".join(f"<p>{_prose(paragraph)}</p>" for paragraph in section.text)
    listings = "".join(
        _folded(name, f"<pre>{html.escape(content)}</pre>")
        for name, content in section.listings.items()
    )
    shown = "".join(map(_picture, section.pictures))
    beside = "".join(_sheet(sheet) for sheet in section.sheets if not sheet.title)
    folded = "".join(_sheet(sheet) for sheet in section.sheets if sheet.title)
    return (
        f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>{text}'
        f"{shown}{beside}{_quotes(section.quotes)}{folded}{listings}</section>"
    )


def _picture(picture: Picture) -> str:
    kind = ' class="wide"' if picture.wide else ""
    return (
        f"<figure{kind}>{inline_svg(picture.drawing)}"
        f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
    )


def _sheet(sheet: Sheet) -> str:
    """Return a table, folded where it has a title; nothing where it has no rows."""
    if not sheet.rows:
        return ""
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in sheet.columns)
    rows = "\n".join(
        "<tr>" + "".join(_cell(sheet, at, c) for c in range(len(row))) + "</tr>"
        for at, row in enumerate(sheet.rows)
    )
    note = f"<p>{html.escape(sheet.note)}</p>" if sheet.note else ""
    table = f'<div class="table"><table><tr>{heads}</tr>\n{rows}</table></div>{note}'
    if not sheet.title:
        return f'<div class="sheet">{table}</div>'
    return _folded(sheet.title[0].upper() + sheet.title[1:], table)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _cell(sheet: Sheet, row: int, column: int) -> str:
    mark = sheet.marks.get((row, column))
    kind = f' class="{mark}"' if mark else ""
    return f"<td{kind}>{html.escape(sheet.rows[row][column])}</td>"


def _quotes(quotes: Sequence[Quote]) -> str:
    """Return what models wrote, a card for each dataset."""
    by_dataset: dict[str, list[Quote]] = {}
    for quote in quotes:
        by_dataset.setdefault(quote.of, []).append(quote)
    cards = [
        f"<div><h3>{html.escape(name)}</h3>"
        + "".join(
            f"<blockquote><b>{html.escape(one.prompt)}</b>{html.escape(one.text)}</blockquote>"
            for one in of
        )
        + "</div>"
        for name, of in by_dataset.items()
    ]
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Datasets compared: {title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{first}</h1>
{rest}
<dl>{facts}</dl>
</header>
{warnings}
<nav>{links}</nav>
{sections}
<footer>Seedbed {version}, seedbed compare. The same is told in results.json, results.csv and
report.md; the figures are in figures/.</footer>
</body>
</html>
"""
