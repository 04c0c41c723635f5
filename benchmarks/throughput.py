"""Training tokens/s beside nanoGPT, transformers' Trainer and LitGPT: same shape, batch, precision.

Each contender trains in a process of its own, on the same characters. All settings take part in the
first two rounds, which find the faster of each peer (compiled or not); it alone goes on. In a last
round, which is not timed, memory is watched. Seedbed runs `seedbed.train`, whole.

nanoGPT takes part as it comes, on a processor in fp32 and eager, and in its best setting: with the
fused AdamW that its own code keeps for CUDA.

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
from meters import matmul_peaks
from trainers import FUSED, TIMED, WARM, Shape, model_settings

SHAPES = {
    "tiny": Shape(4, 4, 128, 64, 12, chunk=16),
    "baby": Shape(6, 6, 384, 256, 16, chunk=1),  # nanoGPT's batch of 64 is for a GPU
}
QUICK = {"quick": Shape(2, 2, 32, 16, 4, chunk=2)}
TRIALS = 2  # rounds in which every setting takes part


@dataclass(frozen=True)
class Contender:
    """One way to train. Its fields go to the child as they are."""

    peer: str
    family: str  # gpt2 or qwen3
    precision: str  # fp32, bf16; Seedbed's auto
    compiled: bool
    optimizer: str = "adamw"

    def __str__(self) -> str:
        optimizer = {"muon": ", Muon", FUSED: f", {FUSED}"}.get(self.optimizer, "")
        compiled = "compiled" if self.compiled else "eager"
        return f"{self.peer}, {self.precision}, {compiled}{optimizer}"

    @property
    def kind(self) -> tuple[str, ...]:
        """What of its settings is found by measuring only the compiling."""
        return (self.peer, self.family, self.precision, self.optimizer)


FAMILIES = {
    "gpt2": "GPT-2's shape: layer norms, learned positions, GELU, tied embeddings",
    "qwen3": "Qwen3's shape, our default: RMS norms, RoPE, normed queries and keys, SwiGLU",
}
AS_IT_COMES = Contender("nanoGPT", "gpt2", "fp32", False)  # as its README says for a processor
PEERS = {"nanoGPT": ("gpt2",), "transformers": ("gpt2", "qwen3"), "LitGPT": ("gpt2", "qwen3")}


def contenders(family: str, peers: Iterable[str], asked: argparse.Namespace) -> list[Contender]:
    """Return who takes part, eager and compiled: in both precisions, in bf16 on a GPU."""
    precisions = ("bf16",) if asked.device.startswith("cuda") else ("fp32", "bf16")
    settings = [("fp32", False)] if asked.quick else list(product(precisions, (False, True)))
    own = [
        ("auto" if precision == "bf16" else precision, compiled) for precision, compiled in settings
    ]
    present = [peer for peer in peers if family in PEERS[peer]]
    return [
        *(c for c in [AS_IT_COMES] if c.peer in present and asked.device == "cpu"),
        *(
            Contender(peer, family, *setting, FUSED if peer == "nanoGPT" else "adamw")
            for peer in present
            for setting in settings
        ),
        *(Contender("Seedbed", family, *s) for s in own),
        *(Contender("Seedbed", family, p, c, "muon") for p, c in own if p == "auto"),
    ]


def measure(
    who: Sequence[Contender],
    shape: Shape,
    data: Path,
    asked: argparse.Namespace,
) -> tuple[
    dict[Contender, list[Measured]], dict[Contender, list[Measured]], dict[Contender, float]
]:
    """Return what the best settings measured, what the others did, and the memory of the best."""
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

    trials = min(TRIALS, asked.rounds)
    turns = harness.take_turns({c: partial(turn, c, False) for c in who}, trials)
    best = harness.fastest(turns, lambda c: c.kind)
    more = harness.take_turns({c: partial(turn, c, False) for c in best}, asked.rounds - trials)
    watched = harness.take_turns({c: partial(turn, c, True) for c in more}, 1)
    peaks = {c: measured[0]["peak"] for c, measured in watched.items()}
    slower = {c: measured for c, measured in turns.items() if c not in best}
    return {c: turns[c] + more[c] for c in watched}, slower, peaks


def python_of(peer: str, asked: argparse.Namespace) -> Path | None:
    """Return the Python that a peer runs in, or None where there is none."""
    if peer == "nanoGPT":
        return Path(sys.executable) if asked.nanogpt else None
    needs = {"transformers": "accelerate", "LitGPT": "litgpt"}  # Trainer needs accelerate
    return harness.python_with(needs.get(peer, "torch"), asked.litgpt)


def rows(
    turns: dict[Contender, list[Measured]],
    memory: dict[Contender, float],
    flops_per_token: int,
    peaks: dict[str, float],
) -> list[list[str]]:
    """Return the rows of the table, with ratios to the best peer in the same precision."""
    rates = {c: median_of(measured, "rate") for c, measured in turns.items()}
    precisions = {c: measured[0]["precision"] for c, measured in turns.items()}
    peers: dict[str, float] = {}
    for contender, rate in rates.items():
        if contender.peer != "Seedbed":
            peers[precisions[contender]] = max(rate, peers.get(precisions[contender], 0.0))
    return [
        [
            str(c) + (f" ({precisions[c]})" if c.precision == "auto" else ""),
            f"{rate:,.0f}",
            harness.spread_of(turns[c], "rate"),
            ratio(rate, peers.get(precisions[c])),
            ratio(rate, rates.get(AS_IT_COMES)),
            f"{rate * flops_per_token / peaks[precisions[c]]:.0%}",
            f"{memory[c] / 1e6:,.0f}",
        ]
        for c, rate in rates.items()
    ]


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
    long = 0.0 if asked.quick else 1.0
    before = matmul_peaks(asked.device, long)
    turns, slower, memory = measure(who, shape, data, asked)
    after = matmul_peaks(asked.device, long)
    peaks = {precision: max(before[precision], after[precision]) for precision in before}
    vocab_size = open_dataset(data).tokenizer.vocab_size
    full = build(ModelSettings, model_settings(shape, family)).resolve(vocab_size)
    left = [f"{c} {median_of(m, 'rate'):,.0f}" for c, m in slower.items()]
    missing = [p for p in PEERS if p not in present and family in PEERS[p]]
    notes = [
        f"{FAMILIES[family]}. {full.parameters}; {shape.num_layers} layers, {shape.num_heads} "
        f"heads, {shape.d_model} wide, context {shape.context_length}, batch {shape.batch_size}, "
        f"vocabulary {vocab_size:,}.",
        f"Slower in the first {TRIALS} rounds, tokens/s: {'; '.join(left)}." if left else "",
        f"Not measured, as not found here: {', '.join(missing)}." if missing else "",
        "Most GFLOP/s of a matrix product, of several shapes and before and after the rounds: "
        + ", ".join(f"{precision} {peak / 1e9:,.0f}" for precision, peak in peaks.items())
        + ". MFU is the share of it.",
    ]
    body = table(HEADER, rows(turns, memory, full.training_flops_per_token, peaks))
    return f"## {name}, {family}\n\n{body}\n\n" + "\n".join(filter(None, notes))


def prepare_characters(text: str, folder: Path) -> Path:
    """Return a dataset of the characters of a text, prepared in a folder."""
    import seedbed

    source = folder / "text.txt"
    source.write_text(text, encoding="utf-8")
    config = seedbed.PrepareConfig(sources=(str(source),), out=folder / "data", tokenizer="char")
    return seedbed.prepare(config).folder


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--shape", action="append", choices=SHAPES)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    asked = parser.parse_args()
    report = Report("throughput", asked)
    shapes = QUICK if asked.quick else {n: SHAPES[n] for n in asked.shape or SHAPES}
    text = harness.characters(asked.quick)
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
        f"Median of {asked.rounds} rounds, taking turns, each in a process "
        f"of its own; in each the median of {TIMED} stretches of steps, the first {WARM} left out. "
        "AdamW unless said, fused but in nanoGPT as it comes (fp32, eager, not fused); the same "
        "vocabulary, batch and precision for all. The best peer: in its best setting or as it "
        "comes, whichever is faster. Memory: the whole process with its children, compilers left "
        "out, in a round that is not timed.",
    )


if __name__ == "__main__":
    harness.run(main, trainers.train)
