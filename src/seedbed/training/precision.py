"""Which numbers to compute with, and the loss scale that float16 needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from seedbed.errors import ConfigError
from seedbed.machine import this_machine

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def choose_precision(asked: str, device: torch.device) -> str:
    """Return the precision to train in: as asked for, or what the device does well.

    Raises ConfigError for tf32 where there is none.
    """
    if asked == "tf32" and device.type != "cuda":
        raise ConfigError("`precision` is tf32, which only CUDA devices have. Try fp32 or auto.")
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device.type == "cpu" and this_machine().fast_bf16 else "fp32"


def set_up_precision(precision: str) -> torch.dtype:
    """Set torch's float32 products to what `precision` says; return the dtype of activations."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    return DTYPES[precision]


@dataclass
class LossScale:
    """The factor that keeps float16 gradients above zero (Micikevicius et al., 2018).

    Halved when gradients overflow, doubled after `patience` steps without an overflow.
    """

    value: float = 2.0**16
    good_steps: int = 0
    patience: int = 1000

    def overflowed(self) -> bool:
        """Take note of an overflow; return whether a smaller scale could still help."""
        self.good_steps = 0
        self.value /= 2
        return self.value >= 1.0

    def succeeded(self) -> None:
        """Take note of finite gradients."""
        self.good_steps += 1
        if self.good_steps >= self.patience:
            self.value, self.good_steps = self.value * 2, 0
