"""A page that shows what datasets are like: plots and tables in one file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

import seedbed
from seedbed.data.comparisons import Square
from seedbed.data.describe import DatasetFigures, Description
from seedbed.data.description_table import Table, tables
from seedbed.data.estimates import Estimate, Figure
from seedbed.errors import ConfigError
from seedbed.files import PARTIAL
from seedbed.plots.figures import (
    DASHES,
    INK,
    PALETTE,
    Curve,
    draw_curve,
    html_row,
    inline_svg,
    plain,
    style_axes,
)

_SMALL = (5.8, 3.6)  # inches: two stand side by side
_WIDE = 12.0
_FIRST_TABLES = ("size", "length in words")

Datasets = Sequence[DatasetFigures]
Take = Callable[[DatasetFigures], Figure]

_DOTS: tuple[tuple[str, float, Take], ...] = (
    ("type-token ratio", 1, lambda d: d.vocabulary.type_token),
    ("distinct-2", 1, lambda d: d.vocabulary.distinct_2),
    ("zstd compression", 1, lambda d: d.vocabulary.compression),
    ("Zipf exponent", 1, lambda d: d.vocabulary.zipf_exponent),
    ("Flesch-Kincaid grade", 1, lambda d: d.text["flesch_kincaid_grade"]),
    ("stop words, %", 100, lambda d: d.text["stop_words"]),
    ("symbols, %", 100, lambda d: d.text["symbols"]),
    ("self-repetition, %", 100, lambda d: d.text["self_repetition"]),
)
_COPIES: tuple[tuple[str, Take], ...] = (
    ("documents", lambda d: d.exact_duplicates.copies),
    ("near copies", lambda d: d.near_duplicates.copies if d.near_duplicates else None),
    ("paragraphs", lambda d: d.duplicate_paragraphs),
    ("lines", lambda d: d.duplicate_lines),
    ("13-grams", lambda d: d.repeated_runs),
)


def check_page(out: Path) -> None:
    """Raise ConfigError when a page cannot be written under that name."""
    if out.suffix not in (".html", ".htm") or out.is_dir():
        raise ConfigError(f"`html` is {out}: name a file that ends in .html.")


def write_page(description: Description, out: Path) -> None:
    """Write the description to an .html file, whole."""
    check_page(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + PARTIAL)
    aside.write_text(_page(description), encoding="utf-8")
    aside.replace(out)


def _page(description: Description) -> str:
    datasets = description.datasets
    names = [dataset.name for dataset in datasets]
    plots = [_lengths(datasets), _ranks(datasets)]
    if found := description.comparison:
        bits = "bits per byte: n-grams of the row, text of the column"
        plots += [
            _heat_map(names, found.bits_per_byte, bits, ".2f", 1, good_is_low=True),
            _heat_map(names, found.runs, "13-grams of the row found in the column, %", ".1f"),
        ]
    figures = "".join(f"<figure>{inline_svg(plot)}</figure>" for plot in plots)
    wide = "".join(
        f'<figure class="wide">{inline_svg(plot)}</figure>'
        for plot in (_copies(datasets), _dots(datasets))
    )
    total = sum(dataset.bytes for dataset in datasets)
    facts = (
        f"{total / 1e6:,.1f} MB of text in {len(datasets)} "
        f"dataset{'s' if len(datasets) > 1 else ''}. "
        "Numbers without ± are counted on all of the text; those with it come from a sample, and "
        "± is the further end of a 95 % bootstrap interval."
    )
    every = tables(description)
    first = "".join(_table(table) for table in every if table.title in _FIRST_TABLES)
    later = "".join(_table(table) for table in every if table.title not in _FIRST_TABLES)
    return _PAGE.format(
        title=html.escape(", ".join(names)),
        facts=facts,
        legend=_legend(names),
        first=first,
        plots=figures + wide,
        later=later,
        version=seedbed.__version__,
    )


def _style(number: int) -> tuple[str, str]:
    """Return the colour and the dashes of a dataset."""
    return PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE) % len(DASHES)]


def _legend(names: Sequence[str]) -> str:
    marks = [
        f'<span><i style="background:{_style(number)[0]}"></i>{html.escape(name)}</span>'
        for number, name in enumerate(names)
    ]
    return " ".join(marks)


def _panel(title: str, size: tuple[float, float] = _SMALL) -> tuple[Drawing, Axes]:
    figure = Drawing(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = figure.subplots()
    style_axes(axes, labelsize=9)
    axes.set_title(plain(title), loc="left", color=INK, fontsize=11, pad=8)
    return figure, axes


def _lengths(datasets: Datasets) -> Drawing:
    """Return how many per cent of the documents are no longer than so many words."""
    figure, axes = _panel("length: documents up to so many words")
    for number, dataset in enumerate(datasets):
        points = {int(name[1:]): words for name, words in dataset.words_per_document.items()}
        words = np.maximum(1, np.array(list(points.values()), float))
        color, dashes = _style(number)
        draw_curve(axes, Curve(dataset.name, words, np.array(list(points), float), color, dashes))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("% of documents", color=INK, fontsize=10)
    axes.set_ylim(0, 100)
    return figure


def _ranks(datasets: Datasets) -> Drawing:
    figure, axes = _panel("words by frequency: share of all words, by rank")
    for number, dataset in enumerate(datasets):
        if dataset.vocabulary.rank_frequencies:
            ranks, shares = np.array(dataset.vocabulary.rank_frequencies).T
            color, dashes = _style(number)
            draw_curve(axes, Curve(dataset.name, ranks, shares, color, dashes))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return figure


def _copies(datasets: Datasets) -> Drawing:
    size = (_WIDE, 1.2 + 0.35 * len(_COPIES) + 0.3 * len(datasets))
    figure, axes = _panel("copies: share that is not the first of its kind, %", size)
    height = 0.8 / len(datasets)
    for number, dataset in enumerate(datasets):
        shares = [100 * (_value(take(dataset)) or 0) for _, take in _COPIES]
        at = np.arange(len(_COPIES)) + height * (number - (len(datasets) - 1) / 2)
        axes.barh(at, shares, height * 0.9, color=_style(number)[0])
    axes.set_yticks(range(len(_COPIES)), [label for label, _ in _COPIES])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0, right=max(1.0, axes.get_xlim()[1]))
    return figure


def _dots(datasets: Datasets) -> Drawing:
    """Return a small panel for each of some figures, with the intervals of all datasets."""
    rows = -(-len(_DOTS) // 4)
    height = rows * (0.9 + 0.22 * len(datasets))
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Drawing(figsize=(_WIDE, height), layout=layout)
    panels = figure.subplots(rows, 4, sharey=True, squeeze=False).flat
    for axes, (label, scale, take) in zip(panels, _DOTS, strict=True):
        style_axes(axes, labelsize=9)
        axes.set_title(plain(label), loc="left", color=INK, fontsize=10)
        for number, dataset in enumerate(datasets):
            _dot(axes, take(dataset), scale, number)
        axes.set_yticks(range(len(datasets)), [plain(dataset.name) for dataset in datasets])
        axes.set_ylim(len(datasets) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def _dot(axes: Axes, figure: Figure, scale: float, at: int) -> None:
    value, color = _value(figure), _style(at)[0]
    if value is None:
        return
    axes.plot([scale * value], [at], marker="o", markersize=6, color=color, linestyle="none")
    if isinstance(figure, Estimate) and figure.low is not None and figure.high is not None:
        axes.hlines(at, scale * figure.low, scale * figure.high, color=color, linewidth=2)


def _heat_map(
    names: Sequence[str],
    square: Square,
    title: str,
    digits: str,
    scale: float = 100,
    *,
    good_is_low: bool = False,
) -> Drawing:
    """Return a square of coloured numbers, in full colour where datasets are most alike."""
    found = [[_value(cell) for cell in row] for row in square]
    values = np.array([[np.nan if v is None else scale * v for v in row] for row in found])
    figure, axes = _panel(title, (_SMALL[0], 1.5 + 0.45 * len(names)))
    colors = "Blues_r" if good_is_low else "Blues"
    low, high = _range(values)
    axes.imshow(values, cmap=colors, aspect="auto", vmin=low, vmax=high, alpha=0.85)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(names)), [plain(name) for name in names], rotation=20, ha="right")
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    for (row, column), value in np.ndenumerate(values):
        part = (value - low) / (high - low)
        is_dark = (1 - part if good_is_low else part) > 0.6
        text = "-" if np.isnan(value) else format(value, digits)
        color = "#ffffff" if is_dark else "#111111"
        axes.text(column, row, text, ha="center", va="center", fontsize=10, color=color)
    return figure


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest number, told apart where they are one."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _value(figure: Figure) -> float | None:
    return figure.value if isinstance(figure, Estimate) else figure


def _table(table: Table) -> str:
    rows = "\n".join(html_row([row.label, *row.cells]) for row in table.rows)
    title = table.title[0].upper() + table.title[1:]
    return (
        f'<section><h2>{html.escape(title)}</h2><div class="table"><table>'
        f"{html_row(['', *table.columns], 'th')}\n{rows}</table></div>"
        f"<p>{html.escape(table.note)}</p></section>"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: #24292f; background: #ffffff;
       max-width: 1200px; margin: 2em auto; padding: 0 1em; }}
h1 {{ font-size: 1.6em; margin-bottom: 0.2em; }}
h2 {{ font-size: 1.1em; margin: 1.6em 0 0.3em; }}
p {{ color: #6e7781; margin: 0.3em 0; max-width: 60em; }}
section p {{ font-size: 0.87em; }}
.legend {{ position: sticky; top: 0; background: inherit; padding: 0.6em 0; }}
.legend span {{ margin-right: 1.4em; white-space: nowrap; }}
.legend i {{ display: inline-block; width: 0.8em; height: 0.8em; border-radius: 50%;
            margin-right: 0.4em; }}
.plots {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1em 2em; margin: 1em 0; }}
figure {{ margin: 0; min-width: 0; }}
.wide {{ grid-column: 1 / -1; }}
@media (max-width: 800px) {{ .plots {{ grid-template-columns: 1fr; }} }}
svg {{ width: 100%; height: auto; }}
svg text {{ font-family: system-ui, sans-serif !important; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.25em 1.2em 0.25em 0; text-align: right; border-bottom: 1px solid #8884;
         white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
th {{ font-weight: 600; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #d6d9de; background: #16191d; }}
  p {{ color: #9aa4af; }}
}}
</style>
</head>
<body>
<h1>Datasets side by side</h1>
<p>{facts}</p>
<div class="legend">{legend}</div>
{first}
<div class="plots">{plots}</div>
{later}
<p>Seedbed {version}, seedbed describe</p>
</body>
</html>
"""
