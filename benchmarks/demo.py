"""What `seedbed demo` takes, and how much its stories copy.

Runs the demo in an empty folder, writes 20 stories with the model, and looks for runs of 20 words
that stand in the training text. Prints a table and writes benchmarks/results/demo-cpu.md.

    python benchmarks/demo.py [--minutes 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from seedbed import load_checkpoint, open_dataset
from seedbed.machine import this_machine

RUN_WORDS = 20
PROMPTS = ("Once upon a time", "One day", "There was once", "Every day")


def seedbed(*arguments: str) -> str:
    """Return what a command prints to stdout; its progress goes to stderr."""
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def runs_of_words(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + RUN_WORDS]) for i in range(len(words) - RUN_WORDS + 1)}


def copies(stories: list[str], data: Path) -> int:
    """Return how many stories share a run of words with the training split."""
    dataset = open_dataset(data)
    wanted = [runs_of_words(story) for story in stories]
    everything = set().union(*wanted)
    found: set[tuple[str, ...]] = set()
    for ids in dataset.train.documents():
        found |= runs_of_words(dataset.tokenizer.decode(ids.tolist())) & everything
    return sum(1 for runs in wanted if runs & found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", default="3")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        start = time.perf_counter()
        print(seedbed("demo", "--out", str(out), "--minutes", minutes))
        seconds = time.perf_counter() - start
        prompts = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
        generated = seedbed(
            "generate", str(out / "run"), *prompts, "--samples", "5", "--seed", "7", "--json"
        )
        stories = [made["prompt"] + made["text"] for made in json.loads(generated)]
        report = json.loads(seedbed("eval", str(out / "run"), "--json"))
        copied = copies(stories, out / "data")
        parameters = load_checkpoint(out / "run").model.config.parameters
    machine = this_machine()
    lines = [
        "# The demo",
        "",
        f"{machine.name}, {machine.cores} cores; torch {torch.__version__}; "
        f"`python benchmarks/demo.py --minutes {minutes}`",
        "",
        "| | |",
        "|---|---|",
        f"| whole command | {seconds:.0f} s |",
        f"| model | {parameters} |",
        f"| validation | {report['bits_per_byte']:.3f} bits per byte "
        f"(byte n-grams {report['baseline_bits_per_byte']:.3f}) |",
        f"| stories that share a run of {RUN_WORDS} words with the training text | "
        f"{copied} of {len(stories)} |",
        "",
        "Three of the stories, unedited:",
        "",
        *(line for story in stories[::7] for line in ("> " + story.replace("\n", "\n> "), "")),
    ]
    print("\n".join(lines))
    result = Path(__file__).parent / "results" / "demo-cpu.md"
    result.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
