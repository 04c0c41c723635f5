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
    assert report.name == f"{script}-cpu.md"
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
    from throughput import Contender, best_settings

    rates = {
        Contender("nanoGPT", "gpt2", "fp32", False): {"rate": 2.0},
        Contender("nanoGPT", "gpt2", "fp32", True): {"rate": 1.0},
        Contender("nanoGPT", "gpt2", "bf16", False): {"rate": 3.0},
        Contender("nanoGPT", "gpt2", "bf16", True): {"rate": 4.0},
    }
    names = ["nanoGPT, fp32, eager", "nanoGPT, bf16, compiled"]
    assert [contender.name for contender in best_settings(rates)] == names


def test_ratios_are_to_the_best_peer_of_the_same_precision() -> None:
    import harness
    from throughput import Contender, rows

    rates = {
        Contender("nanoGPT", "gpt2", "fp32", False): ("fp32", 10.0),
        Contender("LitGPT", "gpt2", "fp32", False): ("fp32", 20.0),
        Contender("nanoGPT", "gpt2", "bf16", True): ("bf16", 25.0),
        Contender("Seedbed", "gpt2", "auto", False): ("bf16", 50.0),
    }
    turns = {c: [{"rate": rate, "precision": p}] * 3 for c, (p, rate) in rates.items()}
    first = {c: {"rate": rate, "peak": 1e6} for c, (_, rate) in rates.items()}
    found = {row[0]: row for row in rows(first, turns, 1, "cpu")}
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


def test_a_report_says_that_the_quick_form_means_nothing(tmp_path: Path) -> None:
    from harness import Report

    asked = argparse.Namespace(
        results=tmp_path, quick=True, nanogpt=None, litgpt=None, device="cpu"
    )
    path = Report("name", asked).write("Title", "body")
    assert "figures mean nothing" in path.read_text()
    asked.quick = False
    assert "figures mean nothing" not in Report("name", asked).write("Title", "body").read_text()
