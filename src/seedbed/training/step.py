"""One step of training: from micro-batches to changed weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.data.batches import IGNORED, Batch
from seedbed.distributed import World
from seedbed.errors import is_out_of_memory
from seedbed.model.transformer import Transformer
from seedbed.training.optimizers import Optimizer
from seedbed.training.precision import LossScale

LossSum = Callable[..., Tensor]  # of a batch's tensors: summed over its targets


class NoMemoryError(Exception):
    """Some process had no memory for its micro-batches. All raise it; the weights are untouched."""


@dataclass(frozen=True)
class StepMetrics:
    """What one step was like."""

    loss: float  # nats per target token, mean over all micro-batches and ranks
    grad_norm: float  # before clipping
    finite: bool  # whether loss and gradients were, so that the weights were changed


def make_loss(model: Transformer) -> LossSum:
    """Return the function that sums the cross-entropy over target tokens, in float32."""

    def loss_sum(inputs: Tensor, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        logits = model(inputs, documents=documents).float()  # (batch, time, vocab)
        return F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    return loss_sum


def train_step(
    batches: Sequence[Batch],
    *,
    loss_sum: LossSum,
    optimizer: Optimizer,
    multiplier: float,
    clip_norm: float | None,
    world: World,
    loss_scale: LossScale | None,
    reseed: Callable[[int], None],
) -> StepMetrics:
    """Return the metrics of one step over `batches`, this rank's micro-batches.

    The gradient is that of the mean over the target tokens of all micro-batches and ranks, so it
    does not depend on how a batch is cut up. `reseed(i)` is called before micro-batch i, for
    dropout. A step with a loss or gradient that is not finite leaves the weights alone.
    Raises NoMemoryError in all processes when one runs out of memory.
    """
    device, gradients = world.device, optimizer.gradients
    wide = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
    num_targets = torch.tensor(sum(b.num_targets for b in batches), dtype=wide, device=device)
    share = 1.0 / max(1.0, world.all_sum(num_targets).item())  # of a target in the mean
    scale = loss_scale.value if loss_scale else 1.0
    sums = torch.zeros(2, dtype=wide, device=device)  # mean loss, processes without memory
    gradients.clear()
    try:
        for i, batch in enumerate(batches):
            reseed(i)
            sums[0] += _add_gradients(loss_sum, batch.to(device), share * scale).to(wide) * share
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        sums[1] = 1  # the others learn of it where they add up
    mean, without_memory = world.all_sum(sums).tolist()
    if without_memory:
        raise NoMemoryError("there is no memory for a micro-batch")
    world.all_sum(gradients.buffer)
    gradients.scale(1.0 / scale)
    norm = gradients.norm()
    finite = math.isfinite(norm) and math.isfinite(mean)
    if finite:
        if clip_norm is not None and norm > clip_norm:
            gradients.scale(clip_norm / norm)
        optimizer.step(multiplier)
    return StepMetrics(mean, norm, finite)


def _add_gradients(loss_sum: LossSum, batch: Batch, weight: float) -> Tensor:
    """Add the gradients of a micro-batch, times `weight`, to what is there; return its loss."""
    loss = loss_sum(*batch.tensors)
    (loss * weight).backward()
    return loss.detach()
