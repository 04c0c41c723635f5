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
    sizes = [defaults.batch_tokens_for(n, parameters, 64) for n in (1e3, 1e6, 1e8, 1e10, 1e12)]
    assert sizes == sorted(sizes)
    assert all(size & (size - 1) == 0 and size >= 512 for size in sizes)


def test_four_times_the_tokens_make_twice_the_batch() -> None:
    sizes = [defaults.batch_tokens_for(2**18 * 4**n, 10**9, 64) for n in range(5)]
    assert sizes == [1024, 2048, 4096, 8192, 16384]


def test_a_wide_model_takes_a_batch_worth_its_optimizer_step() -> None:
    narrow, wide = (defaults.batch_tokens_for(250_000, 10**8, width) for width in (64, 768))
    assert (narrow, wide) == (1024, 8192)


def optimizer(
    said: OptimizerSettings | None = None,
    parameters: int = 10**7,
    *,
    vocab_size: int = 4096,
    epochs: float = 1.0,
    steps_per_epoch: float = 1000.0,
    fresh: bool = True,
) -> OptimizerSettings:
    return defaults.optimizer_for(
        said or OptimizerSettings(),
        parameters,
        vocab_size=vocab_size,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        fresh=fresh,
    )


def test_what_is_said_of_an_optimizer_stays() -> None:
    said = OptimizerSettings(learning_rate=0.5, beta2=0.9, weight_decay=0.0)
    chosen = optimizer(said)
    assert (chosen.learning_rate, chosen.beta2, chosen.weight_decay) == (0.5, 0.9, 0.0)
    assert chosen.matrix_learning_rate == 0.04
    assert chosen.beta1 == 0.8


def test_embeddings_of_a_larger_vocabulary_move_faster() -> None:
    assert optimizer(vocab_size=64).learning_rate == pytest.approx(0.012)
    assert optimizer(vocab_size=1024).learning_rate == pytest.approx(0.048)
    assert optimizer(vocab_size=10**6).learning_rate == pytest.approx(0.1)


def test_embeddings_move_less_in_text_that_is_seen_often_or_where_they_are_given() -> None:
    rates = [optimizer(epochs=n).learning_rate for n in (0.5, 1.0, 2.0, 4.0)]
    assert rates == pytest.approx([0.096, 0.096, 0.048, 0.024])
    assert optimizer(fresh=False).learning_rate == 0.012


def test_weights_decay_the_faster_the_fewer_steps_an_epoch_has() -> None:
    decays = [optimizer(steps_per_epoch=n).weight_decay for n in (10, 100, 250, 10**6)]
    assert decays == pytest.approx([1.0, 0.5, 0.2, 0.1])
    adamw = OptimizerSettings(kind="adamw")
    assert optimizer(adamw, steps_per_epoch=100).weight_decay == 0.1
    embeddings_too = OptimizerSettings(decay_embeddings=True)  # the rule is that of matrices
    assert optimizer(embeddings_too, steps_per_epoch=100).weight_decay == 0.1


def test_adamw_rates_follow_the_ladder() -> None:
    def rate(parameters: int) -> float | None:
        return optimizer(OptimizerSettings(kind="adamw"), parameters).learning_rate

    assert rate(108_000_000) == pytest.approx(0.0047)
    assert rate(8 * 108_000_000) == pytest.approx(0.0047 / 2)
    assert rate(1_000_000) == 0.006


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_warm_up_is_a_small_part_of_a_run(kind: str) -> None:
    warmups = {steps: defaults.warmup_for(kind, steps) for steps in (1, 10, 1000, 10**6)}
    assert list(warmups.values()) == sorted(warmups.values())
    assert all(warmup <= max(1, steps // 20) for steps, warmup in warmups.items())


def test_evaluations_read_no_more_than_a_share_of_what_is_learned_from() -> None:
    assert defaults.evaluations_for(1_000_000, 30_000) == 10
    assert defaults.evaluations_for(200_000, 30_000) == 2
    assert defaults.evaluations_for(1000, 30_000) == 1


@pytest.mark.parametrize("rows", [1, 7, 12, 16, 100])
@pytest.mark.parametrize("vocab_size", [260, 50_260])
def test_micro_batches_divide_a_batch_and_fit_the_memory(rows: int, vocab_size: int) -> None:
    sizes = {"logits": 4 * 256 * vocab_size, "kept": 30e6}
    micro = defaults.micro_batch_for(rows, **sizes, device=CPU)
    assert rows % micro == 0
    assert micro == 1 or micro * sizes["logits"] <= 100e6
    assert defaults.micro_batch_for(rows, **sizes, device=torch.device("cuda")) >= micro


@pytest.mark.parametrize(("kept", "micro"), [(1e6, 32), (90e6, 32), (160e6, 16), (4e9, 1)])
def test_what_blocks_keep_of_a_micro_batch_fits_the_memory_too(kept: float, micro: int) -> None:
    assert defaults.micro_batch_for(32, logits=4 * 256 * 260, kept=kept, device=CPU) == micro


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


def test_a_small_model_is_slower_than_its_arithmetic_on_a_processor() -> None:
    cuda, here = torch.device("cuda"), machine(cores=2)
    for flops in (1e6, 1e9):
        assert (
            defaults.nominal_rate(here, cuda, flops) == defaults.nominal_flops(here, cuda) / flops
        )
    small, large = (
        defaults.nominal_rate(here, CPU, flops) * flops / defaults.nominal_flops(here, CPU)
        for flops in (1.5e6, 1.5e9)
    )
    assert small == pytest.approx(0.5)
    assert large > 0.99
