from __future__ import annotations

import pytest
import torch

from seedbed.machine import Machine, keep_freed_memory, measure_matmul_flops, this_machine


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


def test_freed_memory_can_be_kept() -> None:
    keep_freed_memory()
    assert torch.zeros(1 << 20).sum() == 0
