"""Training tokens/s beside nanoGPT, transformers' Trainer and LitGPT: same shape, batch, precision.

Each contender trains in a process of its own, on the same characters. In a first round, which is
not timed, memory is watched, and each peer's best setting (compiled or not) is found; in the rounds
after it, the best settings take turns. Seedbed runs `seedbed.train`, whole.

    python benchmarks/throughput.py --nanogpt PATH --litgpt PYTHON [--shape tiny --shape baby]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import harness
import trainers
from harness import Measured, Report, median_of, ratio, table
from trainers import TIMED, WARM, Shape, model_settings

SHAPES = {
    "tiny": Shape(4, 4, 128, 64, 12, chunk=20),
    "baby": Shape(6, 6, 384, 256, 16, chunk=1),  # nanoGPT's batch of 64 is for a GPU
}
QUICK = {"quick": Shape(2, 2, 32, 16, 4, chunk=2)}


@dataclass(frozen=True)
class Contender:
    """One way to train. Its fields go to the child as they are."""

    peer: str
    family: str  # gpt2 or qwen3
    precision: str  # fp32, bf16; Seedbed's auto
    compiled: bool
    optimizer: str = "adamw"

    @property
    def name(self) -> str:
        optimizer = ", Muon" if self.optimizer == "muon" else ""
        return f"{self.setting}{', compiled' if self.compiled else ', eager'}{optimizer}"

    @property
    def setting(self) -> str:
        """All but whether it is compiled."""
        return f"{self.peer}, {self.precision}"

    @property
    def kind(self) -> tuple[str, ...]:
        """What of its settings is found by measuring only the compiling."""
        return (self.peer, self.family, self.precision, self.optimizer)


FAMILIES = {
    "gpt2": "GPT-2's shape: layer norms, learned positions, GELU, tied embeddings",
    "qwen3": "Qwen3's shape, our default: RMS norms, RoPE, normed queries and keys, SwiGLU",
}
PEERS = {"nanoGPT": ("gpt2",), "transformers": ("gpt2", "qwen3"), "LitGPT": ("gpt2", "qwen3")}


def contenders(family: str, peers: Iterable[str], asked: argparse.Namespace) -> list[Contender]:
    """Return who takes part, eager and compiled: in both precisions, in bf16 on a GPU."""
    precisions = ("bf16",) if asked.device.startswith("cuda") else ("fp32", "bf16")
    settings = [("fp32", False)] if asked.quick else list(product(precisions, (False, True)))
    own = [
        ("auto" if precision == "bf16" else precision, compiled) for precision, compiled in settings
    ]
    return [
        *(Contender(p, family, *s) for p in peers if family in PEERS[p] for s in settings),
        *(Contender("Seedbed", family, *s) for s in own),
        *(Contender("Seedbed", family, p, c, "muon") for p, c in own if p == "auto"),
    ]


def measure(
    who: Sequence[Contender],
    shape: Shape,
    data: Path,
    asked: argparse.Namespace,
) -> tuple[dict[Contender, Measured], dict[Contender, list[Measured]]]:
    """Return what each measured in the first round, and the best settings in the others."""
    from seedbed.data.prepared import open_dataset

    vocab_size = open_dataset(data).tokenizer.vocab_size
    common = {"shape": asdict(shape), "data": data, "vocab_size": vocab_size}
    common |= {"device": asked.device, "nanogpt": asked.nanogpt}

    def turn(contender: Contender, memory: bool) -> Measured:
        return harness.in_fresh_process(
            __file__,
            asdict(contender) | common,
            python=python_of(contender.peer, asked) or sys.executable,
            memory=memory,
        )

    by_name = {contender.name: contender for contender in who}
    tries = harness.take_turns({n: partial(turn, c, True) for n, c in by_name.items()}, 1)
    first = {by_name[name]: measured[0] for name, measured in tries.items()}
    best = best_settings(first)
    if asked.quick:
        return first, {contender: [first[contender]] for contender in best}
    turns = harness.take_turns({c.name: partial(turn, c, False) for c in best}, asked.rounds)
    return first, {by_name[name]: measured for name, measured in turns.items()}


def best_settings(first: dict[Contender, Measured]) -> list[Contender]:
    """Return the contenders, compiled or not: what was faster."""
    best: dict[tuple[str, ...], Contender] = {}
    for contender, measured in first.items():
        before = best.get(contender.kind)
        if before is None or measured["rate"] > first[before]["rate"]:
            best[contender.kind] = contender
    return list(best.values())


def python_of(peer: str, asked: argparse.Namespace) -> Path | None:
    """Return the Python that a peer runs in, or None where there is none."""
    if peer == "nanoGPT":
        return Path(sys.executable) if asked.nanogpt else None
    needs = {"transformers": "accelerate", "LitGPT": "litgpt"}  # Trainer needs accelerate
    return harness.python_with(needs.get(peer, "torch"), asked.litgpt)


def rows(
    first: dict[Contender, Measured],
    turns: dict[Contender, list[Measured]],
    flops_per_token: int,
    device: str,
) -> list[list[str]]:
    """Return the rows of the table, with ratios to the best peer in the same precision."""
    rates = {c: median_of(measured, "rate") for c, measured in turns.items()}
    precisions = {c: measured[0]["precision"] for c, measured in turns.items()}
    peers: dict[str, float] = {}
    for contender, rate in rates.items():
        if contender.peer != "Seedbed":
            peers[precisions[contender]] = max(rate, peers.get(precisions[contender], 0.0))
    as_it_comes = next((m["rate"] for c, m in first.items() if is_as_it_comes(c)), None)
    as_it_comes = next((r for c, r in rates.items() if is_as_it_comes(c)), as_it_comes)
    return [
        [
            c.name + (f" ({precisions[c]})" if c.precision == "auto" else ""),
            f"{rate:,.0f}",
            harness.spread_of(turns[c], "rate"),
            ratio(rate, peers.get(precisions[c])),
            ratio(rate, as_it_comes),
            f"{rate * flops_per_token / harness.matmul_peak(device, precisions[c]):.0%}",
            f"{first[c]['peak'] / 1e6:,.0f}",
        ]
        for c, rate in rates.items()
    ]


def is_as_it_comes(contender: Contender) -> bool:
    """Return whether this is what nanoGPT's README says for a processor."""
    return contender == Contender("nanoGPT", "gpt2", "fp32", False)


HEADER = (
    "",
    "tokens/s",
    "smallest to largest",
    "to the best peer, same precision",
    "to nanoGPT as it comes",
    "MFU",
    "peak MB",
)


def section(name: str, shape: Shape, family: str, data: Path, asked: argparse.Namespace) -> str:
    """Return the table of one shape and family."""
    from seedbed.config import build
    from seedbed.data.prepared import open_dataset
    from seedbed.model.config import ModelSettings

    present = [peer for peer in PEERS if python_of(peer, asked)]
    who = contenders(family, present, asked)
    first, turns = measure(who, shape, data, asked)
    vocab_size = open_dataset(data).tokenizer.vocab_size
    full = build(ModelSettings, model_settings(shape, family)).resolve(vocab_size)
    left = [f"{c.name} {m['rate']:,.0f}" for c, m in first.items() if c not in turns]
    missing = [p for p in PEERS if p not in present and family in PEERS[p]]
    notes = [
        f"{FAMILIES[family]}. {full.parameters}; {shape.num_layers} layers, {shape.num_heads} "
        f"heads, {shape.d_model} wide, context {shape.context_length}, batch {shape.batch_size}, "
        f"vocabulary {vocab_size:,}.",
        f"Slower in the first round, tokens/s: {'; '.join(left)}." if left else "",
        f"Not measured, as not found here: {', '.join(missing)}." if missing else "",
    ]
    body = table(HEADER, rows(first, turns, full.training_flops_per_token, asked.device))
    return f"## {name}, {family}\n\n{body}\n\n" + "\n".join(filter(None, notes))


def prepare_characters(text: str, folder: Path) -> Path:
    """Return a dataset of the characters of a text, prepared in a folder."""
    import seedbed

    source = folder / "text.txt"
    source.write_text(text, encoding="utf-8")
    config = seedbed.PrepareConfig(sources=(str(source),), out=folder / "data", tokenizer="char")
    return seedbed.prepare(config).folder


def peaks(device: str) -> str:
    both = ", ".join(f"{p} {harness.matmul_peak(device, p) / 1e9:,.0f}" for p in ("fp32", "bf16"))
    return f"Measured peak of a matrix product, GFLOP/s: {both}. MFU is the share of it."


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--shape", action="append", choices=SHAPES)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    asked = parser.parse_args()
    report = Report("throughput", asked)
    shapes = QUICK if asked.quick else {n: SHAPES[n] for n in asked.shape or SHAPES}
    text = harness.made_up_stories(60) if asked.quick else harness.characters()
    with tempfile.TemporaryDirectory() as folder:
        data = prepare_characters(text, Path(folder))
        sections = [
            section(name, shape, family, data, asked)
            for name, shape in shapes.items()
            for family in asked.family or FAMILIES
        ]
    report.write(
        "Training throughput",
        *sections,
        f"{peaks(asked.device)}\nMedian of {asked.rounds} rounds, taking turns, each in a process "
        f"of its own; in each the median of {TIMED} stretches of steps, the first {WARM} left out. "
        "AdamW unless said; the same vocabulary, batch and precision for all. Memory: the whole "
        "process with its children, compilers left out, in the first round.",
    )


if __name__ == "__main__":
    harness.run(main, trainers.train)
