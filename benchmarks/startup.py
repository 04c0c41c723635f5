"""What commands take before their work begins: help, a first token, a first step.

Each is a whole process, beside `import torch` alone, which is the floor of those that compute; they
take turns. The training has next to nothing to evaluate, and the time of its step is taken off.

    python benchmarks/startup.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import harness
from harness import Measured, Report, median_of, spread_of, table

FLOOR = "`import torch`"
COMMANDS = {
    "`seedbed --help`": ["--help"],
    "`seedbed train --help`": ["train", "--help"],
    "`seedbed generate`, one token": ["generate", "run", "--prompt", "A", "--max-new-tokens", "1"],
}


def contenders(folder: Path) -> dict[str, Callable[[], Measured]]:
    """Return what takes turns, by name; the folder holds a dataset and a run."""
    numbers = count()

    def train() -> Measured:
        out = f"run-{next(numbers)}"
        measured = harness.seconds_of(["-m", "seedbed", *train_words(out)], folder=folder)
        return measured | {"step": step_of(folder / out)}

    commands: dict[str, Callable[[], Measured]] = {
        name: partial(harness.seconds_of, ["-m", "seedbed", *words], folder=folder)
        for name, words in COMMANDS.items()
    }
    floor = partial(harness.seconds_of, ["-c", "import torch"])
    return {FLOOR: floor, **commands, "`seedbed train`, one step": train}


def train_words(out: str) -> list[str]:
    words = ["train", "--data", "data", "--out", out, "--size", "0.8m", "--compile", "off"]
    return [*words, "--steps", "1", "evaluation.tokens=64", "samples.tokens=0"]


def step_of(run: Path) -> float:
    """Return the seconds that a run's one step took."""
    from seedbed.runs import RunDir

    return RunDir(run).read_status()["seconds"]


def rows(turns: dict[str, list[Measured]]) -> list[list[str]]:
    floor = median_of(turns[FLOOR], "seconds")
    found: list[list[str]] = []
    for name, measured in turns.items():
        seconds = median_of(measured, "seconds")
        step = median_of(measured, "step") if "step" in measured[0] else 0.0
        own = f"{seconds - floor - step:+.2f}" if seconds > floor and name != FLOOR else "-"
        told = f"{step:.2f}" if step else "-"
        found.append([name, f"{seconds:.3f}", spread_of(measured, "seconds"), told, own])
    return found


def main() -> None:
    asked = harness.arguments(__doc__).parse_args()
    report = Report("startup", asked)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text.txt").write_text(harness.made_up_stories(60), encoding="utf-8")
        prepare = ["prepare", "text.txt", "--tokenizer", "byte", "--out", "data"]
        harness.seconds_of(["-m", "seedbed", *prepare], folder=folder)
        harness.seconds_of(["-m", "seedbed", *train_words("run")], folder=folder)
        turns = harness.take_turns(contenders(folder), asked.rounds)
    header = ("", "seconds", "smallest to largest", "its step", "beyond both")
    report.write(
        "Start-up",
        table(header, rows(turns)),
        f"Median of {asked.rounds} rounds, taking turns, each a whole process. The step is that of "
        "a 0.8M model, as the run tells it; hardly anything is evaluated. Beyond both: what is "
        f"neither the step nor {FLOOR}.",
    )


if __name__ == "__main__":
    harness.run(main, dict)
