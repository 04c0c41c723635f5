"""How long training takes, for each size, on this machine; the tables of docs/times.md.

Trains each size for a few steps with `seedbed train`, everything else left as it is chosen, and
takes the median rate of the steps after the first two. Adds the figures of this device to
benchmarks/results/times.json and writes the tables anew from all that is there. With `--quick` or
`--results` the page is left alone.

    python benchmarks/times.py [--sizes 1m,3m,10m,30m,100m] [--steps 8] [--name "CPU, 2 cores"]
    python benchmarks/times.py --tables-only
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import torch
from harness import RESULTS, ROOT, table
from meters import wait_until_quiet

from seedbed import load_checkpoint
from seedbed.config import read_yaml
from seedbed.files import read_json_lines
from seedbed.machine import this_machine

PAGE = ROOT / "docs" / "times.md"
BEGIN, END = "<!-- written by benchmarks/times.py: -->", "<!-- up to here -->"
SIZES = ("1m", "3m", "10m", "30m", "100m")
DEVICES = ("T4", "V100", "RTX 3080", "RTX 4090", "A100", "H100", "Apple M")  # columns to be filled
WARM_UP = 2  # steps

Figures = dict[str, Any]  # of one size
Device = dict[str, Any]  # machine, versions, command; sizes -> Figures


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.set_defaults(device="auto")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--name", default=device_name())
    parser.add_argument("--tables-only", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.sizes, asked.steps = SIZES[0], WARM_UP + 2
    file = asked.results / ("times-quick.json" if asked.quick else "times.json")
    results: dict[str, Device] = json.loads(file.read_text()) if file.is_file() else {}
    if not asked.tables_only:
        if not asked.quick and (disturbed := wait_until_quiet()):
            harness.tell(disturbed)
        measure_all(asked, results.setdefault(asked.name, {"sizes": {}}))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=2) + "\n")
    print(tables(results))
    if file == RESULTS / "times.json":
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}", encoding="utf-8")


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name().removeprefix("NVIDIA ")
    return f"CPU, {this_machine().cores} cores"


def surroundings(steps: int) -> Device:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "machine": f"{this_machine().name}, {this_machine().cores} cores",
        "versions": f"Python {sys.version.split()[0]}, torch {torch.__version__}",
        "load_before": round(load, 1),
        "steps": steps,
    }


def measure_all(asked: argparse.Namespace, device: Device) -> None:
    """Measure each size that is asked for, and note it with what it was measured on."""
    device.update(surroundings(asked.steps))
    stories = "sample:stories:200" if asked.quick else "sample:stories:3000"
    words = ["prepare", stories, "--val-fraction", "0.02", "--out", "data"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness.seconds_of(["-m", "seedbed", *words], folder=folder)
        for size in asked.sizes.split(","):
            device["sizes"][size] = measure(size, folder, asked)
            harness.tell(f"{size} {device['sizes'][size]}")


def measure(size: str, folder: Path, asked: argparse.Namespace) -> Figures:
    """Return rate and memory of a few steps of training a model of `size`."""
    run, steps = folder / size, asked.steps
    words = ["--data", str(folder / "data"), "--out", str(run), "--size", size]
    words += ["--steps", str(steps), f"device={asked.device}"]
    quiet = [
        "log_every=1",
        "samples.tokens=0",
        "evaluation.tokens=1024",
        f"evaluation.every={steps}",
    ]
    command = [sys.executable, "-m", "seedbed", "train", *words, *quiet]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    records = read_json_lines(run / "metrics.jsonl")
    rates = [r["tokens_per_second"] for r in records[WARM_UP:-1]]  # the last one evaluates, too
    config = read_yaml(run / "config.yaml")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return {
        "parameters": load_checkpoint(run).model.config.parameters.total,
        "tokens_per_second": round(statistics.median(rates), 1),
        "peak_memory_mb": round(usage.ru_maxrss * kilobyte / 1e6),
        "tokens_per_step": records[0]["tokens"],
        "precision": config["precision"],
        "compiled": config["compile"] == "on",
    }


def tables(results: dict[str, Device]) -> str:
    """Return the overview, with blanks, and a table of each device that was measured."""
    columns = [*results, *(name for name in DEVICES if name not in results)]
    rows = [
        [size, *(_duration(results.get(name, {}).get("sizes", {}).get(size)) for name in columns)]
        for size in SIZES
    ]
    parts = ["Time to train on one million tokens:", table(["size", *columns], rows)]
    for name, device in results.items():
        rows = [_row(size, device["sizes"][size]) for size in SIZES if size in device["sizes"]]
        head = ["size", "parameters", "tokens/s", "tokens a step", "peak memory", "computed in"]
        parts += [
            f"**{name}**: {device['machine']}; {device['versions']}; load average before "
            f"{device['load_before']}; {device['steps']} steps of each size.",
            table(head, rows),
        ]
    return "\n\n".join(parts)


def _duration(figures: Figures | None) -> str:
    if figures is None:
        return ""
    seconds = 1e6 / figures["tokens_per_second"]
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _row(size: str, figures: Figures) -> list[str]:
    return [
        size,
        f"{figures['parameters']:,}",
        f"{figures['tokens_per_second']:,.0f}",
        f"{figures['tokens_per_step']:,}",
        f"{figures['peak_memory_mb']:,} MB",
        figures["precision"] + (", compiled" if figures["compiled"] else ""),
    ]


if __name__ == "__main__":
    harness.run(main, dict)
