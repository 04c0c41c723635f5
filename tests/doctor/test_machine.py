"""Which problems of a machine are told, and which are not."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedbed.doctor.machine import EXTRAS, MachineReport, find_problems
from seedbed.machine import available_memory, container_cores, peak_memory

GOOD = MachineReport(
    processor="a processor",
    cores=4,
    container_cores=None,
    fast_bf16=True,
    memory=int(16e9),
    memory_available=int(12e9),
    disk_free=int(100e9),
    disk=int(500e9),
    gpus=[],
    device="cpu",
    precision="bf16",
    can_compile=True,
    python="3.11",
    torch="2.13",
    threads=4,
    matmul_flops={},
    tokens_per_second={},
    extras={},
    problems=[],
)


def test_a_good_machine_has_no_problem() -> None:
    assert find_problems(GOOD, {}) == []


@pytest.mark.parametrize(
    ("changes", "environment", "words"),
    [
        ({"can_compile": False}, {}, "torch.compile"),
        ({"memory_available": int(1e9)}, {}, "1.0 GB of memory"),
        ({"disk_free": int(9e9)}, {}, "9.0 GB of this disk"),
        ({"threads": 1}, {"OMP_NUM_THREADS": "1"}, "1 threads of 4 cores (OMP_NUM_THREADS is set"),
        ({"threads": 8}, {}, "8 threads on 4 cores"),
        ({"container_cores": 1.5}, {}, "1.5 cores at a time"),
        ({"fast_bf16": False}, {}, "bfloat16"),
        ({}, {"PYTHONDONTWRITEBYTECODE": "1"}, "PYTHONDONTWRITEBYTECODE"),
    ],
)
def test_each_problem_is_told_with_a_remedy(
    changes: dict[str, Any], environment: dict[str, str], words: str
) -> None:
    (problem,) = find_problems(replace(GOOD, **changes), environment)
    assert words in problem.what
    assert problem.remedy


def test_the_extras_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys() - {"dev", "parity"}  # those are for the tests


def test_the_quota_of_a_container_is_read(tmp_path: Path) -> None:
    assert container_cores(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert container_cores(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert container_cores(tmp_path) is None
    old = tmp_path / "old"
    (old / "cpu").mkdir(parents=True)
    (old / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (old / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert container_cores(old) is None
    (old / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert container_cores(old) == 0.5


def test_free_memory_is_what_a_container_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_memory(tmp_path) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) > 1_000_000


def test_the_peak_of_memory_stays() -> None:
    before = peak_memory()
    block = bytearray(b"x" * 80_000_000)
    held = peak_memory()
    del block
    assert held > before or before > 80_000_000
    assert peak_memory() >= held
