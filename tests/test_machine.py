from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from seedbed.machine import Machine, measure_matmul_flops, this_machine, wait_for


def test_facts_of_this_machine_are_read_once() -> None:
    machine = this_machine()
    assert machine is this_machine()
    assert machine.cores >= 1
    assert machine.memory > 1 << 28
    assert machine.name


@pytest.mark.parametrize(
    ("flags", "fast"),
    [((), False), (("avx512f",), False), (("avx512_bf16",), True), (("amx_bf16",), True)],
)
def test_bf16_is_fast_where_there_are_instructions(flags: tuple[str, ...], fast: bool) -> None:
    assert Machine("", 2, 0, frozenset(flags)).fast_bf16 == fast


def test_the_nominal_rate_grows_with_cores() -> None:
    one, four = (Machine("", cores, 0, frozenset()) for cores in (1, 4))
    assert four.nominal_flops == 4 * one.nominal_flops


def test_a_product_is_measured_in_flops() -> None:
    rate = measure_matmul_flops(torch.device("cpu"), torch.float32, size=128)
    assert 1e7 < rate < 1e15


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_gpu_is_waited_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: waited.append("cuda"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    wait_for(torch.device("cpu"))
    wait_for(torch.device(kind))
    assert waited == [kind]


HELD_AND_FREED = """
import ctypes, psutil
from seedbed.machine import keep_freed_memory

{call}
held = ctypes.create_string_buffer(200_000_000)
ctypes.memset(held, 1, len(held))
del held
print(psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept() -> None:
    before, kept = (
        int(subprocess.check_output([sys.executable, "-c", HELD_AND_FREED.format(call=call)]))
        for call in ("", "keep_freed_memory()")
    )
    assert before < 150e6
    assert kept > 200e6
