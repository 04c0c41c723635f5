"""Muon for the matrices inside blocks, AdamW for everything else; or AdamW for all.

Gradients live end to end in one flat buffer: one sum over ranks, one norm, one multiplication.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from seedbed.training.config import OptimizerSettings

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al., 2024


class FlatGradients:
    """All gradients of a model in one buffer, of which each `parameter.grad` is a view."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        total = sum(p.numel() for p in self._parameters)
        self.buffer = torch.zeros(total, device=self._parameters[0].device)
        start = 0
        for parameter in self._parameters:
            end = start + parameter.numel()
            parameter.grad = self.buffer[start:end].view_as(parameter)
            start = end

    def clear(self) -> None:
        """Set every gradient to zero."""
        self.buffer.zero_()

    def norm(self) -> float:
        """Return the Euclidean norm over all gradients; not finite when any is not."""
        return float(torch.linalg.vector_norm(self.buffer))

    def scale(self, factor: float) -> None:
        """Multiply every gradient by `factor`."""
        if factor != 1.0:
            self.buffer.mul_(factor)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are orthogonalised before they are applied (Jordan et al., 2024).

    Matrices of one shape are orthogonalised together. The step of a matrix is scaled by
    sqrt(max(1, rows / columns)), so that one learning rate serves all shapes; decay is decoupled.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Apply the gradients."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                updates = [self._momentum(p, group["momentum"]) for p in parameters]
                directions = orthogonalise(torch.stack(updates))
                scale = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction, alpha=-scale)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Return the gradient plus its running average, as Nesterov adds them."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return matrices (batch, rows, columns) with singular values near 1 and vectors unchanged.

    A Newton-Schulz iteration with a quintic polynomial, in bfloat16 where that is fast.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16() if _bf16_is_fast(matrices.device) else matrices
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def _bf16_is_fast(device: torch.device) -> bool:
    from seedbed.machine import this_machine

    return device.type == "cuda" or (device.type == "cpu" and this_machine().fast_bf16)


class Optimizer:
    """The optimizers of one model, stepped together."""

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        assert settings.learning_rate is not None
        assert settings.beta1 is not None
        assert settings.beta2 is not None
        matrices, others = split_parameters(model)
        self._names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
        self._parts: list[torch.optim.Optimizer] = []
        decayed = {"params": matrices, "weight_decay": settings.weight_decay}
        of_embeddings = settings.weight_decay if settings.decay_embeddings else 0.0
        groups = [
            {"params": [p for p in others if p.ndim == 2], "weight_decay": of_embeddings},
            {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
        ]
        if settings.kind == "muon":
            assert settings.matrix_learning_rate is not None
            self._parts.append(
                Muon(
                    matrices,
                    lr=settings.matrix_learning_rate,
                    momentum=settings.momentum,
                    weight_decay=settings.weight_decay,
                )
            )
        else:
            groups.insert(0, decayed)
        self._parts.append(
            torch.optim.AdamW(
                groups,
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                eps=settings.eps,
                fused=True,
            )
        )
        for group in self._groups():
            group["peak_lr"] = group["lr"]

    def _groups(self) -> list[dict]:
        return [group for part in self._parts for group in part.param_groups]

    def step(self, multiplier: float) -> None:
        """Apply the gradients at `multiplier` times the peak learning rates."""
        for group in self._groups():
            group["lr"] = group["peak_lr"] * multiplier
        for part in self._parts:
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Return what must be kept to go on exactly: "name/of/parameter:entry" -> tensor."""
        return {
            f"{self._names[parameter]}:{entry}": tensor
            for part in self._parts
            for parameter, entries in part.state.items()
            for entry, tensor in entries.items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        for part in self._parts:
            part.state.clear()
            for group in part.param_groups:
                for parameter in group["params"]:
                    prefix = f"{self._names[parameter]}:"
                    entries = {
                        key.removeprefix(prefix): tensor
                        for key, tensor in state.items()
                        if key.startswith(prefix)
                    }
                    if entries:
                        part.state[parameter] = entries


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the matrices inside blocks, and everything else (embeddings, head, norms, biases)."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inside = name.startswith("blocks.") and parameter.ndim == 2
        (matrices if inside else others).append(parameter)
    return matrices, others
