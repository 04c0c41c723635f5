"""Figures: curves in panels, saved as PNG, SVG or one self-contained HTML page.

matplotlib's Figure objects are used alone, without pyplot's global state.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from seedbed.errors import ConfigError
from seedbed.files import PARTIAL

# Okabe and Ito's colours, which the colour-blind tell apart, without yellow, lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", ":", "-.")  # after the last colour, the colours come again dashed
INK = "#24292f"  # text and axes; in HTML it becomes the colour of the page's text
SUFFIXES = (".png", ".svg", ".html")
WIDTH, HEIGHT, DPI = 12.0, 7.0, 100  # 1200 x 700


@dataclass(frozen=True)
class Curve:
    """A line in a figure."""

    label: str
    x: np.ndarray  # (points,)
    y: np.ndarray  # (points,)
    color: str = PALETTE[0]
    dashes: str = "-"
    width: float = 1.6
    alpha: float = 1.0
    marks: bool = False  # a dot at each point, and a ring at the lowest
    band: tuple[np.ndarray, np.ndarray] | None = None  # lower and upper edge: (points,)


def new_figure(panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels one above the other that share their x axis."""
    layout = ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.15)  # inches
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout=layout)
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for panel in axes:
        style_axes(panel)
    axes[0].set_title(plain(title), loc="left", color=INK, fontsize=13, pad=12)
    return figure, list(axes)


def style_axes(axes: Axes, *, labelsize: float = 11) -> None:
    """Give a panel two thin axes and a pale grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=labelsize)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)


def draw_curve(axes: Axes, curve: Curve) -> None:
    """Draw a curve, its band and its marks."""
    axes.plot(
        curve.x,
        curve.y,
        color=curve.color,
        linestyle=curve.dashes,
        linewidth=curve.width,
        alpha=curve.alpha,
        marker="o" if curve.marks else None,
        markersize=4,
        label=plain(curve.label) if curve.label else None,
        gid=f"curve: {curve.label}" if curve.label else None,
        solid_capstyle="round",
    )
    if curve.band is not None:
        axes.fill_between(curve.x, *curve.band, color=curve.color, alpha=0.15, linewidth=0)
    if curve.marks:
        lowest = int(np.argmin(curve.y))
        axes.plot(
            curve.x[lowest],
            curve.y[lowest],
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgewidth=2,
            color=curve.color,
            linestyle="none",
        )


def check_out(out: Path) -> None:
    """Raise ConfigError when a figure cannot be saved under that name."""
    if out.suffix not in SUFFIXES or out.is_dir():
        raise ConfigError(f"`out` is {out}: name a file that ends in {', '.join(SUFFIXES)}.")


def save_figure(figure: Figure, out: Path, *, title: str, rows: Sequence[Sequence[str]]) -> None:
    """Write a figure to a .png, .svg or .html file, whole; HTML has a table of `rows` below it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + PARTIAL)
    if out.suffix == ".png":
        _save(figure, aside, format="png")
    elif out.suffix == ".svg":
        aside.write_text(_svg(figure), encoding="utf-8")
    else:
        aside.write_text(_page(inline_svg(figure), title, rows), encoding="utf-8")
    aside.replace(out)


def inline_svg(figure: Figure) -> str:
    """Return the figure as an <svg> element for a page, in the colour of the page's text."""
    return _svg(figure, transparent=True).replace(INK, "currentColor")


def plain(text: str) -> str:
    """Return text that matplotlib shows as it is: no mathematics, and no hidden label."""
    return re.sub(r"^_", "\u200b_", text.replace("$", r"\$"))


def _svg(figure: Figure, *, transparent: bool = False) -> str:
    """Return the figure as an <svg> element; a curve tells its name when it is pointed at."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "seedbed"}):
        _save(
            figure,
            file,
            format="svg",
            transparent=transparent,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r"""<g id=(["'])curve: (.*?)\1>""", r"<g><title>\2</title>", svg)


def _save(figure: Figure, file: Path | io.StringIO, **options: Any) -> None:
    """Write a figure, without a word on letters that the font lacks: there is no other to take."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, **options)


def html_row(cells: Sequence[str], tag: str = "td") -> str:
    """Return a row of an HTML table, its texts escaped."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _page(svg: str, title: str, rows: Sequence[Sequence[str]]) -> str:
    table = "\n".join([html_row(rows[0], "th"), *(html_row(row) for row in rows[1:])])
    return _PAGE.format(title=html.escape(title), svg=svg, table=table)


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
svg {{ width: 100%; height: auto; }}
svg text {{ font-family: system-ui, sans-serif !important; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin-top: 1em; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.3em 0.9em 0.3em 0; text-align: right; border-bottom: 1px solid #8884; }}
th:first-child, td:first-child {{ text-align: left; }}
th {{ font-weight: 600; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #d6d9de; background: #16191d; }}
}}
</style>
</head>
<body>
{svg}
<div class="table">
<table>
{table}
</table>
</div>
</body>
</html>
"""
