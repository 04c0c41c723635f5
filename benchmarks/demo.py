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

from seedbed import load_checkpoint
from seedbed.machine import this_machine

RUN_WORDS = 20
PROMPTS = ("Once upon a time", "One day", "There was once", "Every day")


def seedbed(*arguments: str) -> str:
    """Return what a command prints to stdout; its progress goes to stderr."""
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", default="3")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        start = time.perf_counter()
        print(seedbed("demo", "--out", str(out), "--minutes", minutes))
        seconds = time.perf_counter() - start
        prompts = Path(folder) / "prompts.txt"
        prompts.write_text("\n".join(PROMPTS))
        options = ["--prompts", str(prompts), "--samples", "5", "--seed", "7", "--json"]
        texts = json.loads(seedbed("eval", str(out / "run"), *options))["texts"]
        stories = [made["prompt"] + made["text"] for made in texts]
        copied = sum(made["longest_copy"] >= RUN_WORDS for made in texts)
        report = json.loads(seedbed("eval", str(out / "run"), "--json"))
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
