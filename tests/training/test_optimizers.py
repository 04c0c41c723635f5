from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from model_shapes import SHAPES, random_model
from seedbed.training.config import OptimizerSettings
from seedbed.training.optimizers import (
    Muon,
    Optimizer,
    orthogonalise,
    split_parameters,
)


def settings(kind: str, **fields: Any) -> OptimizerSettings:
    chosen = {"learning_rate": 0.01, "matrix_learning_rate": 0.02, "momentum": 0.9,
              "beta1": 0.8, "beta2": 0.95,
              "weight_decay": 0.1}  # fmt: skip
    return OptimizerSettings.model_validate({"kind": kind, **chosen, **fields})


def gradients_of(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            parameter.grad.copy_(gradient)


# --- which parameters


@pytest.mark.parametrize("name", SHAPES)
def test_only_matrices_of_blocks_are_split_off(name: str) -> None:
    model = random_model(name)
    matrices, others = split_parameters(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p].split(".")[-2] for p in matrices} == (
        {"query", "key", "value", "output", "up", "down"}
        | ({"gate"} if model.config.mlp == "swiglu" else set())
    )
    assert all(names[p].endswith(".weight") for p in matrices)
    assert len(matrices) + len(others) == len(list(model.parameters()))
    assert model.embedding.weight in set(others)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_decay_shrinks_matrices_of_blocks_only(kind: str) -> None:
    model = random_model("gpt2-untied")
    optimizer = Optimizer(model, settings(kind, weight_decay=0.5))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    matrices, _ = split_parameters(model)
    optimizer.step(0.5)
    rate = 0.02 if kind == "muon" else 0.01
    for name, parameter in model.named_parameters():
        decayed = any(parameter is m for m in matrices)
        shrunk = before[name] * (1 - 0.5 * rate * 0.5 if decayed else 1.0)
        assert torch.allclose(parameter, shrunk, atol=1e-7), name


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_decay_shrinks_embeddings_where_asked(kind: str) -> None:
    model = random_model("gpt2-untied")
    decay = settings(kind, weight_decay=0.5, decay_embeddings=True)
    optimizer = Optimizer(model, decay)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step(0.5)
    for name, parameter in model.named_parameters():
        rate = 0.02 if kind == "muon" and name.startswith("blocks.") else 0.01
        shrunk = before[name] * (1 - 0.5 * rate * 0.5 if parameter.ndim == 2 else 1.0)
        assert torch.allclose(parameter, shrunk, atol=1e-7), name


# --- AdamW


def test_adamw_takes_the_steps_of_torch() -> None:
    model = random_model("gpt2")
    theirs = copy.deepcopy(model)
    optimizer = Optimizer(model, settings("adamw", weight_decay=0.1, eps=1e-9))
    matrices, others = split_parameters(theirs)
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.8, 0.95),
        eps=1e-9,
    )
    for step, multiplier in enumerate((0.5, 1.0, 0.25)):
        gradients_of(model, step)
        gradients_of(theirs, step)
        optimizer.step(multiplier)
        for group in reference.param_groups:
            group["lr"] = 0.01 * multiplier
        reference.step()
    for ours, other in zip(model.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(ours, other, atol=1e-6)


# --- Muon


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16), (64, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices).float())
    assert values.min() > 0.6
    assert values.max() < 1.25


def test_orthogonalising_keeps_the_singular_vectors() -> None:
    generator = torch.Generator().manual_seed(1)
    left, _ = torch.linalg.qr(torch.randn(24, 24, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(24, 24, generator=generator))
    values = torch.linspace(1.0, 3.0, 24)
    made = orthogonalise((left * values @ right.T)[None])[0].float()
    inside = left.T @ made @ right  # diagonal when the vectors are the same
    assert (inside - inside.diag().diag()).abs().max() < 0.02


def test_orthogonalising_a_batch_equals_one_at_a_time() -> None:
    matrices = torch.randn(4, 20, 32, generator=torch.Generator().manual_seed(1))
    together = orthogonalise(matrices)
    alone = torch.cat([orthogonalise(m[None]) for m in matrices])
    assert torch.allclose(together, alone, atol=0.02)


def test_orthogonalising_does_not_depend_on_the_scale() -> None:
    matrix = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1))
    tiny, huge = orthogonalise(matrix * 2.0**-30), orthogonalise(matrix * 2.0**30)
    assert torch.allclose(huge, orthogonalise(matrix), atol=0.02)
    assert torch.linalg.svdvals(tiny.float()).max() < 1.25


def test_a_zero_gradient_stays_zero() -> None:
    assert not orthogonalise(torch.zeros(2, 4, 8)).any()


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Return what Keller Jordan's reference computes, in float32."""
    x = matrix / (matrix.norm() + 1e-7)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_muon_takes_the_steps_of_the_reference() -> None:
    generator = torch.Generator().manual_seed(2)
    shapes = [(16, 24), (24, 16), (16, 24)]
    ours = [nn.Parameter(torch.randn(1, *s, generator=generator)) for s in shapes]
    theirs = [p.detach().clone()[0] for p in ours]
    optimizer = Muon(ours, lr=0.05, momentum=0.9, weight_decay=0.1)
    averages = [torch.zeros(s) for s in shapes]
    for _ in range(4):
        for i, parameter in enumerate(ours):
            gradient = torch.randn(shapes[i], generator=generator)
            parameter.grad = gradient[None].clone()
            averages[i] = 0.9 * averages[i] + 0.1 * gradient
            update = newton_schulz(0.1 * gradient + 0.9 * averages[i])  # Nesterov
            scale = math.sqrt(max(1.0, shapes[i][0] / shapes[i][1]))
            theirs[i] = theirs[i] * (1 - 0.05 * 0.1) - 0.05 * scale * update
        optimizer.step()
    for parameter, other in zip(ours, theirs, strict=True):
        assert (parameter[0] - other).abs().max() < 0.02  # bfloat16 where that is fast


def test_muon_agrees_with_torch() -> None:
    generator = torch.Generator().manual_seed(2)
    ours = nn.Parameter(torch.randn(1, 24, 16, generator=generator))
    theirs = nn.Parameter(ours.detach()[0].clone())
    optimizer = Muon([ours], lr=0.05, momentum=0.9, weight_decay=0.1)
    reference = torch.optim.Muon(
        [theirs], lr=0.05, momentum=0.9, weight_decay=0.1, adjust_lr_fn="original"
    )
    for _ in range(4):
        theirs.grad = torch.randn(24, 16, generator=generator)
        ours.grad = theirs.grad[None].clone()
        optimizer.step()
        reference.step()
    assert (ours - theirs).abs().max() < 0.03


# --- state


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_an_optimizer_goes_on_exactly_from_its_state(kind: str) -> None:
    model = random_model("qwen3-untied-gqa")
    optimizer = Optimizer(model, settings(kind))
    for step in range(3):
        gradients_of(model, step)
        optimizer.step(1.0)
    twin = copy.deepcopy(model)
    other = Optimizer(twin, settings(kind))
    other.load_state({key: tensor.clone() for key, tensor in optimizer.state().items()})
    for step in range(3, 6):
        for each, its_optimizer in ((model, optimizer), (twin, other)):
            gradients_of(each, step)
            its_optimizer.step(0.5)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_empty_state_is_that_of_the_beginning() -> None:
    model = random_model()
    optimizer = Optimizer(model, settings("muon"))
    gradients_of(model, 1)
    optimizer.step(1.0)
    optimizer.load_state({})
    assert optimizer.state() == {}


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_weights_of_a_kind_lie_end_to_end_and_keep_their_values(kind: str) -> None:
    model = random_model("qwen3-untied-gqa")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    Optimizer(model, settings(kind))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    layers = [block.attention.query.weight for block in model.blocks]
    assert len({weight.untyped_storage().data_ptr() for weight in layers}) == 1


def test_state_names_parameter_and_entry() -> None:
    model = random_model()
    optimizer = Optimizer(model, settings("muon"))
    gradients_of(model, 1)
    optimizer.step(1.0)
    keys = optimizer.state().keys()
    assert "blocks.0.attention.query.weight:momentum" in keys
    assert {"embedding.weight:exp_avg", "embedding.weight:exp_avg_sq"} < keys
    assert not any("blocks.0.attention.query.weight:exp_avg" in key for key in keys)


# --- gradients


def test_gradients_lie_in_one_buffer() -> None:
    model = random_model()
    gradients = Optimizer(model, settings("muon")).gradients
    model(torch.arange(8)[None]).sum().backward()
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    assert gradients.norm() == pytest.approx(torch.stack(norms).norm().item(), rel=1e-6)
    assert gradients.buffer.numel() == model.config.parameters.total
    before = model.embedding.weight.grad.clone()
    gradients.scale(0.5)
    assert torch.equal(model.embedding.weight.grad, before * 0.5)
    gradients.clear()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows_in_the_norm(wrong: float) -> None:
    gradients = Optimizer(random_model(), settings("muon")).gradients
    gradients.buffer[7] = wrong
    assert not math.isfinite(gradients.norm())
