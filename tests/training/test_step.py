from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from model_shapes import random_model
from seedbed.data.batches import Batch
from seedbed.distributed import World
from seedbed.model.transformer import Transformer
from seedbed.training.config import OptimizerSettings
from seedbed.training.optimizers import Optimizer
from seedbed.training.precision import LossScale
from seedbed.training.step import LossSum, StepMetrics, make_loss, train_step

RATES = {"learning_rate": 0.01, "matrix_learning_rate": 0.02, "momentum": 0.9, "beta1": 0.9,
         "beta2": 0.95,
         "weight_decay": 0.1}  # fmt: skip
IDS = torch.randint(0, 96, (8, 13), generator=torch.Generator().manual_seed(4))
TARGETS = IDS[:, 1:].clone()
TARGETS[:2, 3:] = -100  # rows of unequal weight
TARGETS[5] = -100
WHOLE = [Batch(IDS[:, :-1], TARGETS)]


def cut(*sizes: int) -> list[Batch]:
    parts = zip(IDS[:, :-1].split(sizes), TARGETS.split(sizes), strict=True)
    return [Batch(inputs, targets) for inputs, targets in parts]


class Trainer:
    """A model with what a step needs."""

    def __init__(self, kind: str = "adamw") -> None:
        self.model = random_model()
        settings = OptimizerSettings.model_validate({"kind": kind, **RATES})
        self.optimizer = Optimizer(self.model, settings)
        self.gradients = self.optimizer.gradients

    def step(
        self,
        batches: list[Batch],
        *,
        clip_norm: float | None = None,
        loss_scale: LossScale | None = None,
        loss_sum: Callable[[Transformer], LossSum] = make_loss,
        reseed: Callable[[int], object] = int,
    ) -> StepMetrics:
        return train_step(
            batches,
            loss_sum=loss_sum(self.model),
            optimizer=self.optimizer,
            multiplier=1.0,
            clip_norm=clip_norm,
            world=World(),
            loss_scale=loss_scale,
            reseed=reseed,
        )


def test_the_loss_is_the_mean_over_target_tokens() -> None:
    trainer = Trainer()
    with torch.no_grad():
        logits = trainer.model(IDS[:, :-1]).flatten(0, 1)
    wanted = F.cross_entropy(logits, TARGETS.flatten(), ignore_index=-100).item()
    assert trainer.step(WHOLE).loss == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("sizes", [(4, 4), (1, 7), (2, 2, 2, 2), (1,) * 8])
def test_a_step_does_not_depend_on_how_the_batch_is_cut(sizes: tuple[int, ...]) -> None:
    whole, parts = Trainer(), Trainer()
    first, second = whole.step(WHOLE), parts.step(cut(*sizes))
    assert second.loss == pytest.approx(first.loss, rel=1e-6)
    assert second.grad_norm == pytest.approx(first.grad_norm, rel=1e-5)
    assert torch.allclose(whole.gradients.buffer, parts.gradients.buffer, atol=1e-6)


def test_the_gradient_is_that_of_the_mean_loss() -> None:
    trainer = Trainer()
    theirs = copy.deepcopy(trainer.model)
    F.cross_entropy(theirs(IDS[:, :-1]).flatten(0, 1), TARGETS.flatten()).backward()
    norms = [p.grad.norm() for p in theirs.parameters() if p.grad is not None]
    metrics = trainer.step(WHOLE)
    assert metrics.grad_norm == pytest.approx(torch.stack(norms).norm().item(), rel=1e-5)


def test_clipping_scales_the_whole_gradient_to_the_norm() -> None:
    free, clipped = Trainer(), Trainer()
    norm = free.step(WHOLE).grad_norm
    assert clipped.step(WHOLE, clip_norm=norm / 4).grad_norm == pytest.approx(norm)
    assert clipped.gradients.norm() == pytest.approx(norm / 4, rel=1e-5)
    assert torch.allclose(clipped.gradients.buffer, free.gradients.buffer / 4, atol=1e-7)


def test_a_gradient_within_the_norm_is_not_clipped() -> None:
    free, clipped = Trainer(), Trainer()
    norm = free.step(WHOLE).grad_norm
    clipped.step(WHOLE, clip_norm=norm * 1.01)
    assert torch.equal(clipped.gradients.buffer, free.gradients.buffer)


def test_the_loss_scale_leaves_no_trace() -> None:
    plain, scaled = Trainer(), Trainer()
    first, second = plain.step(WHOLE), scaled.step(WHOLE, loss_scale=LossScale(value=2.0**12))
    assert second.loss == pytest.approx(first.loss)
    assert second.grad_norm == pytest.approx(first.grad_norm, rel=1e-5)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_step_that_is_not_finite_leaves_the_weights_alone(kind: str, wrong: float) -> None:
    trainer = Trainer(kind)
    before = copy.deepcopy(trainer.model.state_dict())

    def broken(model: Transformer) -> LossSum:
        return lambda inputs, targets: make_loss(model)(inputs, targets) * wrong

    metrics = trainer.step(WHOLE, loss_sum=broken)
    assert not metrics.finite
    after = trainer.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert trainer.optimizer.state() == {}
    assert trainer.step(WHOLE).finite  # nothing of it stays behind


def test_a_batch_without_targets_changes_nothing_but_moments() -> None:
    trainer = Trainer()
    nothing = Batch(IDS[:, :-1], torch.full_like(TARGETS, -100))
    metrics = trainer.step([nothing])
    assert (metrics.loss, metrics.grad_norm, metrics.finite) == (0.0, 0.0, True)


def test_every_micro_batch_is_seeded() -> None:
    seeded: list[int] = []
    Trainer().step(cut(2, 2, 4), reseed=seeded.append)
    assert seeded == [0, 1, 2]


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_repeated_steps_learn_a_batch_by_heart(kind: str) -> None:
    trainer = Trainer(kind)
    losses = [trainer.step(WHOLE, clip_norm=1.0).loss for _ in range(60)]
    assert losses[-1] < 0.35 * losses[0]
