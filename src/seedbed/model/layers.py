"""The parts of a block that see one position at a time: linear layers, norms, the MLP.

Weights are float32; each layer casts its weights to the dtype of what it is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def join(layers: Sequence[Linear]) -> Linear:
    """Return one layer that gives the outputs of all `layers`, end to end."""
    first = layers[0]
    width = sum(layer.out_features for layer in layers)
    joined = Linear(first.in_features, width, first.bias is not None, first.weight.device)
    with torch.no_grad():
        joined.weight.copy_(torch.cat([layer.weight for layer in layers]))
        if first.bias is not None:
            joined.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return joined


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


class HeadNorm(nn.Module):
    """The RMS norms of neighbouring groups of heads, as one."""

    weight: Tensor  # (heads, head_dim)

    def __init__(self, norms: Sequence[RMSNorm], heads: Sequence[int]) -> None:
        super().__init__()
        weights = [n.weight.detach().expand(h, -1) for n, h in zip(norms, heads, strict=True)]
        self.register_buffer("weight", torch.cat(weights))
        self.eps = norms[0].eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (..., heads, head_dim) normalised over its last dimension."""
        return F.rms_norm(x, x.shape[-1:], eps=self.eps) * self.weight.to(x.dtype)


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
        self.joined: Linear | None = None  # gate and up: `join`

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, time, d_model)."""
        if self.joined is not None:
            gate, up = self.joined(x).chunk(2, dim=-1)
            return self.down(F.silu(gate) * up)
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        if self.kind == "gelu":
            return self.down(gelu(self.up(x)))
        return self.down(F.relu(self.up(x)).square())

    def join(self) -> None:
        """Compute gate and up together from now on, where there is a gate: for reading only."""
        if self.gate is not None:
            self.joined = join((self.gate, self.up))
            del self.gate, self.up


def gelu(x: Tensor) -> Tensor:
    """Return GELU in its tanh form (Hendrycks and Gimpel, 2016), as GPT-2 has it.

    0.5 (1 + tanh(z)) is sigmoid(2 z), which compiled code computes in less than half the time.
    """
    if not torch.compiler.is_compiling():
        return F.gelu(x, approximate="tanh")
    twice = 2 * math.sqrt(2 / math.pi)
    return x * torch.sigmoid(twice * x * (1 + 0.044715 * x.square()))
