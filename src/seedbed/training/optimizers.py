"""Muon for the matrices inside blocks, AdamW for everything else; or AdamW for all.

Weights that are treated alike lie end to end in one tensor, and all gradients in one buffer in the
same order: one sum over ranks, one norm, and a few calls for a step, however many layers there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from seedbed.training.config import OptimizerSettings

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al., 2024


class FlatGradients:
    """All gradients of a model in one buffer, of which each `parameter.grad` is a view."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        total = sum(p.numel() for p in parameters)
        self.buffer = torch.zeros(total, device=parameters[0].device)
        for parameter, view in zip(parameters, _views(self.buffer, parameters), strict=True):
            parameter.grad = view

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


def _end_to_end(tensors: Sequence[Tensor]) -> Tensor:
    """Return one tensor (numel in all,) with a copy of all of them in turn."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of `flat`, in turn, in the shapes of `like`."""
    parts = flat.split([tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), fused: torch's own step.

    Not torch.optim.AdamW, as the base class of torch's optimizers imports the compiler when it is
    first used: a second at every start, and its memory.
    """

    def __init__(self, groups: list[dict], *, lr: float, betas: tuple[float, float], eps: float):
        self.param_groups = [{**group, "lr": lr} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self._constants = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "maximize": False}

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients."""
        for group in self.param_groups:
            entries = [self._entries(parameter) for parameter in group["params"]]
            adamw(
                group["params"],
                [parameter.grad for parameter in group["params"]],
                [each["exp_avg"] for each in entries],
                [each["exp_avg_sq"] for each in entries],
                [],
                [each["step"] for each in entries],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                amsgrad=False,
                fused=True,
                **self._constants,
            )

    def _entries(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[parameter]


class Muon:
    """Momentum whose matrices are orthogonalised before they are applied (Jordan et al., 2024).

    A parameter is a stack of matrices, (count, rows, columns). Their step is scaled by
    sqrt(max(1, rows / columns)), so that one learning rate serves all shapes; decay is decoupled.
    """

    def __init__(
        self, stacks: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        rates = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.param_groups = [{"params": list(stacks), **rates}]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients."""
        for group in self.param_groups:
            for stack in group["params"]:
                direction = orthogonalise(self._momentum(stack, group["momentum"]))
                rate, (rows, columns) = group["lr"], stack.shape[1:]
                stack.mul_(1 - rate * group["weight_decay"])
                stack.add_(direction, alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def _momentum(self, stack: nn.Parameter, momentum: float) -> Tensor:
        """Return the gradient plus its running average, as Nesterov adds them."""
        gradient = stack.grad
        assert gradient is not None
        state = self.state.setdefault(stack, {"momentum": torch.zeros_like(stack)})
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
    """The optimizers of one model, stepped together; `gradients` are what they apply.

    The model's parameters become views of a few tensors, each of what is treated alike. Frozen ones
    have no part in it.
    """

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        assert settings.learning_rate is not None
        assert settings.beta1 is not None
        assert settings.beta2 is not None
        assert settings.weight_decay is not None
        matrices, others = split_parameters(model)
        muon = settings.kind == "muon"
        of_embeddings = settings.weight_decay if settings.decay_embeddings else 0.0
        stacks = list(_by_shape(matrices)) if muon else []
        groups = [
            ([] if muon else matrices, settings.weight_decay),
            ([p for p in others if p.ndim == 2], of_embeddings),
            ([p for p in others if p.ndim < 2], 0.0),
        ]
        groups = [(parameters, decay) for parameters, decay in groups if parameters]
        in_order = [p for part in (*stacks, *(g for g, _ in groups)) for p in part]
        self.gradients = FlatGradients(in_order)
        self._names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
        self._members: dict[Tensor, list[nn.Parameter]] = {}  # of what an optimizer steps
        self._parts: list[Muon | AdamW] = []
        if muon:
            assert settings.matrix_learning_rate is not None
            assert settings.momentum is not None
            self._parts.append(
                Muon(
                    [self._together(stack, stacked=True) for stack in stacks],
                    lr=settings.matrix_learning_rate,
                    momentum=settings.momentum,
                    weight_decay=settings.weight_decay,
                )
            )
        self._parts.append(
            AdamW(
                [{"params": [self._together(g)], "weight_decay": decay} for g, decay in groups],
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                eps=settings.eps,
            )
        )
        for group in self._groups():
            group["peak_lr"] = group["lr"]

    def _together(self, members: list[nn.Parameter], *, stacked: bool = False) -> nn.Parameter:
        """Return one parameter that holds the members' weights, and of which they become views.

        Its gradient is the part of the buffer where theirs lie.
        """
        weights = _end_to_end(members)
        for member, view in zip(members, _views(weights, members), strict=True):
            member.data = view
        shape = (-1, *members[0].shape) if stacked else (-1,)
        together = nn.Parameter(weights.view(shape))
        first = members[0].grad
        assert first is not None
        start = first.storage_offset()
        gradient = self.gradients.buffer[start : start + weights.numel()]
        together.grad = gradient.view(shape)
        self._members[together] = members
        return together

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
            f"{self._names[member]}:{entry}": part_of_entry
            for part in self._parts
            for together, entries in part.state.items()
            for entry, tensor in entries.items()
            for member, part_of_entry in self._split(together, tensor)
        }

    def _split(self, together: Tensor, entry: Tensor) -> Iterable[tuple[nn.Parameter, Tensor]]:
        """Return each member with its part of an entry; a count of steps is the same for all."""
        members = self._members[together]
        if entry.ndim == 0:
            return [(member, entry) for member in members]
        return zip(members, _views(entry.flatten(), members), strict=True)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        for part in self._parts:
            part.state.clear()
        if not state:
            return
        for part in self._parts:
            for together in (p for group in part.param_groups for p in group["params"]):
                part.state[together] = self._joined(together, state)

    def _joined(self, together: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the entries of one stepped parameter, from those of its members."""
        names = [self._names[member] for member in self._members[together]]
        prefix = f"{names[0]}:"
        entries = [key.removeprefix(prefix) for key in state if key.startswith(prefix)]
        return {
            entry: _join([state[f"{name}:{entry}"] for name in names], together)
            for entry in entries
        }


def _join(parts: list[Tensor], together: Tensor) -> Tensor:
    if parts[0].ndim == 0:
        return parts[0]
    return _end_to_end(parts).view_as(together)


def _by_shape(matrices: Iterable[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    found: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
    for matrix in matrices:
        found[matrix.shape].append(matrix)
    return found.values()


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the matrices inside blocks, and everything else (embeddings, head, norms, biases).

    Frozen parameters are left out.
    """
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = name.startswith("blocks.") and parameter.ndim == 2
            (matrices if inside else others).append(parameter)
    return matrices, others
