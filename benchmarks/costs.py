"""Does `seedbed doctor` foretell what a run takes?

Each shape is first foretold, as `seedbed doctor --data` does it, and then trained for some steps in
a fresh process, which tells its peak memory and its seconds a step.

    python benchmarks/costs.py
    python benchmarks/costs.py [--memory-only] [--only WORDS]      shown and not written
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import harness
from harness import DATA, Measured, Report, table

if TYPE_CHECKING:
    from seedbed.doctor.cost import RunCost
    from seedbed.training.config import TrainConfig

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
QUICK = {"0.1M, bytes": ("byte", {"model": {"size": "0.1m", "context_length": 64}})}
HEADER = ("", "memory foretold", "measured", "off by", "s a step foretold", "measured", "off by")


@dataclass(frozen=True)
class Compared:
    """A shape, what was foretold of it, and what was so."""

    name: str
    foretold: RunCost
    memory: float
    seconds_per_step: float

    def row(self, timed: bool) -> list[str]:
        memory, step = self.foretold.memory, self.foretold.seconds_per_step
        seconds = [f"{step:.3f}", f"{self.seconds_per_step:.3f}", off(step, self.seconds_per_step)]
        return [
            self.name,
            f"{memory / 1e6:,.0f} MB",
            f"{self.memory / 1e6:,.0f} MB",
            off(memory, self.memory),
            *(seconds if timed else ["", "", ""]),
        ]


def off(foretold: float, measured: float) -> str:
    return f"{foretold / measured - 1:+.0%}"


def child(config: str) -> Measured:
    """Train; return the bytes that this took at most."""
    from seedbed.config import build, read_yaml
    from seedbed.machine import peak_memory
    from seedbed.training.config import TrainConfig
    from seedbed.training.pretrain import train

    train(build(TrainConfig, read_yaml(Path(config))), quiet=True)
    return {"memory": peak_memory()}


def dataset_for(tokenizer: str, folder: Path, quick: bool) -> Path:
    """Return stories, prepared in the folder with a tokenizer where that is not done yet."""
    from seedbed.data.prepare import PrepareConfig, prepare

    source = "sample:stories:100" if quick else str(harness.real_text("tinystories", "valid.txt"))
    out = folder / tokenizer
    if not out.is_dir():
        prepare(PrepareConfig(sources=(source,), out=out, tokenizer=tokenizer))
    return out


def compare(name: str, config: TrainConfig, *, timed: bool, quick: bool) -> Compared:
    """Foretell what a run takes, and train to see."""
    from seedbed.config import to_yaml
    from seedbed.doctor.cost import estimate_cost
    from seedbed.files import read_json_lines

    foretold = estimate_cost(config, timed=timed)
    steps = max(5, min(200, round(SECONDS / foretold.seconds_per_step)))
    real = config.model_copy(update={"horizon": f"{steps if timed and not quick else 5} steps"})
    file = config.out.with_suffix(".yaml")
    file.write_text(to_yaml(real))
    memory = harness.in_fresh_process(__file__, {"config": file})["memory"]
    lines = read_json_lines(real.out / "metrics.jsonl")
    rates = [foretold.batch_tokens / line["tokens_per_second"] for line in lines]
    return Compared(name, foretold, memory, median(rates[2:]))


def rows(asked: argparse.Namespace) -> list[list[str]]:
    """Return the rows of the table, each told when it is there."""
    from seedbed.config import build
    from seedbed.training.config import TrainConfig

    usual: dict[str, Any] = {
        "horizon": "200 steps",
        "compile": "off",
        "log_every": 1,
        "device": "cpu",
    }
    usual["evaluation"] = {"every": 1_000_000}  # after the last step only: steps are timed
    timed, shapes = not asked.memory_only, QUICK if asked.quick else SHAPES
    found: list[list[str]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, (name, (tokenizer, settings)) in enumerate(shapes.items()):
            if asked.only not in name:
                continue
            data = dataset_for(tokenizer, folder, asked.quick)
            fixed = {"data": data, "out": folder / f"run{number}"}
            config = build(TrainConfig, usual, fixed, settings)
            compared = compare(name, config, timed=timed, quick=asked.quick)
            found.append(compared.row(timed))
            parts = {k: round(v / 1e6) for k, v in compared.foretold.memory_parts.items()}
            harness.tell(f"{' | '.join(found[-1])}\n    {json.dumps(parts)}")
    return found


def main() -> None:
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(DATA / "tiktoken_cache"))
    parser = harness.arguments(__doc__)
    parser.add_argument("--memory-only", action="store_true", help="time nothing")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    asked = parser.parse_args()
    if asked.memory_only or asked.only:
        print(table(HEADER, rows(asked)))
        return
    report = Report("costs", asked)
    report.write(
        "What a run costs: foretold by `seedbed doctor --data`, and measured",
        table(HEADER, rows(asked)),
        f"Each shape is trained for about {SECONDS} seconds in a process of its own. Memory is "
        "the peak of that process, evaluation, samples and saving included. The batches are "
        "those that the rules choose, where the name says nothing else.",
    )


if __name__ == "__main__":
    harness.run(main, child)
