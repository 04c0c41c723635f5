"""The parts of a block that see one position at a time: linear layers, norms, the MLP.

Weights are float32; each layer casts its weights to the dtype of what it is given.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import ModelConfig


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return x W^T + b, in the dtype of the input x."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class _RMSNormFunction(torch.autograd.Function):
    """RMS norm with a backward pass of its own.

    On a processor autograd takes three to four times as long: it keeps, and walks back through,
    every intermediate of the formula.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square().div(x.shape[-1]).add(eps).rsqrt().to(x.dtype)
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        normed, scale, weight = ctx.saved_tensors
        weight_gradient = (gradient * normed).flatten(0, -2).sum(0, dtype=torch.float32)
        scaled = gradient * weight.to(gradient.dtype)
        along = (scaled * normed).sum(-1, keepdim=True, dtype=torch.float32) / normed.shape[-1]
        x_gradient = torch.addcmul(scaled, normed, along.to(scaled.dtype), value=-1) * scale
        return x_gradient, weight_gradient.to(weight.dtype), None


class RMSNorm(nn.Module):
    """Divides by the root mean square (Zhang and Sennrich, 2019), then scales."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised over its last dimension."""
        if torch.is_grad_enabled():
            return _RMSNormFunction.apply(x, self.weight, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(nn.Module):
    """Layer normalisation whose bias can be left out."""

    def __init__(self, size: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised over its last dimension."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), bias, self.eps)


def make_norm(config: ModelConfig) -> nn.Module:
    """Return the norm that the config asks for, as wide as the model."""
    if config.norm == "rms":
        return RMSNorm(config.d_model, config.norm_eps)
    return LayerNorm(config.d_model, config.norm_eps, config.norm_bias)


class MLP(nn.Module):
    """The position-wise part: SwiGLU (Shazeer, 2020), GELU, or squared ReLU (So, 2021)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind = config.mlp
        self.up = Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.bias)
        self.gate = None
        if config.mlp == "swiglu":
            self.gate = Linear(config.d_model, config.d_ff, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, time, d_model)."""
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        if self.kind == "gelu":
            return self.down(F.gelu(self.up(x), approximate="tanh"))
        return self.down(F.relu(self.up(x)).square())
