"""One step of training: from micro-batches to changed weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.data.batches import Batch
from seedbed.distributed import World
from seedbed.model.transformer import Transformer
from seedbed.training.optimizers import FlatGradients, Optimizer
from seedbed.training.precision import LossScale

LossSum = Callable[[Tensor, Tensor], Tensor]  # (inputs, targets) -> summed cross-entropy


@dataclass(frozen=True)
class StepMetrics:
    """What one step was like."""

    loss: float  # nats per target token, mean over all micro-batches and ranks
    grad_norm: float  # before clipping
    finite: bool  # whether loss and gradients were, so that the weights were changed


def make_loss(model: Transformer) -> LossSum:
    """Return the function that sums the cross-entropy over target tokens, in float32."""

    def loss_sum(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs).float()  # (batch, time, vocab)
        return F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
        )

    return loss_sum


def train_step(
    batches: Sequence[Batch],
    *,
    loss_sum: LossSum,
    gradients: FlatGradients,
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
    """
    device = world.device
    wide = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
    num_targets = torch.tensor(sum(b.num_targets for b in batches), dtype=wide, device=device)
    share = 1.0 / max(1.0, world.all_sum(num_targets).item())  # of a target in the mean
    scale = loss_scale.value if loss_scale else 1.0
    mean_loss = torch.zeros((), dtype=wide, device=device)
    gradients.clear()
    for i, batch in enumerate(batches):
        reseed(i)
        loss = loss_sum(*batch.to(device).tensors)
        (loss * (share * scale)).backward()
        mean_loss += loss.detach().to(wide) * share
    mean = world.all_sum(mean_loss).item()
    world.all_sum(gradients.buffer)
    gradients.scale(1.0 / scale)
    norm = gradients.norm()
    finite = math.isfinite(norm) and math.isfinite(mean)
    if finite:
        if clip_norm is not None and norm > clip_norm:
            gradients.scale(clip_norm / norm)
        optimizer.step(multiplier)
    return StepMetrics(mean, norm, finite)
