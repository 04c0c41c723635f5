"""Does `seedbed doctor` foretell what a run takes?

Each shape is first foretold, as `seedbed doctor --data` does it, and then trained for some steps in
a fresh process, which tells its peak memory and its seconds a step. Prints a table and writes
benchmarks/results/costs-cpu.md. Waits a while for a quiet machine.

    python benchmarks/costs.py [--memory-only]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from meters import wait_until_quiet

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SEEDBED_DATA", ROOT / ".." / "shared" / "data")).resolve()
os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(DATA / "tiktoken_cache"))

from seedbed.config import build  # noqa: E402
from seedbed.data.prepare import PrepareConfig, prepare  # noqa: E402
from seedbed.doctor.cost import RunCost, estimate_cost  # noqa: E402
from seedbed.files import read_json_lines  # noqa: E402
from seedbed.machine import this_machine  # noqa: E402
from seedbed.training.config import TrainConfig  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "costs-cpu.md"
SECONDS = 8  # of training, about

# Name -> tokenizer, then settings.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "0.8M, bytes, context 64, fp32": (
        "byte",
        {"model": {"size": "0.8m", "context_length": 64}, "precision": "fp32"},
    ),
    "1M, 4k, context 256, bf16": ("bpe", {"model": {"size": "1m"}, "precision": "bf16"}),
    "3M, 4k, context 256, bf16, compiled": (
        "bpe",
        {"model": {"size": "3m"}, "precision": "bf16", "compile": "on"},
    ),
    "3M, 4k, llama, context 512, fp32, plain attention": (
        "bpe",
        {
            "model": {
                "preset": "llama",
                "size": "3m",
                "context_length": 512,
                "attention": "plain",
            },
            "precision": "fp32",
        },
    ),
    "10M, 4k, gpt2, AdamW, dropout, context 256, fp32": (
        "bpe",
        {
            "model": {"preset": "gpt2", "size": "10m", "dropout": 0.1},
            "optimizer": {"kind": "adamw"},
            "precision": "fp32",
            "batch_size": 12,
        },
    ),
    "10M, bytes, context 512, bf16": (
        "byte",
        {
            "model": {"size": "10m", "context_length": 512},
            "precision": "bf16",
            "batch_size": 16,
        },
    ),
    "10M, bytes, context 256, fp32, compiled": (
        "byte",
        {"model": {"size": "10m"}, "precision": "fp32", "compile": "on", "batch_size": 8},
    ),
    "30M, 50k, context 128, bf16": (
        "gpt2",
        {
            "model": {"size": "30m", "context_length": 128},
            "precision": "bf16",
            "batch_size": 32,
        },
    ),
    "30M, 4k, relu2, context 256, bf16, 4 micro-batches": (
        "bpe",
        {
            "model": {"preset": "relu2", "size": "30m"},
            "precision": "bf16",
            "batch_size": 16,
            "micro_batch_size": 4,
        },
    ),
}

# A fresh process: trains, then says what it had in memory at most.
TRAIN = """
import sys
from pathlib import Path
from seedbed.config import build, read_yaml
from seedbed.machine import peak_memory
from seedbed.training.config import TrainConfig
from seedbed.training.pretrain import train
train(build(TrainConfig, read_yaml(Path(sys.argv[1]))), quiet=True)
print(peak_memory())
"""


@dataclass(frozen=True)
class Row:
    name: str
    foretold: RunCost
    memory: float
    seconds_per_step: float


def datasets(folder: Path) -> dict[str, Path]:
    """Return one prepared dataset for each tokenizer."""
    made: dict[str, Path] = {}
    for tokenizer in ("byte", "bpe", "gpt2"):
        made[tokenizer] = folder / tokenizer
        prepare(
            PrepareConfig(
                sources=(str(DATA / "tinystories" / "valid.txt"),),
                out=made[tokenizer],
                tokenizer=tokenizer,
            )
        )
    return made


def compare(name: str, config: TrainConfig, *, timed: bool) -> Row:
    from seedbed.config import to_yaml

    foretold = estimate_cost(config, timed=timed)
    steps = max(5, min(200, round(SECONDS / foretold.seconds_per_step)))
    if not timed:
        steps = 5
    real = config.model_copy(update={"horizon": f"{steps} steps"})
    file = config.out.with_suffix(".yaml")
    file.write_text(to_yaml(real))
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(file)], check=True, stdout=subprocess.PIPE, text=True
    )
    lines = read_json_lines(real.out / "metrics.jsonl")
    rates = [foretold.batch_tokens / line["tokens_per_second"] for line in lines]
    return Row(name, foretold, float(done.stdout.split()[-1]), median(rates[2:]))


def shown(rows: list[Row], *, timed: bool) -> list[str]:
    lines = [
        "| | memory foretold | measured | off by | s a step foretold | measured | off by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory, step = row.foretold.memory, row.foretold.seconds_per_step
        time = (
            f"{step:.3f} | {row.seconds_per_step:.3f} | {step / row.seconds_per_step - 1:+.0%}"
            if timed
            else " | | "
        )
        lines.append(
            f"| {row.name} | {memory / 1e6:,.0f} MB | {row.memory / 1e6:,.0f} MB | "
            f"{memory / row.memory - 1:+.0%} | {time} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-only", action="store_true", help="time nothing, write nothing")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    options = parser.parse_args()
    timed = not options.memory_only
    disturbed = wait_until_quiet() if timed else ""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = datasets(Path(folder))
        for number, (name, (tokenizer, settings)) in enumerate(SHAPES.items()):
            if options.only not in name:
                continue
            fixed = {"data": data[tokenizer], "out": Path(folder) / f"run{number}"}
            usual: dict[str, Any] = {
                "horizon": "200 steps",
                "compile": "off",
                "log_every": 1,
                "device": "cpu",
            }
            usual["evaluation"] = {"every": 1_000_000}  # after the last step only: steps are timed
            rows.append(compare(name, build(TrainConfig, usual, fixed, settings), timed=timed))
            print(shown(rows[-1:], timed=timed)[-1], flush=True)
            parts = {k: round(v / 1e6) for k, v in rows[-1].foretold.memory_parts.items()}
            print("   ", json.dumps(parts), file=sys.stderr, flush=True)
    if not timed or options.only:
        return
    machine = this_machine()
    load = os.getloadavg()[0]
    text = "\n".join(
        [
            "# What a run costs: foretold by `seedbed doctor --data`, and measured",
            "",
            f"{machine.name}, {machine.cores} cores, load average {load:.1f} at the end; "
            f"torch {torch.__version__}; `python benchmarks/costs.py`",
            disturbed,
            "",
            *shown(rows, timed=timed),
            "",
            f"Each shape is trained for about {SECONDS} seconds in a process of its own. Memory is "
            "the peak of that process, evaluation, samples and saving included. The batches are "
            "those that the rules choose, where the name says nothing else.",
            "",
        ]
    )
    print(text)
    RESULT.write_text(text)


if __name__ == "__main__":
    main()
