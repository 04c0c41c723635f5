"""Everything that is measured on a GPU, in one go: run this where there is one.

1. training 124M at context 1,024 in bf16 beside nanoGPT, tokens/s and MFU, which is the share of
   the card's own ceiling: the best of several large matrix products;
2. 10.7M on tinyshakespeare to nanoGPT's loss (about 1.47), as whole processes;
3. one run on the processor and on the GPU: is it the same curve?
4. generation, one sequence and 32 at once.

    python benchmarks/gpu.py --nanogpt PATH [--part throughput --part curve]
    python benchmarks/gpu.py --device cpu --quick      does it run at all?
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import generation
import harness
import throughput
import time_to_loss
from harness import Report, table
from time_to_loss import Task
from trainers import Shape

VOCABULARY = 50_304  # of nanoGPT: GPT-2's, padded
GPT2_SMALL = Shape(12, 12, 768, 1024, batch_size=16, chunk=10)
SMALLER = Shape(2, 2, 32, 32, batch_size=4, chunk=2)
# nanoGPT's config/train_shakespeare_char.py, which keeps its best checkpoint
BABY = Task("tinyshakespeare", 6, 6, 384, 256, 64, 5000, dropout=0.2, evaluate_every=250)


def many_characters(count: int, length: int) -> str:
    """Return a text of so many different characters, in random order: a vocabulary for a shape.

    What is trained on does not change how long a step takes; the size of the vocabulary does.
    """
    code_points = [*range(0x4E00, 0x9FA6), *range(0x20000, 0x2A6D7)][:count]
    source = random.Random(0)
    drawn = code_points + source.choices(code_points, k=length - count)
    paragraphs = [drawn[i : i + 500] for i in range(0, length, 500)]
    return "\n\n".join("".join(map(chr, paragraph)) for paragraph in paragraphs)


def throughput_part(asked: argparse.Namespace) -> str:
    """Return the tables of training throughput, one for each family."""
    from seedbed.tokenizers.simple import CharTokenizer

    own = CharTokenizer("\n").vocab_size  # what a character tokenizer has besides
    wanted, length = (300, 40_000) if asked.quick else (VOCABULARY, 2_000_000)
    shape = SMALLER if asked.quick else GPT2_SMALL
    with tempfile.TemporaryDirectory() as folder:
        text = many_characters(wanted - own, length)
        data = throughput.prepare_characters(text, Path(folder))
        families = ["gpt2"] if asked.quick else list(throughput.FAMILIES)
        return "\n\n".join(
            throughput.section("124M", shape, family, data, asked) for family in families
        )


def time_part(asked: argparse.Namespace) -> str:
    """Return the table of the time to nanoGPT's loss; without it, loss and time must be given."""
    if asked.nanogpt is None and None in (asked.target, asked.seconds):
        told = "Not measured: no --nanogpt, and not both --target and --seconds."
        return f"## 10.7M to nanoGPT's loss\n\n{told}"
    task = next(iter(time_to_loss.QUICK.values())) if asked.quick else BABY
    return time_to_loss.section("10.7M to nanoGPT's loss", task, asked)


def curve_part(asked: argparse.Namespace) -> str:
    """Return a table of how far apart the losses of runs are that differ in device, or in seed."""
    steps = 4 if asked.quick else 100
    with tempfile.TemporaryDirectory() as folder:
        data = throughput.prepare_characters(harness.characters(asked.quick), Path(folder))
        here = losses(data, asked.device, steps, seed=1)
        processor = losses(data, "cpu", steps, seed=1)
        other = losses(data, asked.device, steps, seed=2)
    rows = [
        ["the processor", *apart(here, processor), f"{processor[-1]:.5f}"],
        ["another seed", *apart(here, other), f"{other[-1]:.5f}"],
    ]
    header = [f"{asked.device} beside", "median difference", "largest difference", "last loss"]
    told = f"{steps} steps in fp32, the loss of each; {asked.device} ends at {here[-1]:.5f}."
    return f"## The same run on two devices\n\n{table(header, rows)}\n\n{told}"


def losses(data: Path, device: str, steps: int, *, seed: int) -> list[float]:
    """Return the training loss of each step of a small run in fp32."""
    words = ["-m", "seedbed", "train", "--data", str(data), "--out", "run", "--seed", str(seed)]
    words += ["--steps", str(steps), "--precision", "fp32", "--compile", "off", f"device={device}"]
    words += ["model.d_model=64", "model.num_layers=2", "model.context_length=64"]
    words += ["log_every=1", f"evaluation.every={steps}", f"checkpoint.every={steps}"]
    with tempfile.TemporaryDirectory() as folder:
        harness.seconds_of(words, folder=Path(folder))
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train_loss"] for line in lines]


def apart(one: list[float], other: list[float]) -> list[str]:
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return [f"{statistics.median(differences):.1e}", f"{max(differences):.1e}"]


def generation_part(asked: argparse.Namespace) -> str:
    """Return the tables of generation."""
    sizes = generation.QUICK if asked.quick else generation.SIZES
    return "\n\n".join(generation.section(name, size, asked) for name, size in sizes.items())


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "throughput": throughput_part,
    "time": time_part,
    "curve": curve_part,
    "generation": generation_part,
}


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.set_defaults(device="cuda", brief=False, only=None)  # time_to_loss's and generation's
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--target", type=float, help="the loss to reach, instead of nanoGPT's")
    parser.add_argument("--seconds", type=float, help="what to compare with, without nanoGPT")
    asked = parser.parse_args()
    if asked.device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            parser.error("There is no GPU here. `--device cpu --quick` tries the script itself.")
    report = Report("gpu", asked)
    told = f"Median of {asked.rounds} rounds, taking turns, each in a process of its own."
    sections: list[str] = []
    for part in asked.part or PARTS:  # written after each, so that a failure loses no other
        sections.append(PARTS[part](asked))
        report.write("On a GPU", *sections, told)


if __name__ == "__main__":
    harness.run(main, dict)
