from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from seedbed.cli.plot import Y
from seedbed.plots.curves import YAxis


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run with three logged steps."""
    records = [
        {"step": step, "train_loss": 3 / step, "val_loss": 3.2 / step, "tokens": 100 * step}
        for step in (1, 2, 3)
    ]
    lines = [json.dumps(record) + "\n" for record in records]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(lines))
    return tmp_path / "run"


def test_what_can_be_drawn_is_what_can_be_asked_for() -> None:
    assert tuple(Y) == get_args(YAxis)


def test_the_file_is_named_on_stdout(run: Path, seedbed: Callable) -> None:
    shown = seedbed("plot", run)
    assert (shown.code, shown.out, shown.err) == (0, f"{run / 'curves.png'}\n", "")
    assert (run / "curves.png").is_file()


def test_several_runs_are_drawn_here(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seedbed: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = seedbed("plot", "run", run, "--json")
    assert json.loads(shown.out) == {"out": "curves.png", "runs": ["run", str(run)]}
    assert (tmp_path / "curves.png").is_file()


def test_options_reach_the_page(run: Path, tmp_path: Path, seedbed: Callable) -> None:
    page = tmp_path / "new" / "a.html"
    options = ("--x", "tokens", "--y", "loss", "--log-y", "--smooth", 2, "--out", page)
    assert seedbed("plot", run, *options).code == 0
    text = page.read_text()
    assert ">tokens</text>" in text
    assert "training, mean of 2" in text


def test_what_cannot_be_drawn_is_told_in_a_line(
    run: Path, tmp_path: Path, seedbed: Callable
) -> None:
    for words in ((tmp_path,), (run, "--y", "grad-norm"), (run, "--out", "a.gif"), ("nowhere",)):
        shown = seedbed("plot", *words)
        assert shown.code == 2
        assert shown.err.startswith("error: ")
        assert shown.err.count("\n") == 1
    assert seedbed("plot").code == 2
    assert seedbed("plot", run, "--y", "colour").code == 2
