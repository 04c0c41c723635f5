"""Curves of hand-written runs, read back from the files that are drawn."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.errors import CheckpointError, ConfigError
from seedbed.files import seal_folder
from seedbed.plots.curves import plot_runs, smoothed
from seedbed.plots.figures import INK

NAME = "{http://www.w3.org/2000/svg}"


def write_run(folder: Path, steps: int = 40, *, scale: float = 1.0, **more: Any) -> Path:
    """Write a run's metrics: the loss falls, with an evaluation every tenth step."""
    folder.mkdir(parents=True)
    lines: list[str] = []
    for step in range(1, steps + 1):
        loss, evaluated = scale * (2 + 1 / step), step % 10 == 0
        record = {
            "step": step,
            "train_loss": None if step == 7 else loss,
            "val_loss": loss + (0.5 if step > 30 else 0.1) if evaluated else None,
            "val_bits_per_byte": loss / 2 if evaluated else None,
            "lr": 0.01,
            "grad_norm": 1.0,
            "tokens": 64 * step,
            "tokens_per_second": 100.0,
            "seconds": 2.0 * step,
            **more,
        }
        lines.append(json.dumps(record))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def curves_in(svg: str) -> dict[str, np.ndarray]:
    """Return the points of each named curve, in pixels: (points, 2)."""
    root = ET.fromstring(svg[svg.index("<svg") : svg.rindex("</svg>") + 6])
    found: dict[str, np.ndarray] = {}
    for group in root.iter(f"{NAME}g"):
        title, path = group.find(f"{NAME}title"), group.find(f"{NAME}path")
        if title is not None and path is not None:
            assert title.text is not None
            numbers = re.findall(r"-?[\d.]+", path.attrib["d"])
            found[title.text] = np.array(numbers, dtype=float).reshape(-1, 2)
    return found


def texts_in(svg: str) -> list[str]:
    root = ET.fromstring(svg[svg.index("<svg") : svg.rindex("</svg>") + 6])
    return [text.text or "" for text in root.iter(f"{NAME}text")]


def is_affine(pixels: np.ndarray, values: np.ndarray) -> bool:
    """Return whether pixels are the values on a linear axis."""
    slope, offset = np.polyfit(values, pixels, 1)
    return bool(np.allclose(slope * values + offset, pixels, atol=1e-3))


def test_curves_stand_where_their_numbers_say(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    svg = plot_runs(run, tmp_path / "a.svg", smooth=1).read_text()
    curves = curves_in(svg)
    assert list(curves) == ["training", "validation, best 2.1333 at step 30"]
    steps = np.array([s for s in range(1, 41) if s != 7])
    training, validation = curves.values()
    shown = training[:, 1] >= 0  # the first steps are cut off, at most
    assert shown.sum() >= 37
    assert is_affine(training[shown, 0], steps[shown])
    assert is_affine(training[shown, 1], 2 + 1 / steps[shown])
    at = np.array([10, 20, 30, 40])
    assert is_affine(
        np.concatenate([validation[:, 1], training[shown, 1]]),
        np.concatenate([2 + 1 / at + [0.1, 0.1, 0.1, 0.5], 2 + 1 / steps[shown]]),
    )


def test_only_one_axis_of_tokens_or_seconds_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=100)
    for x, label in (("tokens", "tokens"), ("seconds", "minutes of training")):
        y = ("loss", "learning-rate")
        svg = plot_runs(run, tmp_path / "a.svg", x=x, y=y).read_text()  # type: ignore[arg-type]
        assert texts_in(svg).count(label) == 1
        assert {"loss (nats per token)", "learning rate"} <= set(texts_in(svg))


def test_the_evaluated_training_text_has_a_curve(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", train_eval_loss=2.5)
    curves = curves_in(plot_runs(run, tmp_path / "a.svg").read_text())
    assert "training text, evaluated" in curves
    assert np.ptp(curves["training text, evaluated"][:, 1]) == 0


def test_each_run_has_a_colour_and_its_best(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"run{i}", scale=i) for i in (1, 2, 3)]
    svg = plot_runs(runs, tmp_path / "a.svg").read_text()
    texts = texts_in(svg)
    assert "run1, best 2.1333 at step 30" in texts
    assert "run3, best 6.2000 at step 30" in texts
    colours = {c for c in re.findall(r"stroke: (#\w{6})", svg) if c != INK}
    assert len(colours) == 3


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / part / "run") for part in ("one", "two")]
    svg = plot_runs(runs, tmp_path / "a.svg").read_text()
    assert len([c for c in curves_in(svg) if c.startswith((str(runs[0]), str(runs[1])))]) == 2


def test_losses_of_different_tokenizers_are_not_drawn_together(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        (run / "request.json").write_text(json.dumps({"tokenizer": run.name}))
    assert "bits per byte" in texts_in(plot_runs(runs, tmp_path / "a.svg").read_text())
    asked = plot_runs(runs, tmp_path / "a.svg", y="loss").read_text()
    assert "bits per byte" not in texts_in(asked)


def test_a_run_that_is_still_written_is_drawn_as_far_as_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=3)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train_lo')
    (curve,) = curves_in(plot_runs(run, tmp_path / "a.svg").read_text()).values()
    assert len(curve) == 3


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    name = '_a$x^2$b & "c" <d>'
    runs = [write_run(tmp_path / name), write_run(tmp_path / "plain")]
    page = plot_runs(runs, tmp_path / "a.html").read_text()
    assert f"{name}, best 2.1333 at step 30" in curves_in(page)
    assert "<title>_a$x^2$b &amp; &quot;c&quot; &lt;d&gt;, plain</title>" in page
    assert "<td>_a$x^2$b &amp;" in page
    assert any(text.endswith(f"{name}, best 2.1333 at step 30") for text in texts_in(page))


def test_the_baseline_is_drawn_where_the_dataset_still_is(tmp_path: Path) -> None:
    run, data = write_run(tmp_path / "run"), tmp_path / "data"
    data.mkdir()
    checksum = seal_folder(data, baseline={"bits_per_byte": 1.25})["checksum"]
    request = {"config": {"data": str(data)}, "data": checksum}
    (run / "request.json").write_text(json.dumps(request))
    svg = plot_runs(run, tmp_path / "a.svg", y="bits-per-byte").read_text()
    assert "counting n-grams, 1.2500" in texts_in(svg)
    seal_folder(data, baseline={"bits_per_byte": 1.5})  # it was made anew
    svg = plot_runs(run, tmp_path / "a.svg", y="bits-per-byte").read_text()
    assert not [text for text in texts_in(svg) if "n-grams" in text]
    (data / "manifest.json").unlink()
    svg = plot_runs(run, tmp_path / "a.svg", y="bits-per-byte").read_text()
    assert not [text for text in texts_in(svg) if "n-grams" in text]


def test_a_page_needs_nothing_else_and_has_a_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    page = plot_runs(run, tmp_path / "a.html").read_text()
    assert page.count("<svg") == 1
    assert not re.findall(r"<(?:script|link|img|iframe)|@import|url\(http", page)
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert INK not in page[page.index("<svg") :]  # it is the page's own colour of text
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells[0] == "run"
    assert cells[3:9] == ["1.0167", "2.1333", "30", "2.5250", "40", "2,560"]


def test_a_picture_has_its_size_and_a_drawing_is_drawn_the_same_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    png = plot_runs(run)
    assert png == run / "curves.png"
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")) == (1200, 700)
    first = plot_runs(run, tmp_path / "a.svg").read_bytes()
    assert plot_runs(run, tmp_path / "a.svg").read_bytes() == first
    assert not list(tmp_path.rglob("*.partial"))


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "run", steps=3)
    with pytest.raises(CheckpointError, match="no bits-per-byte against steps"):
        plot_runs(run, tmp_path / "a.svg", y="bits-per-byte")
    (run / "config.yaml").touch()
    with pytest.raises(CheckpointError, match="holds runs"):
        plot_runs(tmp_path / "runs")
    with pytest.raises(CheckpointError, match="does not exist"):
        plot_runs(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"\.png, \.svg, \.html"):
        plot_runs(run, tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="`smooth` is 0"):
        plot_runs(run, smooth=0)
    with pytest.raises(ConfigError, match="give one or more"):
        plot_runs([])
    with pytest.raises(ConfigError, match="`y` is 'losss'"):
        plot_runs(run, y="losss")  # type: ignore[arg-type]
    (run / "metrics.jsonl").write_text("no JSON\n")
    with pytest.raises(CheckpointError, match="damaged"):
        plot_runs(run)


def test_a_run_without_metrics_is_told(tmp_path: Path) -> None:
    for name in ("config.yaml", "env.json"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match="measured nothing yet"):
        plot_runs(tmp_path)


def test_smoothing_takes_the_mean_of_its_neighbours() -> None:
    values = np.arange(10.0)
    assert np.allclose(smoothed(values, 1), values)
    assert np.allclose(smoothed(values, 3)[1:-1], values[1:-1])
    assert smoothed(values, 3)[0] == 0.5
    assert np.isclose(smoothed(values, 1000), 4.5).all()  # every window holds all of them
    assert smoothed(np.array([1e9, 1.0, 1.0]), 1).tolist() == [1e9, 1.0, 1.0]
