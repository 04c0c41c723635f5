"""The figures of a report, as they stand on its page and, in files of their own, in a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from seedbed.experiments.report_material import Material
from seedbed.experiments.results import Results
from seedbed.plots.figures import (
    DASHES,
    INK,
    PALETTE,
    Curve,
    draw_curve,
    plain,
    style_axes,
)

WIDTH = 5.8  # inches: two stand side by side on a page, and one fits a telephone
_ROW = 0.3
_VERDICT_COLORS = {"better": PALETTE[2], "equivalent": PALETTE[0], "unresolved": "#8c959f"}
_STRONGEST = 0.9  # the quantile of a matrix beyond which all cells are as pale


def ranking_figure(results: Results) -> Drawing:
    """Return each dataset's score with its interval, and the scores of its seeds."""
    names = [dataset.name for dataset in results.datasets]
    figure, axes = _panel(1.1 + _ROW * len(names))
    for row, dataset in enumerate(results.datasets):
        color, _ = style_of(results, dataset.name)
        if math.isfinite(dataset.low + dataset.high):
            axes.hlines(row, dataset.low, dataset.high, color=color, linewidth=2)
        axes.plot(dataset.scores, [row] * dataset.seeds, "|", color=color, markersize=9, alpha=0.6)
        axes.plot([dataset.score], [row], "o", color=color, markersize=7)
    _label_rows(axes, names)
    axes.set_xlabel("bits per byte, lower is better", color=INK, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def pairs_figure(results: Results) -> Drawing:
    """Return the difference of each pair with its intervals, and the margin."""
    figure, axes = _panel(1.1 + 0.24 * len(results.pairs))
    axes.axvspan(-results.margin, results.margin, color=INK, alpha=0.08, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, pair in enumerate(results.pairs):
        color = _VERDICT_COLORS[pair.verdict]
        if math.isfinite(pair.low + pair.high):
            axes.hlines(row, pair.low, pair.high, color=color, linewidth=3)
        if math.isfinite(pair.simultaneous_low + pair.simultaneous_high):
            ends = pair.simultaneous_low, pair.simultaneous_high
            axes.hlines(row, *ends, color=color, linewidth=1)
        axes.plot([pair.difference], [row], "o", color=color, markersize=5)
    names = [f"{pair.a} - {pair.b}" for pair in results.pairs]
    _label_rows(axes, names, size=8 if len(names) > 12 else 9)
    axes.set_xlabel("difference in bits per byte", color=INK, fontsize=10)
    return figure


def matrix_figure(results: Results, origins: dict[str, str | None]) -> Drawing:
    """Return the scores of each dataset's models on each evaluation set, home cells framed.

    A cell is the stronger, the nearer it comes to the best one of its column: evaluation sets are
    not equally hard.
    """
    rows = [dataset.name for dataset in results.datasets]
    evals, place = list(results.matrix[rows[0]]), {name: at for at, name in enumerate(rows)}
    columns = sorted(evals, key=lambda e: place.get(origins[e] or "", -1))
    values = np.array([[results.matrix[r][c].bits_per_byte for c in columns] for r in rows])
    behind = values - values.min(axis=0)
    weakest = float(np.quantile(behind, _STRONGEST)) or 1.0
    figure, axes = _panel(1.5 + 0.42 * len(rows), max(WIDTH, 1.6 + 0.62 * len(columns)))
    axes.pcolormesh(behind, cmap="Blues_r", vmin=0, vmax=weakest, alpha=0.85, edgecolors="face")
    for (row, column), value in np.ndenumerate(values):
        cell = results.matrix[rows[row]][columns[column]]
        color = "#ffffff" if behind[row, column] < 0.4 * weakest else "#111111"
        half = (cell.high - cell.low) / 2
        at = column + 0.5
        centre: dict[str, Any] = {"ha": "center", "va": "center", "color": color}
        is_known = math.isfinite(half)
        axes.text(at, row + (0.4 if is_known else 0.5), f"{value:.2f}", fontsize=10, **centre)
        if is_known:
            axes.text(at, row + 0.74, f"±{half:.2f}", fontsize=7, **centre)
        if origins[columns[column]] == rows[row]:
            frame = Rectangle((column + 0.04, row + 0.05), 0.92, 0.9, fill=False)
            frame.set(edgecolor=PALETTE[1], linewidth=2)
            axes.add_patch(frame)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    middles = np.arange(max(values.shape)) + 0.5
    axes.set_xticks(middles[: len(columns)], list(map(plain, columns)), rotation=30, ha="right")
    axes.set_yticks(middles[: len(rows)], list(map(plain, rows)))
    axes.set_ylim(len(rows), 0)
    axes.set_xlabel("scored on", color=INK, fontsize=10)
    axes.set_ylabel("trained on", color=INK, fontsize=10)
    return figure


def curves_figure(results: Results, material: Material) -> Drawing:
    """Return how each dataset's models came to predict its held-out text."""
    figure, axes = _panel(4.2)
    for name, (seen, *runs) in material.curves.items():
        scores = np.array(runs)  # (runs, points)
        color, dashes = style_of(results, name)
        band = (scores.min(axis=0), scores.max(axis=0)) if len(scores) > 1 else None
        mean = scores.mean(axis=0)
        draw_curve(axes, Curve(name, seen / 1e6, mean, color, dashes, band=band))
    axes.set_xlabel("MB of text seen", color=INK, fontsize=10)
    axes.set_ylabel("bits per byte", color=INK, fontsize=10)
    _legend(figure, axes)
    return figure


def rates_figure(results: Results) -> Drawing:
    """Return each dataset's score at each multiple of the learning rates."""
    figure, axes = _panel(4.2)
    scores = {1.0: {dataset.name: dataset.score for dataset in results.datasets}}
    scores |= {check.rate: check.variant.scores for check in results.rates}
    rates = sorted(scores)
    for name in results.ranking:
        points = [(rate, scores[rate][name]) for rate in rates if name in scores[rate]]
        color, dashes = style_of(results, name)
        x, y = np.array(points).T
        draw_curve(axes, Curve(name, x, y, color, dashes))
        axes.plot(x, y, "o", color=color, markersize=4)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.set_xlabel("times the learning rates", color=INK, fontsize=10)
    axes.set_ylabel("bits per byte", color=INK, fontsize=10)
    _legend(figure, axes)
    return figure


def style_of(results: Results, name: str) -> tuple[str, str]:
    """Return the colour and the dashes of a dataset, the same in all figures."""
    at = results.ranking.index(name)
    return PALETTE[at % len(PALETTE)], DASHES[at // len(PALETTE) % len(DASHES)]


def _panel(height: float, width: float = WIDTH) -> tuple[Drawing, Axes]:
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Drawing(figsize=(width, height), layout=layout)
    axes = figure.subplots()
    style_axes(axes, labelsize=9)
    return figure, axes


def _label_rows(axes: Axes, names: Sequence[str], size: float = 10) -> None:
    """Name the rows of a panel from above."""
    axes.set_yticks(range(len(names)), list(map(plain, names)), fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")


def _legend(figure: Drawing, axes: Axes) -> None:
    """Name the curves below the panel, where they hide none."""
    handles, labels = axes.get_legend_handles_labels()
    style = {"frameon": False, "fontsize": 9, "labelcolor": INK}
    figure.legend(handles, labels, loc="outside lower center", ncols=3, **style)
