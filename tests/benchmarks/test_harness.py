"""What the benchmarks share: turns, memory, real text that is missing, and what a report tells."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_contenders_take_turns() -> None:
    from harness import take_turns

    seen: list[str] = []
    contenders = {name: lambda name=name: seen.append(name) or {"n": len(seen)} for name in "ab"}
    assert take_turns(contenders, 3)["b"] == [{"n": 2}, {"n": 4}, {"n": 6}]
    assert seen == list("ababab")


def test_a_contender_that_fails_is_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    from harness import seconds_of, take_turns

    contenders = {
        "bad": lambda: seconds_of(["-c", "raise SystemExit('no such thing')"]),
        "good": lambda: seconds_of(["-c", "print(7)"]),
    }
    measured = take_turns(contenders, 2)
    assert [each["out"] for each in measured["good"]] == ["7\n", "7\n"]
    assert "bad" not in measured
    assert "no such thing" in capsys.readouterr().err


def test_memory_of_a_child_is_that_of_its_whole_family(tmp_path: Path) -> None:
    from harness import in_fresh_process

    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "pid = os.fork()\n"
        "block = bytearray(os.urandom(1)) * 100_000_000\n"
        "time.sleep(1)\n"
        "if pid: os.wait(); print('{}')\n"
    )
    assert 200e6 < in_fresh_process(str(script), {}, memory=True)["peak"] < 300e6


def test_without_the_real_text_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import costs
    import harness
    import known_texts
    import prepare_all
    import ties

    monkeypatch.setattr(harness, "DATA", tmp_path)
    readers = {
        "tinyshakespeare": lambda: harness.characters(quick=False),
        "childrens": harness.unique_documents,
        "tinystories/train.txt": lambda: known_texts.stories(False),
        "code/python_stdlib.jsonl": lambda: known_texts.code(False),
        "tinystories/train.txt ": lambda: ties.sources_of(tmp_path, False),
        "tinystories/valid.txt": lambda: costs.dataset_for("byte", tmp_path, False),
        "tinystories": prepare_all.sources,
    }
    for missing, read in readers.items():
        told = rf"no {tmp_path}/{missing.strip()}\. .*set SEEDBED_DATA .*--quick"
        with pytest.raises(SystemExit, match=told):
            read()


def test_a_report_waits_for_a_quiet_machine_and_says_when_it_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import meters

    monkeypatch.setattr(meters.os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    monkeypatch.setattr(meters, "PATIENCE", -1)
    assert "load average was 99.0" in meters.wait_until_quiet()
    monkeypatch.setattr(meters.os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert meters.wait_until_quiet() == ""


def test_a_report_says_that_the_quick_form_means_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import meters
    from harness import Report

    monkeypatch.setattr(meters, "PATIENCE", -1)  # wait for nothing
    asked = argparse.Namespace(
        results=tmp_path, quick=True, nanogpt=None, litgpt=None, device="cpu"
    )
    path = Report("name", asked).write("Title", "body")
    assert "figures mean nothing" in path.read_text()
    asked.quick = False
    assert "figures mean nothing" not in Report("name", asked).write("Title", "body").read_text()


def test_a_reports_command_shows_no_path_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import Report

    words = ["--results", str(tmp_path), "--litgpt", sys.executable, "--nanogpt", "../nanoGPT"]
    words += [f"--folder={tmp_path}", "--text", f"{tmp_path}/a b.txt", "--budget", "1.5m bytes"]
    monkeypatch.setattr(sys, "argv", [str(BENCHMARKS / "ties.py"), *words])
    asked = argparse.Namespace(results=tmp_path, quick=True, device="cpu")
    asked.nanogpt, asked.litgpt = Path("../nanoGPT"), Path(sys.executable)
    text = Report("name", asked).write("Title").read_text()
    shown = "--litgpt PYTHON --nanogpt PATH --folder=PATH --text PATH --budget '1.5m bytes'"
    assert f"Command: `python benchmarks/ties.py {shown}`, " in text
    assert str(tmp_path) not in text
