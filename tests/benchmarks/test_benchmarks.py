"""Every benchmark runs: its quick form writes a table. How fast it was is not judged here."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
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
    assert report.name.replace("prepare-all", "prepare_all") in (
        f"{script}-cpu.md",
        f"{script}-quick-cpu.md",
    )
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
        ("gpu", ["--device", "cpu", "--part", "curve"], ["| the processor | 0.0e+00 | 0.0e+00 |"]),
        ("gpu", ["--device", "cpu", "--part", "throughput"], ["| Seedbed, fp32, eager |"]),
        (
            "gpu",
            ["--device", "cpu", "--part", "time", "--target", "9", "--seconds", "3"],
            ["| Seedbed, `--minutes 0.050` |", "| 1 of 1 |"],
        ),
        ("gpu", ["--device", "cpu", "--part", "generation"], ["| Seedbed, int8 |"]),
        ("demo", [], ["| whole command |", " of 20 |", "\n> Once upon a time"]),
        ("costs", [], ["| 0.1M, bytes |"]),
        ("prepare_all", [], ["| stories.txt | byte |", "- none"]),
        ("tokenise", [], ["| Seedbed, 2 processes |", "| tiktoken, 1 thread |"]),
    ],
)
def test_the_quick_form_writes_its_table(
    script: str, words: list[str], rows: list[str], tmp_path: Path
) -> None:
    text = run(script, *words, results=tmp_path)
    for row in rows:
        assert row in text


@pytest.mark.slow
def test_quick_times_are_told_and_leave_the_page_alone(tmp_path: Path) -> None:
    page = BENCHMARKS.parent / "docs" / "times.md"
    before = page.read_bytes()
    command = [sys.executable, str(BENCHMARKS / "times.py"), "--quick", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"\| 1m \| 9\d\d,\d\d\d \|", done.stdout)
    assert [file.name for file in tmp_path.iterdir()] == ["times-quick.json"]
    assert page.read_bytes() == before


@pytest.mark.slow
def test_nanogpt_is_measured_where_there_is_a_checkout(tmp_path: Path) -> None:
    checkout = os.environ.get("NANOGPT")
    if not checkout:
        pytest.skip("no checkout of nanoGPT: set NANOGPT to one")
    text = run("time_to_loss", "--nanogpt", checkout, results=tmp_path)
    assert "| nanoGPT, eager |" in text
    assert "| Seedbed, as large as nanoGPT's |" in text


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


def test_nanogpt_is_not_said_to_reach_the_loss_that_it_sets() -> None:
    from time_to_loss import row

    measured = [{"parameters": 9, "seconds": 2.0, "loss": loss} for loss in (1.0, 2.0)]
    assert row("nanoGPT, eager", measured, 2.0, 1.0)[-1] == "-"
    assert row("Seedbed, `--minutes 1`", measured, 2.0, 1.0)[-1] == "1 of 2"


def test_a_nanogpt_that_fails_in_every_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import time_to_loss

    def fail(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "train.py", "", "no such thing")

    monkeypatch.setattr(time_to_loss, "train_nanogpt", fail)
    place = time_to_loss.Place(Path(), time_to_loss.TASKS["shakespeare"], 65, "cpu")
    with pytest.raises(SystemExit, match="nanoGPT failed in every setting"):
        time_to_loss.faster_nanogpt(place, ["eager", "compiled"])


@pytest.mark.parametrize(
    ("script", "words", "parts"),
    [
        ("time_to_loss", ["--target", "9", "--seconds", "3"], ["shakespeare", "stories", "baby"]),
        ("generation", [], ["10m", "100m"]),
    ],
)
def test_each_task_and_size_has_a_result_file_of_its_own(
    script: str, words: list[str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import meters

    benchmark = importlib.import_module(script)
    monkeypatch.setattr(meters, "PATIENCE", -1)
    monkeypatch.setattr(benchmark, "section", lambda name, *_: f"of {name}")
    monkeypatch.setattr(benchmark, "trained_losses", lambda _: "", raising=False)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *words, "--results", str(tmp_path)])
    benchmark.main()
    files = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert set(files) == {f"{script}-{part}-cpu.md" for part in parts}
    for part in parts:
        assert f"\nof {part}\n" in files[f"{script}-{part}-cpu.md"]


def test_make_bench_goes_on_after_a_failure_and_names_it_at_the_end(tmp_path: Path) -> None:
    if not shutil.which("make"):
        pytest.skip("no make")
    python = tmp_path / "python"  # in the place of .venv/bin/python
    python.write_text("#!/bin/sh\ncase $1 in */demo.py|*/startup.py) exit 3;; esac\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-o", ".venv/dev", "bench", f"BIN={tmp_path}"],
        cwd=BENCHMARKS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "benchmarks/tokenise.py" in done.stdout  # the last one
    assert "Failed: benchmarks/demo.py benchmarks/startup.py\n" in done.stderr


def test_times_wait_for_a_quiet_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import times

    seen: list[str] = []

    def measure_all(_: object, device: times.Device) -> None:
        seen.append("measured")
        device.update(times.surroundings(8))

    monkeypatch.setattr(times, "wait_until_quiet", lambda: seen.append("waited"))
    monkeypatch.setattr(times, "measure_all", measure_all)
    monkeypatch.setattr(sys, "argv", ["times.py", "--results", str(tmp_path)])
    times.main()
    assert seen == ["waited", "measured"]


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
