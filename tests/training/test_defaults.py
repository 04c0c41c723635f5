from __future__ import annotations

import itertools

import pytest
import torch

from seedbed.machine import Machine
from seedbed.training import defaults
from seedbed.training.config import OptimizerSettings

CPU = torch.device("cpu")


def machine(*flags: str, cores: int = 2) -> Machine:
    return Machine("a processor", cores, 8 << 30, frozenset(flags))


def test_a_longer_run_takes_a_larger_model() -> None:
    sizes = [defaults.size_for(flops, 10**12, 8, 4096) for flops in (1e13, 1e14, 1e15, 1e16)]
    assert all(a < b for a, b in itertools.pairwise(sizes))


def test_a_model_is_no_smaller_than_its_vocabulary_needs_nor_larger_than_planned_for() -> None:
    assert defaults.size_for(1e9, 10**9, 8, 4096) == 300_000
    assert defaults.size_for(1e9, 10**9, 8, 50_000) == 64 * 50_000
    assert defaults.size_for(1e30, 10**12, 8, 4096) == 300_000_000


def test_a_small_text_takes_a_smaller_model() -> None:
    sizes = [defaults.size_for(1e15, tokens, 8, 4096) for tokens in (10**4, 10**6, 10**9)]
    assert all(a < b for a, b in itertools.pairwise(sizes))
    assert defaults.size_for(1e15, 10**6, 16, 4096) == pytest.approx(2 * sizes[1], abs=1)


@pytest.mark.parametrize("parameters", [300_000, 10_000_000, 300_000_000])
def test_a_batch_is_a_power_of_two_that_grows_with_the_run(parameters: int) -> None:
    sizes = [defaults.batch_tokens_for(n, parameters) for n in (1e3, 1e6, 1e8, 1e10, 1e12)]
    assert sizes == sorted(sizes)
    assert all(size & (size - 1) == 0 and size >= 1024 for size in sizes)


def test_what_is_said_of_an_optimizer_stays() -> None:
    said = OptimizerSettings(learning_rate=0.5, beta2=0.9)
    chosen = defaults.optimizer_for(said, 10**7)
    assert (chosen.learning_rate, chosen.beta2) == (0.5, 0.9)
    assert chosen.matrix_learning_rate == 0.04
    assert chosen.beta1 == 0.9


def test_adamw_rates_follow_the_ladder() -> None:
    def rate(parameters: int) -> float | None:
        return defaults.optimizer_for(OptimizerSettings(kind="adamw"), parameters).learning_rate

    assert rate(108_000_000) == pytest.approx(0.0047)
    assert rate(8 * 108_000_000) == pytest.approx(0.0047 / 2)
    assert rate(1_000_000) == 0.006


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_warm_up_is_a_small_part_of_a_run(kind: str) -> None:
    warmups = {steps: defaults.warmup_for(kind, steps) for steps in (1, 10, 1000, 10**6)}
    assert list(warmups.values()) == sorted(warmups.values())
    assert all(warmup <= max(1, steps // 20) for steps, warmup in warmups.items())


@pytest.mark.parametrize("rows", [1, 7, 12, 16, 100])
@pytest.mark.parametrize("vocab_size", [260, 50_260])
def test_micro_batches_divide_a_batch_and_fit_the_memory(rows: int, vocab_size: int) -> None:
    micro = defaults.micro_batch_for(rows, 256, vocab_size, CPU)
    assert rows % micro == 0
    assert micro == 1 or 4 * micro * 256 * vocab_size <= 100e6
    assert defaults.micro_batch_for(rows, 256, vocab_size, torch.device("cuda")) >= micro


def test_compiling_is_for_long_runs_unless_said() -> None:
    assert not defaults.compile_pays("auto", 5.0, CPU)
    assert defaults.compile_pays("on", 5.0, CPU)
    assert not defaults.compile_pays("off", 1e6, CPU)
    assert defaults.compile_pays("auto", 1e6, torch.device("cuda"))


def test_nominal_rates_come_from_flags_and_cores_alone() -> None:
    slow, wide, fast = (machine(), machine("avx512f"), machine("avx512f", "avx512_bf16"))
    rates = [defaults.nominal_flops(m, CPU) for m in (slow, wide, fast)]
    assert rates == sorted(rates)
    assert defaults.nominal_flops(machine(cores=4), CPU) == 2 * rates[0]
    assert defaults.nominal_flops(slow, torch.device("cuda")) > rates[-1]
