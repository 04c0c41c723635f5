"""What is read off the machine: memory in use, its load, and how fast it multiplies matrices.

The top of this file imports the standard library only, as that of `harness.py`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

QUIET = 0.3  # load average for each core, at most, before anything is timed
PATIENCE = 180  # seconds to wait for it


def wait_until_quiet() -> str:
    """Wait until hardly anything else runs; return a line that says so where that did not come."""
    cores = os.cpu_count() or 1
    end = time.monotonic() + PATIENCE
    told = False
    while hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > QUIET * cores:
        if time.monotonic() > end:
            return (
                f"**Other work ran on this machine: its load average was {load:.1f}, on {cores} "
                f"cores, after {PATIENCE} seconds of waiting.**"
            )
        if not told:
            text = f"the load average is {load:.1f}: waiting, for {PATIENCE} seconds at most"
            print(text, file=sys.stderr, flush=True)
            told = True
        time.sleep(5)
    return ""


def load_average() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"


class MemoryWatch(threading.Thread):
    """Adds up the memory of a process and its children every so many seconds; keeps the peak.

    Pages that processes share count once, divided among them, where Linux tells (PSS). Compilers
    are left out. Reading this disturbs a little, so rounds with it are not timed.
    """

    def __init__(self, pid: int, *, every: float = 0.25) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._every = every
        self.start()

    def run(self) -> None:
        import psutil

        with suppress(psutil.Error):
            root = psutil.Process(self._pid)
            while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
                self.peak = max(self.peak, memory_of(self._pid))
                time.sleep(self._every)


def memory_of(pid: int) -> int:
    """Return the bytes of memory of a process and its children, shared pages counted once."""
    import psutil

    root = psutil.Process(pid)
    return sum(map(_memory_of, [root, *root.children(recursive=True)]))


def _memory_of(process: Any) -> int:
    import psutil

    with suppress(psutil.Error):
        words = " ".join(process.cmdline())
        if "python" in words and "compile_worker" not in words:
            full = process.memory_full_info()
            return getattr(full, "pss", full.rss)
    return 0


def matmul_peaks(device: str, seconds: float = 1.0) -> dict[str, float]:
    """Return the most FLOP/s of a matrix product here, by precision: what MFU is a share of.

    Products of several shapes are repeated for so many seconds each; the quickest of all counts.
    """
    import torch

    sizes = [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 384, 1536), (4096, 1536, 384)]
    if device.startswith("cuda"):
        sizes = [(8192, 8192, 8192), (4096, 4096, 4096), (16384, 768, 3072), (16384, 3072, 768)]
    return {
        precision: max(_matmul_flops(device, dtype, *size, seconds) for size in sizes)
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }


def _matmul_flops(device: str, dtype: Any, m: int, k: int, n: int, seconds: float) -> float:
    """Return the FLOP/s of the quickest of the products that fit in so many seconds."""
    import torch

    a = torch.randn(m, k, device=device, dtype=dtype)
    b = torch.randn(k, n, device=device, dtype=dtype)
    _ = a @ b
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        wait_for(device)
        start = time.perf_counter()
        _ = a @ b
        wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * m * k * n / best


def wait_for(device: str) -> None:
    """Wait until the device has done what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def gpu_peak(device: str) -> dict[str, Any]:
    """Return the "peak" of a GPU's memory in this process, which counts there."""
    import torch

    return {"peak": torch.cuda.max_memory_allocated()} if device.startswith("cuda") else {}
