from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.cli.main import run as command_line
from seedbed.cli.runs import table

TINY = (
    *("model.d_model=32", "model.num_layers=2", "model.context_length=32", "batch_size=4"),
    *("precision=fp32", "compile=off", "samples.tokens=4", "evaluation.tokens=300"),
)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two small runs, "one" and "two"."""
    folder = tmp_path_factory.mktemp("runs")
    for name, steps in (("one", "6"), ("two", "4")):
        words = ("--data", str(data), "--out", str(folder / name), "--steps", steps)
        assert command_line(["train", *words, *TINY]) == 0
    return folder


@pytest.fixture(autouse=True)
def _beside_them(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)


def test_runs_are_listed_newest_first(runs: Path, seedbed: Callable) -> None:
    shown = seedbed("runs", "--in", ".")
    assert shown.code == 0
    head, *rows = shown.out.splitlines()
    assert head.split()[:3] == ["run", "state", "size"]
    assert {row.split()[0] for row in rows} == {"one", "two"}
    assert all("finished" in row and "stories" in row for row in rows)
    assert "4 of 4" in shown.out


def test_a_bare_command_lists_the_folder_runs(runs: Path, seedbed: Callable) -> None:
    missing = seedbed("runs")
    assert missing.code == 2
    assert "runs is not a folder. Say with --in" in missing.err
    (runs / "runs").mkdir(exist_ok=True)
    assert seedbed("runs").out == "no runs in runs\n"
    assert json.loads(seedbed("runs", "--json").out) == []
    (runs / "runs").rmdir()


def test_json_has_the_promised_keys(seedbed: Callable) -> None:
    listed = json.loads(seedbed("runs", "--in", ".", "--sort", "score", "--json").out)
    scores = [run["best_bits_per_byte"] for run in listed]
    assert scores == sorted(scores)
    assert list(listed[0]) == [
        *("run", "state", "problem", "data", "parameters", "step", "steps", "best_step"),
        *("best_loss", "best_bits_per_byte", "last_loss", "train_loss", "tokens", "seconds"),
        *("tokens_per_second", "updated"),
    ]
    shown = json.loads(seedbed("runs", "show", "one", "--json").out)
    assert shown["summary"] in listed
    compared = json.loads(seedbed("runs", "compare", "one", "two", "--json").out)
    assert compared["settings"]["horizon"] == ["6 steps", "4 steps"]


def test_a_run_is_shown(seedbed: Callable) -> None:
    shown = seedbed("runs", "show", "one")
    assert shown.code == 0
    for text in (
        "one: finished, step 6 of 6",
        "model.d_model=32",
        "2 layers, 32 wide, context 32",
        "tokenizer byte",
        "sample at step 6:",
        "one/checkpoints/step-000006",
        "seedbed eval one",
    ):
        assert text in shown.out


def test_runs_are_compared(seedbed: Callable) -> None:
    shown = seedbed("runs", "compare", "one", "two")
    assert shown.code == 0
    rows = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert rows[0] == "one two"
    assert "horizon 6 steps 4 steps" in rows
    assert "state finished finished" in rows
    assert not any(row.startswith("model.") for row in rows)


def test_a_folder_in_the_wrong_place_is_told_where_it_goes(seedbed: Callable) -> None:
    shown = seedbed("runs", "one")
    assert shown.code == 2
    assert "`seedbed runs --in one` or `seedbed runs show one`" in shown.err
    alone = seedbed("runs", "compare", "one")
    assert alone.code == 2
    assert "two or more" in alone.err
    missing = seedbed("runs", "show", "nowhere")
    assert missing.code == 2
    assert "nowhere does not exist" in missing.err


def test_broken_runs_are_listed_and_shown(tmp_path: Path, seedbed: Callable) -> None:
    for name, content in (("torn", "model: ["), ("empty", ""), ("other", "colour: red\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(content)
        (tmp_path / name / "status.json").write_text("{")
    shown = seedbed("runs", "--in", tmp_path)
    assert shown.code == 0
    assert shown.out.count("damaged") >= 3
    for name in ("torn", "empty", "other"):
        assert f"{tmp_path / name}: " in shown.out  # and what is wrong with it
        assert seedbed("runs", "show", tmp_path / name).code == 0
        assert seedbed("runs", "compare", tmp_path / name, "one").code == 0


def test_wide_characters_keep_the_columns_in_line() -> None:
    rows = table([["run", "state"], ["日本", "done"], ["abcd", "done"]])
    assert rows == ["run   state", "日本  done", "abcd  done"]
