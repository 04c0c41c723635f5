"""What this machine can do for training, and what stands in its way."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from seedbed.distributed import best_device
from seedbed.machine import (
    available_memory,
    can_compile,
    container_cores,
    measure_matmul_flops,
    this_machine,
)
from seedbed.model.config import ModelSettings
from seedbed.training.precision import choose_precision

Environment = Mapping[str, str]

SIZES = ("1m", "10m", "100m")
_VOCAB_SIZE = 4096  # that `prepare` gives unless said
# What real training reaches of a large product's rate: on the processors that were measured 10 to
# 40 %, more for larger models (benchmarks/results).
_REACHED = 0.25

# Extra -> modules that it brings, and what they give.
EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "data": (
        ("aiohttp", "datasets", "datasketch", "py3langid", "pyarrow"),
        "parquet files, addresses, hf: datasets, near duplicates, language filters",
    ),
    "eval": (("sacrebleu",), "BLEU and chrF"),
    "track": (("tensorboard", "wandb"), "TensorBoard, Weights & Biases"),
    "cluster": (("submitit",), "comparisons on SLURM"),
    "ray": (("ray",), "comparisons on Ray"),
}


@dataclass(frozen=True)
class Problem:
    """Something about this machine that makes training slower or impossible, and the remedy."""

    what: str
    remedy: str


@dataclass(frozen=True)
class MachineReport:
    """What this machine can do. Bytes, FLOP/s; the names are those of the JSON."""

    processor: str
    cores: int
    container_cores: float | None  # where a container allows less than its cores
    fast_bf16: bool
    memory: int
    memory_available: int
    disk_free: int  # of the current folder
    disk: int
    gpus: list[str]
    device: str  # that `auto` takes
    precision: str  # that `auto` takes
    can_compile: bool
    python: str
    torch: str
    threads: int
    matmul_flops: dict[str, float]
    tokens_per_second: dict[str, float]  # of sizes, roughly: see `doctor --data` for a run's own
    extras: dict[str, list[str]]  # modules that are missing
    problems: list[Problem]


def examine_machine(
    folder: Path | None = None, *, note: Callable[[str], object] = lambda _text: None
) -> MachineReport:
    """Return what this machine can do; it takes some seconds, in which products are timed.

    `folder` is where runs would go, for the room on its disk. `note` is told what is measured.
    """
    machine, device = this_machine(), best_device()
    disk = shutil.disk_usage(folder or Path.cwd())
    rates: dict[str, float] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        note(f"measuring {name} products on {device.type}")
        size = 256 if _is_slow(name, device) else 0
        rates[name] = measure_matmul_flops(device, dtype, size=size)
    precision = choose_precision("auto", device)
    rate = rates.get(precision, rates["fp32"]) * _REACHED
    report = MachineReport(
        processor=machine.name,
        cores=machine.cores,
        container_cores=container_cores(),
        fast_bf16=machine.fast_bf16,
        memory=machine.memory,
        memory_available=available_memory(),
        disk_free=disk.free,
        disk=disk.total,
        gpus=_gpus(),
        device=device.type,
        precision=precision,
        can_compile=can_compile(device),
        python=sys.version.split()[0],
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        matmul_flops=rates,
        tokens_per_second={size: rate / _flops_per_token(size) for size in SIZES},
        extras={name: _missing(modules) for name, (modules, _gives) in EXTRAS.items()},
        problems=[],
    )
    return replace(report, problems=find_problems(report, os.environ))


def _is_slow(precision: str, device: torch.device) -> bool:
    """Return whether a large product could take seconds: there are no instructions for it."""
    return precision == "bf16" and device.type == "cpu" and not this_machine().fast_bf16


def _gpus() -> list[str]:
    if torch.backends.mps.is_available():
        return ["Apple GPU (mps), memory shared with the processor"]
    found: list[str] = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        found.append(f"{properties.name}, {properties.total_memory / 1e9:.0f} GB")
    return found


def _flops_per_token(size: str) -> int:
    return ModelSettings(size=size).resolve(_VOCAB_SIZE).training_flops_per_token


def _missing(modules: tuple[str, ...]) -> list[str]:
    return [module for module in modules if find_spec(module) is None]


def find_problems(report: MachineReport, environment: Environment) -> list[Problem]:
    """Return what about a machine and its environment variables is in the way of training."""
    checks = (_compiler, _room, _threads, _quota, _bf16, _variables)
    return [problem for check in checks for problem in check(report, environment)]


def _compiler(report: MachineReport, _environment: Environment) -> list[Problem]:
    if report.can_compile or report.device == "mps":
        return []
    return [
        Problem(
            "torch.compile cannot be used: there is no C++ compiler, or no Python.h",
            "on Debian and Ubuntu: apt install g++ python3-dev; longer runs gain 10 to 25 %",
        )
    ]


def _room(report: MachineReport, _environment: Environment) -> list[Problem]:
    found: list[Problem] = []
    if report.memory_available < 2e9:
        found.append(
            Problem(
                f"only {report.memory_available / 1e9:.1f} GB of memory are free",
                "close other programs; a model of 1m takes about 1 GB to train, one of 30m 2 GB",
            )
        )
    if report.disk_free < 2e9 or report.disk_free < 0.02 * report.disk:
        found.append(
            Problem(
                f"only {report.disk_free / 1e9:.1f} GB of this disk are free",
                "free some space, or keep runs elsewhere with --out; a checkpoint of 100m takes "
                "1.2 GB",
            )
        )
    return found


def _threads(report: MachineReport, environment: Environment) -> list[Problem]:
    if report.device == "cpu" and report.threads < report.cores:
        cause = "OMP_NUM_THREADS is set" if "OMP_NUM_THREADS" in environment else "torch was told"
        return [
            Problem(
                f"torch uses {report.threads} threads of {report.cores} cores ({cause} so)",
                f"unset OMP_NUM_THREADS, or set it to {report.cores}, unless other runs use the "
                "other cores",
            )
        ]
    if report.threads > report.cores:
        return [
            Problem(
                f"torch uses {report.threads} threads on {report.cores} cores",
                f"set OMP_NUM_THREADS={report.cores}: threads that take turns wait for each other",
            )
        ]
    return []


def _quota(report: MachineReport, _environment: Environment) -> list[Problem]:
    allowed = report.container_cores
    if allowed is None or allowed >= report.threads:
        return []
    return [
        Problem(
            f"the container may use {allowed:g} cores at a time, and torch uses {report.threads} "
            "threads",
            f"set OMP_NUM_THREADS={max(1, int(allowed))}, or raise the container's limit (--cpus)",
        )
    ]


def _bf16(report: MachineReport, _environment: Environment) -> list[Problem]:
    if report.device != "cpu" or report.fast_bf16:
        return []
    return [
        Problem(
            "this processor has no instructions for bfloat16",
            "nothing to do: precision auto takes fp32; --precision bf16 would be far slower",
        )
    ]


def _variables(report: MachineReport, environment: Environment) -> list[Problem]:
    del report
    if not environment.get("PYTHONDONTWRITEBYTECODE"):
        return []
    return [
        Problem(
            "PYTHONDONTWRITEBYTECODE is set: what Python has not compiled yet, it compiles anew at "
            "every start",
            "unset it: where nothing was compiled, commands then start about twice as fast",
        )
    ]
