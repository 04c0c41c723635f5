"""The rules that fill what a user leaves open. Pure functions: the same command chooses alike.

They were tuned on small text and small machines; docs/experiments.md says how.
"""

from __future__ import annotations

import math
import shutil
import sysconfig
from pathlib import Path

import torch

from seedbed.machine import Machine
from seedbed.training.config import OptimizerSettings

TOKENS_PER_STEP = 2048  # in short runs
TOKENS_PER_PARAMETER = 1.8  # of runs of minutes, with Muon: docs/experiments.md
MIN_STEPS = 1000  # a batch is no larger than leaves this many steps
COMPILE_SECONDS = 200.0  # a shorter run ends before compiling has paid


def size_for(flops: float, train_tokens: int, max_epochs: float, vocab_size: int) -> int:
    """Return how many parameters make good use of `flops` of training on a text of a size.

    Compute-optimal runs see a fixed number of tokens for each parameter (Hoffmann et al., 2022).
    A small text, repeated `max_epochs` times, is that many tokens at most: a larger model would
    learn it by heart.
    """
    optimal = math.sqrt(flops / (6 * TOKENS_PER_PARAMETER))
    learnable = max_epochs * train_tokens / TOKENS_PER_PARAMETER
    return int(min(max(min(optimal, learnable), 300_000, 64 * vocab_size), 300e6))


def batch_tokens_for(horizon_tokens: float, parameters: int) -> int:
    """Return how many tokens a step takes: a power of two, small in short runs.

    The ceiling grows with the model as in OLMo-core's ladder: 2048 x 160 (N / 108M)^(2/3).
    """
    ceiling = 2048 * 160 * (parameters / 108e6) ** (2 / 3)
    wanted = min(max(horizon_tokens / MIN_STEPS, TOKENS_PER_STEP), ceiling)
    return 2 ** round(math.log2(max(wanted, 1024)))


def optimizer_for(settings: OptimizerSettings, parameters: int) -> OptimizerSettings:
    """Return the settings with every rate and beta filled.

    AdamW alone: 0.0047 (N / 108M)^(-1/3) (OLMo-core's ladder), at most 0.006.
    """
    muon = settings.kind == "muon"
    ladder = min(0.006, 0.0047 * (parameters / 108e6) ** (-1 / 3))
    chosen = {
        "learning_rate": 0.012 if muon else ladder,
        "matrix_learning_rate": 0.04 if muon else None,
        "beta1": 0.9,
        "beta2": 0.99 if muon else 0.95,
    }
    missing = {k: v for k, v in chosen.items() if getattr(settings, k) is None}
    return settings.model_copy(update=missing)


def warmup_for(kind: str, steps: int) -> int:
    """Return the steps of warm-up: few for Muon, whose steps have a fixed size from the first."""
    return min(40, steps // 50) if kind == "muon" else min(2000, max(1, steps // 20))


def micro_batch_for(rows: int, context_length: int, vocab_size: int, device: torch.device) -> int:
    """Return how many of `rows` sequences to compute at a time: a divisor of `rows`.

    On a processor as many as keep the logits near a hundred megabytes; a GPU takes 16 times that.
    """
    budget = 100e6 * (16 if device.type == "cuda" else 1)
    most = max(1, int(budget / (4 * context_length * vocab_size)))
    return max(n for n in range(1, rows + 1) if rows % n == 0 and n <= most)


def compile_pays(asked: str, seconds: float, device: torch.device) -> bool:
    """Return whether to compile: as asked, or where the run is long enough and a compiler there."""
    if asked != "auto":
        return asked == "on"
    return seconds >= COMPILE_SECONDS and can_compile(device)


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile has what it needs: on a processor, a compiler and Python.h."""
    if device.type == "cpu":
        has_headers = (Path(sysconfig.get_path("include")) / "Python.h").is_file()
        return has_headers and any(map(shutil.which, ("c++", "g++", "clang++")))
    return device.type == "cuda"


def nominal_flops(machine: Machine, device: torch.device) -> float:
    """Return a rough training rate of a device, FLOP/s, without measuring: for choices only."""
    return {"cpu": machine.nominal_flops, "mps": 2e12}.get(device.type, 200e12)
