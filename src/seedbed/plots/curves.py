"""Training and validation curves of runs, finished or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from seedbed.errors import CheckpointError, ConfigError
from seedbed.plots.figures import (
    DASHES,
    INK,
    PALETTE,
    Curve,
    check_out,
    draw_curve,
    new_figure,
    save_figure,
)
from seedbed.runs import RunDir, find_runs
from seedbed.training.run_summary import RunSummary, summarise

XAxis = Literal["steps", "tokens", "seconds"]
YAxis = Literal["loss", "bits-per-byte", "learning-rate", "grad-norm", "tokens-per-second"]

_X_KEYS = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}
_Y_KEYS = {  # of the line that training draws, and of the one that validation draws
    "loss": ("train_loss", "val_loss"),
    "bits-per-byte": (None, "val_bits_per_byte"),
    "learning-rate": ("lr", None),
    "grad-norm": ("grad_norm", None),
    "tokens-per-second": ("tokens_per_second", None),
}
_Y_LABELS = {
    "loss": "loss (nats per token)",
    "bits-per-byte": "bits per byte",
    "learning-rate": "learning rate",
    "grad-norm": "gradient norm",
    "tokens-per-second": "tokens per second",
}


def plot_runs(
    runs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    x: XAxis = "steps",
    y: Sequence[YAxis] | YAxis = (),
    log_y: bool = False,
    smooth: int | None = None,
) -> Path:
    """Draw the curves of runs, one panel for each of `y`, and return the file they are in.

    `out` ends in .png, .svg or .html; without it, curves.png in the run's folder, or here for
    several runs. `y` is the loss, unless the runs' tokenizers differ: then bits per byte. `smooth`
    is the number of logged steps that a point of a training curve is the mean of.

    Raises CheckpointError when a run has nothing to draw, ConfigError for what cannot be asked.
    """
    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    panels = _panels(y, folders)
    out = Path(out) if out is not None else _default_out(folders)
    check_out(out)
    if smooth is not None and smooth < 1:
        raise ConfigError(f"`smooth` is {smooth}, but must be 1 (no smoothing) or more.")
    records = [_records(folder) for folder in folders]
    summaries = [summarise(folder) for folder in folders]
    names = _names(folders)
    figure, axes = new_figure(len(panels), _title(names, summaries, panels))
    end = 0.0
    for panel, name in zip(axes, panels, strict=True):
        if len(folders) == 1:
            curves = _curves_of_one(records[0], x, name, smooth)
        else:
            curves = _curves_of_several(records, names, x, name, smooth)
        if not curves:
            raise CheckpointError(_nothing_to_draw(folders, x, name))
        for curve in curves:
            draw_curve(panel, curve)
        end = max(end, *(curve.x.max() for curve in curves))
        if name == "bits-per-byte":
            _draw_baseline(panel, summaries)
        _finish(panel, curves, _Y_LABELS[name], log_y)
    _label_x(axes[-1], x, end)
    save_figure(figure, out, title=", ".join(names), rows=_table(names, summaries))
    return out


def _panels(y: Sequence[str] | str, folders: list[Path]) -> list[str]:
    """Return what is drawn, checked: what is asked for, or the loss where it can be compared."""
    if not folders:
        raise ConfigError("There is no run to draw: give one or more.")
    asked = [y] if isinstance(y, str) else list(y)
    for name in asked:
        if name not in _Y_KEYS:
            raise ConfigError(f"`y` is {name!r}. Known: {', '.join(_Y_KEYS)}.")
    tokenizers = {RunDir(folder).read_request().get("tokenizer") for folder in folders}
    return asked or (["loss"] if len(tokenizers) == 1 else ["bits-per-byte"])


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the centred moving mean over `window` values, over fewer near the ends.

    >>> smoothed(np.array([0.0, 3.0, 6.0, 0.0]), 3).tolist()
    [1.5, 3.0, 3.0, 3.0]
    """
    before = (window - 1) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first = np.maximum(at - before, 0)
    end = np.minimum(at - before + window, len(values))
    return (sums[end] - sums[first]) / (end - first)


def _default_out(folders: list[Path]) -> Path:
    return folders[0] / "curves.png" if len(folders) == 1 else Path("curves.png")


def _records(folder: Path) -> list[dict[str, Any]]:
    run = RunDir(folder)
    if not run.metrics.is_file():
        raise CheckpointError(_no_metrics(folder))
    return run.read_metrics()


def _no_metrics(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} does not exist. `seedbed runs` lists the runs."
    runs = find_runs(folder)
    if folder in runs:
        return f"{folder} has no metrics.jsonl: its training has measured nothing yet."
    held = f" It holds runs: {', '.join(map(str, runs[:5]))}." if runs else ""
    return f"{folder} is not a run: it has no metrics.jsonl.{held}"


def _nothing_to_draw(folders: list[Path], x: XAxis, y: str) -> str:
    named = ", ".join(str(folder) for folder in folders)
    return f"{named}: no {y} against {x} has been measured yet, so there is nothing to draw."


def _names(folders: list[Path]) -> list[str]:
    """Return the folders' names, or their paths where names occur twice."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _points(records: list[dict[str, Any]], x: XAxis, key: str | None) -> np.ndarray:
    """Return the records' finite values of `key` against x: (2, points)."""
    pairs = [(record.get(_X_KEYS[x]), record.get(key)) for record in records if key]
    numbers = [pair for pair in pairs if all(isinstance(value, int | float) for value in pair)]
    points = np.array(numbers, dtype=float).reshape(-1, 2)
    return points[np.isfinite(points).all(axis=1)].T


def _curves_of_one(
    records: list[dict[str, Any]], x: XAxis, y: str, smooth: int | None
) -> list[Curve]:
    """Return the raw and the smoothed training curve, and those of evaluations."""
    training, validation = _Y_KEYS[y]
    curves: list[Curve] = []
    raw = _points(records, x, training)
    if raw.size:
        window = smooth or _window(y, raw.shape[1])
        label = "training" if validation else _Y_LABELS[y]
        if window > 1:
            curves.append(Curve("", *raw, width=1.0, alpha=0.25))
            label += f", mean of {window:,}"
        curves.append(Curve(label, raw[0], smoothed(raw[1], window)))
    parts = [("training text, evaluated", "train_eval_loss" if y == "loss" else None, "--", 2)]
    parts += [("validation", validation, "-", 1)]
    for label, key, dashes, color in parts:
        found = _points(records, x, key)
        if found.size:
            curve = Curve(label, *found, color=PALETTE[color], dashes=dashes, marks=color == 1)
            curves.append(_with_best(curve, x) if curve.marks else curve)
    return curves


def _curves_of_several(
    records: list[list[dict[str, Any]]], names: list[str], x: XAxis, y: str, smooth: int | None
) -> list[Curve]:
    """Return a curve of evaluations for each run, over a pale one of training."""
    training, validation = _Y_KEYS[y]
    curves: list[Curve] = []
    for i, (lines, name) in enumerate(zip(records, names, strict=True)):
        style: dict[str, Any] = {
            "color": PALETTE[i % len(PALETTE)],
            "dashes": DASHES[i // len(PALETTE) % len(DASHES)],
        }
        raw, found = _points(lines, x, training), _points(lines, x, validation)
        if found.size:
            curves.append(_with_best(Curve(name, *found, marks=True, width=2.0, **style), x))
        if raw.size:
            label = "" if found.size else f"{name}, training" if validation else name
            mean = smoothed(raw[1], smooth or _window(y, raw.shape[1]))
            if validation:
                style |= {"width": 1.0, "alpha": 0.45}
            curves.append(Curve(label, raw[0], mean, **style))
    return curves


def _window(y: str, points: int) -> int:
    return 1 if y == "learning-rate" else max(1, points // 40)  # a rate has no noise


def _with_best(curve: Curve, x: XAxis) -> Curve:
    lowest = int(np.argmin(curve.y))
    at = f" at step {curve.x[lowest]:,.0f}" if x == "steps" else ""
    return replace(curve, label=f"{curve.label}, best {curve.y[lowest]:.4f}{at}")


def _draw_baseline(axes: Axes, summaries: list[RunSummary]) -> None:
    """Draw what the n-gram model reaches on the validation text, where all runs have the same.

    The dataset must still be what they were trained on.
    """
    baselines = {
        RunDir(summary.run).manifest_of(summary.data).get("baseline", {}).get("bits_per_byte")
        for summary in summaries
    }
    baseline = baselines.pop()
    if baselines or baseline is None:
        return
    label = f"counting n-grams, {baseline:.4f}"
    axes.axhline(baseline, color=INK, linestyle=(0, (4, 3)), linewidth=1.2, label=label)


def _finish(axes: Axes, curves: list[Curve], label: str, log_y: bool) -> None:
    """Label the y axis, choose what of it is shown, and name the curves."""
    axes.set_ylabel(label, color=INK, fontsize=12)
    if log_y:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        ticks = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
        axes.yaxis.set_major_locator(LogLocator(subs=ticks if high < 30 * low else (1.0, 3.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        top = _top(curves)
        if top is not None:
            axes.set_ylim(top=top)
    if [curve.label for curve in curves if curve.label] != [label]:
        axes.legend(frameon=False, fontsize=11, labelcolor=INK)


def _top(curves: list[Curve]) -> float | None:
    """Return where to cut a linear axis, so that the first few steps do not flatten all others.

    None where they would not, or where there are few points.
    """
    if max(curve.x.size for curve in curves) < 20:
        return None
    end = max(curve.x.max() for curve in curves)
    later = np.concatenate([curve.y[curve.x > 0.03 * end] for curve in curves])
    highest = max(curve.y.max() for curve in curves)
    spread = later.max() - later.min()
    top = later.max() + 0.08 * spread
    return float(top) if spread > 0 and highest > later.max() + 0.25 * spread else None


def _label_x(axes: Axes, x: XAxis, end: float) -> None:
    scales = {
        "steps": [(1, "step")],
        "tokens": [(1e9, "billion tokens"), (1e6, "million tokens"), (1, "tokens")],
        "seconds": [(3600, "hours of training"), (60, "minutes of training"), (1, "seconds")],
    }
    scale, label = next((s, name) for s, name in scales[x] if end >= 2 * s or s == 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:,.10g}"))
    axes.set_xlabel(label, color=INK, fontsize=12)
    axes.set_xlim(0, 1.02 * end or 1.0)


def _title(names: list[str], summaries: list[RunSummary], panels: list[str]) -> str:
    if len(names) > 1:
        explained = ": validation with dots, training pale" if "loss" in panels else ""
        return f"{len(names)} runs{explained}"
    summary = summaries[0]
    facts = [names[0]]
    if summary.parameters:
        facts.append(f"{summary.parameters:,} parameters")
    if summary.data:
        facts.append(f"on {summary.data.name}")
    at = f"step {summary.step:,}" + (f" of {summary.steps:,}" if summary.steps else "")
    return "  ·  ".join([*facts, f"{summary.state}, {at}"])


def _table(names: list[str], summaries: list[RunSummary]) -> list[list[str]]:
    head = ["run", "state", "parameters", "best bits per byte", "best validation loss", "at step"]
    head += ["last validation loss", "steps", "tokens", "minutes"]
    return [head, *(_row(n, s) for n, s in zip(names, summaries, strict=True))]


def _row(name: str, run: RunSummary) -> list[str]:
    def shown(value: float | None, digits: int = 0) -> str:
        return "-" if value is None else f"{value:,.{digits}f}"

    return [
        name,
        run.state,
        shown(run.parameters),
        shown(run.best_bits_per_byte, 4),
        shown(run.best_loss, 4),
        shown(run.best_step),
        shown(run.last_loss, 4),
        shown(run.step),
        shown(run.tokens),
        shown(run.seconds and run.seconds / 60, 1),
    ]
