"""Every benchmark runs: its quick form writes a table. How fast it was is not judged here."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(script: str, *words: str, results: Path) -> str:
    """Return the report that a benchmark's quick form writes."""
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), "--quick", "--rounds", "1"]
    free = {name: value for name, value in os.environ.items() if name not in ("NANOGPT", "LITGPT")}
    done = subprocess.run(
        [*command, "--results", str(results), *words],
        capture_output=True,
        text=True,
        env=free | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "failed and is left out" not in done.stderr
    [report] = results.iterdir()
    assert report.name in (f"{script}-cpu.md", f"{script}-quick-cpu.md")
    text = report.read_text()
    assert "Load average before" in text
    assert "torch " in text
    return text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words", "rows"),
    [
        ("throughput", ["--family", "qwen3"], ["| Seedbed, fp32, eager |"]),
        (
            "generation",
            [],
            [
                "| Seedbed, fp32 |",
                "| Seedbed, int8 |",
                "| transformers, fp32 |",
                "`seedbed generate`",
                "| bf16 |",
                "| int8 |",
            ],
        ),
        ("startup", [], ["| `seedbed --help` |", "| `seedbed train`, one step |"]),
        ("bpe_training", [], ["| Seedbed |", "| HF tokenizers |", "| sentencepiece |"]),
        (
            "time_to_loss",
            ["--target", "9", "--seconds", "3"],
            ["| Seedbed, `--minutes 0.050` |", "| 1 of 1 |"],
        ),
        ("gpu", ["--device", "cpu", "--part", "curve"], ["| the processor | 0.0e+00 | 0.0e+00 |"]),
        ("gpu", ["--device", "cpu", "--part", "throughput"], ["| Seedbed, fp32, eager |"]),
    ],
)
def test_the_quick_form_writes_its_table(
    script: str, words: list[str], rows: list[str], tmp_path: Path
) -> None:
    text = run(script, *words, results=tmp_path)
    for row in rows:
        assert row in text


@pytest.mark.slow
def test_nanogpt_is_measured_where_there_is_a_checkout(tmp_path: Path) -> None:
    checkout = os.environ.get("NANOGPT")
    if not checkout:
        pytest.skip("no checkout of nanoGPT: set NANOGPT to one")
    text = run("time_to_loss", "--nanogpt", checkout, results=tmp_path)
    assert "| nanoGPT, eager |" in text
    assert "| Seedbed, as large as nanoGPT's |" in text


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


def test_the_faster_of_eager_and_compiled_goes_on() -> None:
    from harness import fastest
    from throughput import Contender

    rates = {
        Contender("LitGPT", "gpt2", "fp32", False): [2.0, 2.0],
        Contender("LitGPT", "gpt2", "fp32", True): [3.0, 0.5],
        Contender("LitGPT", "gpt2", "bf16", False): [3.0, 3.0],
        Contender("LitGPT", "gpt2", "bf16", True): [2.0, 5.0],
    }
    turns = {who: [{"rate": rate} for rate in both] for who, both in rates.items()}
    names = ["LitGPT, fp32, eager", "LitGPT, bf16, compiled"]
    assert [str(contender) for contender in fastest(turns, lambda c: c.kind)] == names


def test_nanogpt_as_it_comes_always_goes_on_beside_its_best_setting() -> None:
    from harness import fastest
    from throughput import AS_IT_COMES, contenders

    asked = argparse.Namespace(device="cpu", quick=False)
    who = contenders("gpt2", ["nanoGPT"], asked)
    best = fastest({c: [{"rate": 9.0 if c.compiled else 1.0}] for c in who}, lambda c: c.kind)
    assert AS_IT_COMES in best
    assert "nanoGPT, fp32, compiled, fused AdamW" in map(str, best)


def test_a_random_model_writes_exactly_the_tokens_that_are_stated(tmp_path: Path) -> None:
    from dataclasses import asdict

    from generation import Size, child, save_random_model

    size = Size(1, 1, 16, 256, tokens=200, tokens_of_many=100)
    save_random_model(size, tmp_path / "model")
    asked = {"size": asdict(size), "checkpoint": str(tmp_path / "model"), "device": "cpu"}
    for precision in ("fp32", "int8"):
        of = {"precision": precision, "compiled": False}
        assert child("Seedbed", batch_size=32, **asked, **of)["rate"] > 0


def test_a_headline_time_is_one_in_which_all_rounds_reach_the_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time_to_loss

    def train(_place: object, seconds: float, seed: int) -> dict[str, float]:
        lucky = seconds > 8 or (seconds > 4 and seed != 102)
        return {"loss": 1.0 if lucky else 2.0, "seconds": seconds, "parameters": 1}

    monkeypatch.setattr(time_to_loss, "train_no_larger", train)
    place = time_to_loss.Place(Path(), time_to_loss.TASKS["shakespeare"], 65, "cpu")
    shares = time_to_loss.lasting(place, 1.5, 50.0)
    assert shares[0] == 50 / 12
    turns = time_to_loss.compared(place, "", shares, 1.5, argparse.Namespace(rounds=3))
    all_reached = [time_to_loss.reached(measured, 1.5) == 3 for measured in turns.values()]
    assert all_reached == [False] * 6 + [True]
    assert len(shares) > len(turns)


def test_a_report_waits_for_a_quiet_machine_and_says_when_it_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import meters

    monkeypatch.setattr(meters.os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    monkeypatch.setattr(meters, "PATIENCE", -1)
    assert "load average was 99.0" in meters.wait_until_quiet()
    monkeypatch.setattr(meters.os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert meters.wait_until_quiet() == ""


def test_ratios_are_to_the_best_peer_of_the_same_precision() -> None:
    import harness
    from throughput import AS_IT_COMES, Contender, rows

    rates = {
        AS_IT_COMES: ("fp32", 10.0),
        Contender("LitGPT", "gpt2", "fp32", False): ("fp32", 20.0),
        Contender("nanoGPT", "gpt2", "bf16", True): ("bf16", 25.0),
        Contender("Seedbed", "gpt2", "auto", False): ("bf16", 50.0),
    }
    turns = {c: [{"rate": rate, "precision": p}] * 3 for c, (p, rate) in rates.items()}
    memory = dict.fromkeys(rates, 1e6)
    found = {row[0]: row for row in rows(turns, memory, 1, {"fp32": 40.0, "bf16": 100.0})}
    assert found["LitGPT, fp32, eager"][5:] == ["50%", "1"]
    assert found["Seedbed, auto, eager (bf16)"][3:5] == ["2.00x", "5.00x"]
    assert found["LitGPT, fp32, eager"][3:5] == ["1.00x", "2.00x"]
    assert harness.ratio(1.0, None) == "-"


def test_full_loss_is_that_of_every_token_but_the_first_in_disjoint_windows() -> None:
    from time_to_loss import full_loss

    torch.manual_seed(0)
    ids, table = torch.randint(7, (41,)), torch.randn(7, 7)

    def logits_of(x: torch.Tensor) -> torch.Tensor:  # of the mean of what is seen in the window
        seen = torch.arange(1, x.shape[1] + 1)
        return table[x].cumsum(1) / seen[None, :, None]

    by_hand = []
    for start in range(0, 40, 16):
        part = ids[start : start + 17]
        logits = logits_of(part[None, :-1])[0]
        by_hand += F.cross_entropy(logits, part[1:], reduction="none").tolist()
    assert len(by_hand) == 40
    assert full_loss(logits_of, ids, 16, "cpu") == pytest.approx(sum(by_hand) / 40)


def test_size_given_to_seedbed_is_the_count_of_nanogpt() -> None:
    from time_to_loss import TASKS, Place

    place = Place(Path(), TASKS["shakespeare"], 65, "cpu")
    per_block = 2 * 128 + 128 * 3 * 128 + 128 * 128 + 2 * 128 * 512  # norms, attention, MLP
    assert place.size == 65 * 128 + 4 * per_block + 128


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
