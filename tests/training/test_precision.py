from __future__ import annotations

import pytest
import torch

from seedbed.errors import ConfigError
from seedbed.machine import this_machine
from seedbed.training.precision import LossScale, choose_precision, set_up_precision

CPU = torch.device("cpu")


def test_auto_takes_what_the_processor_does_well() -> None:
    wanted = "bf16" if this_machine().fast_bf16 else "fp32"
    assert choose_precision("auto", CPU) == wanted


@pytest.mark.parametrize("asked", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(asked: str) -> None:
    assert choose_precision(asked, CPU) == asked


def test_tf32_is_for_cuda_only() -> None:
    with pytest.raises(ConfigError, match="`precision` is tf32"):
        choose_precision("tf32", CPU)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_a_precision_is_a_dtype_of_activations(precision: str, dtype: torch.dtype) -> None:
    assert set_up_precision(precision) == dtype
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_loss_scale_falls_by_overflows_and_rises_by_patience() -> None:
    scale = LossScale(value=8.0, patience=3)
    assert scale.overflowed()
    assert scale.value == 4.0
    for _ in range(2):
        scale.succeeded()
    assert scale.value == 4.0
    scale.succeeded()
    assert (scale.value, scale.good_steps) == (8.0, 0)


def test_an_overflow_starts_the_patience_anew() -> None:
    scale = LossScale(value=8.0, patience=2)
    scale.succeeded()
    scale.overflowed()
    scale.succeeded()
    assert scale.value == 4.0


def test_a_scale_below_one_cannot_help() -> None:
    assert not LossScale(value=1.0).overflowed()
