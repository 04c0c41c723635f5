from __future__ import annotations

import time

import pytest

from seedbed import progress as module
from seedbed.progress import Progress


def test_plain_lines_say_how_far(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training", 10, unit="step") as progress:
        progress.update(1, loss="2.5")
        progress.note("a note")
        progress.update(10, loss="1.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "training step 1 of 10  loss 2.5\na note\ntraining step 10 of 10  loss 1.5\n"


def test_lines_do_not_come_faster_than_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training", 1000, unit="step") as progress:
        for step in range(1, 1001):
            progress.update(step)
    assert capsys.readouterr().err.count("\n") == 2  # the first and the last


def test_time_left_follows_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 110.0, 200.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("encoding", 20e6, unit="bytes") as progress:
        for done in (0, 2e6, 20e6):
            progress.update(done)
    assert capsys.readouterr().err.splitlines() == [
        "encoding 0.0 of 20.0 MB",
        "encoding 2.0 of 20.0 MB  1:30 left",
        "encoding 20.0 of 20.0 MB",
    ]


def test_without_a_total_the_amount_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading", None, unit="bytes") as progress:
        progress.update(3e6)
    assert capsys.readouterr().err == "reading 3.0 MB\n"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training", 10, unit="step", quiet=True) as progress:
        progress.update(10)
        progress.note("a note")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_live_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("training", 10, unit="step") as progress:
        progress.update(10, loss="[1.5]")
        progress.note("[a note]")
    out, err = capsys.readouterr()
    assert out == ""
    for word in ("training", "100%", "loss [1.5]", "[a note]"):
        assert word in err
