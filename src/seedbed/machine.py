"""What this machine can do. Facts about it are read once; choices made from them are pure."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import sysconfig
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """The processor that this process may use."""

    name: str
    cores: int
    memory: int  # bytes
    flags: frozenset[str]  # of the instruction set, as Linux names them; empty where unknown

    @property
    def fast_bf16(self) -> bool:
        """Whether bfloat16 products have instructions of their own.

        Without them they can be hundreds of times slower than float32.
        """
        return bool(self.flags & {"avx512_bf16", "amx_bf16"})

    @property
    def nominal_flops(self) -> float:
        """A rough training rate, FLOP/s, from flags and cores alone: for choices made beforehand.

        Two runs of one command must choose alike, so nothing is measured here.
        """
        per_core = 90e9 if self.fast_bf16 else 30e9 if "avx512f" in self.flags else 20e9
        return per_core * self.cores


@cache
def this_machine() -> Machine:
    """Return the facts about this machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    name, flags = _read_cpuinfo()
    return Machine(name, cores, psutil.virtual_memory().total, flags)


def _read_cpuinfo() -> tuple[str, frozenset[str]]:
    """Return the processor's name and flags where /proc tells them."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = frozenset(value.split())
    return name, flags


def peak_memory() -> int:
    """Return the bytes that this process has had in memory at most.

    Where the system does not tell a peak: what it has now.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        peaks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if peaks:
            return int(peaks[0].split()[1]) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))  # Windows has the first


def container_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores a container's quota allows, or None where there is no quota.

    More threads than that are stopped for a part of each tenth of a second.
    """
    v2, v1 = root / "cpu.max", root / "cpu" / "cpu.cfs_quota_us"
    with contextlib.suppress(OSError, ValueError):
        if v2.is_file():
            quota, period = v2.read_text().split()
        else:
            quota, period = v1.read_text(), v1.with_name("cpu.cfs_period_us").read_text()
        if quota.strip() != "max" and int(quota) > 0:
            return int(quota) / int(period)
    return None


def available_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that a new process can have: what is free, within a container's limit."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int((root / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, max(0, limit - used))
    return free


def memory_within_reach(device: torch.device) -> int:
    """Return the bytes that this process has on a device, or can have besides."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return psutil.Process().memory_info().rss + available_memory()


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile has what it needs: on a processor, a compiler and Python.h."""
    if device.type == "cpu":
        has_headers = (Path(sysconfig.get_path("include")) / "Python.h").is_file()
        return has_headers and any(map(shutil.which, ("c++", "g++", "clang++")))
    return device.type == "cuda"


def keep_freed_memory() -> None:
    """Let this process keep large freed buffers instead of giving them back to the kernel.

    A training step frees and asks for the same hundreds of megabytes; each time the kernel would
    clear the pages anew, 10 to 20 % of a step on a processor. Where the C library is glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h


def measure_matmul_flops(device: torch.device, dtype: torch.dtype, *, size: int = 0) -> float:
    """Return the FLOP/s of a square matrix product on random data: the ceiling that MFU is against.

    Takes the best of five after a warm-up; `size` defaults to one that suits the device.
    """
    import torch

    slow = device.type == "cpu" and dtype == torch.float16  # no instructions of its own
    n = size or (8192 if device.type == "cuda" else 256 if slow else 1024)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    seconds: list[float] = []
    for _ in range(6):
        wait_for(device)
        start = time.perf_counter()
        _ = a @ b
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds[1:])


def wait_for(device: torch.device) -> None:
    """Return when a device has done what it was asked to: GPUs work on behind the program."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
