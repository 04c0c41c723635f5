from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model_shapes import SHAPES, random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.data.batches import Batch
from seedbed.distributed import World
from seedbed.errors import CheckpointError, ConfigError
from seedbed.model.layers import Linear
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.simple import ByteTokenizer
from seedbed.training.config import LoraSettings, OptimizerSettings
from seedbed.training.lora import (
    LoraLinear,
    adapter_state,
    add_lora,
    init_adapter,
    load_adapter,
)
from seedbed.training.optimizers import Optimizer
from seedbed.training.step import make_loss, train_step

IDS = torch.randint(0, 96, (4, 13), generator=torch.Generator().manual_seed(4))
BATCH = Batch(IDS[:, :-1], IDS[:, 1:])
RATES = {"learning_rate": 0.01, "matrix_learning_rate": 0.02, "momentum": 0.9, "beta1": 0.9,
         "beta2": 0.95,
         "weight_decay": 0.1}  # fmt: skip
ALL = {"query", "key", "value", "output", "gate", "up", "down"}


def adapted(name: str = "qwen3", *, seed: int = 1, **fields: Any) -> Transformer:
    model = random_model(name)
    add_lora(model, LoraSettings.model_validate({"rank": 4, **fields}), seed)
    return model


def changed(name: str = "qwen3", **fields: Any) -> Transformer:
    """Return a model whose adapter is all random."""
    model = adapted(name, **fields)
    generator = torch.Generator().manual_seed(8)
    noise = {k: torch.randn(t.shape, generator=generator) for k, t in adapter_state(model).items()}
    load_adapter(model, {name: 0.2 * tensor for name, tensor in noise.items()})
    return model


def logits_of(model: Transformer) -> Tensor:
    with torch.no_grad():
        return model(IDS)


class Trainer:
    """A model with what a step needs."""

    def __init__(self, model: Transformer, kind: str = "adamw", **rates: float) -> None:
        self.model = model
        settings = {"kind": kind, **RATES, **rates}
        self.optimizer = Optimizer(model, OptimizerSettings.model_validate(settings))

    def steps(self, count: int, multiplier: float = 1.0) -> float:
        """Return the loss at the last of `count` steps on the batch."""
        metrics = [
            train_step(
                [BATCH],
                loss_sum=make_loss(self.model),
                optimizer=self.optimizer,
                multiplier=multiplier,
                clip_norm=1.0,
                world=World(),
                loss_scale=None,
                reseed=int,
            )
            for _ in range(count)
        ]
        return metrics[-1].loss


# --- what it computes


def test_the_change_is_alpha_over_rank_times_b_a_x() -> None:
    layer = LoraLinear(Linear(3, 2, bias=True), rank=1, scale=6.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))
        layer.bias.copy_(torch.tensor([0.5, -0.5]))
        layer.lora_a.copy_(torch.tensor([[1.0, 1.0, 0.0]]))
        layer.lora_b.copy_(torch.tensor([[2.0], [-1.0]]))
    x = torch.tensor([1.0, 2.0, 3.0])  # W x + b = (7.5, 1.5), A x = 3, B A x = (6, -3)
    assert layer(x).tolist() == [7.5 + 6 * 6, 1.5 - 6 * 3]


def test_alpha_is_twice_the_rank_unless_said() -> None:
    assert LoraSettings(rank=4).scale == LoraSettings(rank=16).scale == 2.0
    assert LoraSettings(rank=16, alpha=4.0).scale == 0.25


@pytest.mark.parametrize("name", SHAPES)
def test_an_adapted_model_begins_as_what_it_was(name: str) -> None:
    assert torch.equal(logits_of(adapted(name)), logits_of(random_model(name)))


@pytest.mark.parametrize("name", SHAPES)
def test_merged_weights_compute_what_the_adapted_model_does(name: str) -> None:
    model, plain = changed(name), random_model(name)
    before = logits_of(plain)
    plain.load_state_dict(model.state_dict())
    largest = logits_of(model).abs().max()  # around 10: what rounding is relative to
    assert (logits_of(plain) - logits_of(model)).abs().max() < 1e-5 * largest
    assert (before - logits_of(model)).abs().max() > 0.1 * largest


def test_it_computes_in_the_dtype_of_the_model() -> None:
    model = changed()
    wanted = logits_of(model)
    model.compute_dtype = torch.bfloat16
    made = model(IDS)
    assert made.dtype == torch.bfloat16
    assert (made.float() - wanted).abs().mean() < 0.05 * wanted.abs().mean()
    make_loss(model)(*BATCH.tensors).backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


# --- which layers


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "arcee"])
def test_all_linear_layers_of_the_blocks_are_changed_unless_said(name: str) -> None:
    names = {key.split(".")[-2] for key in adapter_state(adapted(name))}
    assert names == (ALL if name == "qwen3" else ALL - {"gate"})


def test_only_the_targets_are_changed() -> None:
    model = adapted(targets=("query", "value"))
    assert list(adapter_state(model))[:4] == [
        "blocks.0.attention.query.lora_a",
        "blocks.0.attention.query.lora_b",
        "blocks.0.attention.value.lora_a",
        "blocks.0.attention.value.lora_b",
    ]
    assert {key.split(".")[-2] for key in adapter_state(model)} == {"query", "value"}


def test_a_target_that_the_shape_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`lora.targets` has gate, .*mlp=gelu"):
        adapted("gpt2", targets=("up", "gate"))


def test_a_seed_decides_what_it_begins_with() -> None:
    first, same, other = adapted(seed=1), adapted(seed=1), adapted(seed=2)
    key = "blocks.1.mlp.down.lora_a"
    assert torch.equal(adapter_state(first)[key], adapter_state(same)[key])
    assert not torch.equal(adapter_state(first)[key], adapter_state(other)[key])


def test_a_changed_model_begins_anew() -> None:
    model = changed()
    init_adapter(model, 1)
    assert torch.equal(logits_of(model), logits_of(random_model()))
    wanted = adapter_state(adapted(seed=1))
    assert all(torch.equal(t, wanted[name]) for name, t in adapter_state(model).items())


# --- its state


@pytest.mark.parametrize("name", SHAPES)
def test_its_state_has_the_names_of_a_plain_model(name: str) -> None:
    plain, model = random_model(name).state_dict(), changed(name).state_dict()
    assert list(model) == list(plain)
    assert not any(tensor.requires_grad for tensor in model.values())


@pytest.mark.parametrize("name", ["qwen3", "gpt2-untied"])
def test_a_checkpoint_of_it_is_like_any_other(name: str, tmp_path: Path) -> None:
    tokenizer = ByteTokenizer()
    model = random_model(name, vocab_size=tokenizer.vocab_size)
    add_lora(model, LoraSettings(rank=4), seed=1)
    Trainer(model).steps(3)
    save_checkpoint(tmp_path / "saved", model, tokenizer, facts={"step": 3})
    loaded = load_checkpoint(tmp_path / "saved").model
    wanted = logits_of(model)
    assert (logits_of(loaded) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert adapter_state(loaded) == {}


def test_plain_weights_fill_the_frozen_ones_alone() -> None:
    model, base = changed("gpt2"), Transformer(random_model("gpt2").config)
    adapter = {name: tensor.clone() for name, tensor in adapter_state(model).items()}
    model.load_state_dict(base.state_dict())
    assert all(torch.equal(t, adapter[name]) for name, t in adapter_state(model).items())
    frozen = dict(model.named_parameters())
    assert all(torch.equal(p, frozen[name]) for name, p in base.named_parameters())


def test_a_plain_weight_that_is_missing_is_told() -> None:
    weights = random_model().state_dict()
    del weights["blocks.0.mlp.up.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*blocks\.0\.mlp\.up\.weight"):
        adapted().load_state_dict(weights)


@pytest.mark.parametrize("fields", [{"rank": 2}, {"targets": ("query",)}])
def test_an_adapter_of_other_settings_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_adapter(adapted(), adapter_state(adapted(**fields)))


# --- how it learns


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_only_the_adapter_learns(name: str, kind: str) -> None:
    model = adapted(name)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer = Trainer(model, kind)
    trainer.steps(3)
    ours = adapter_state(model)
    for key, parameter in model.named_parameters():
        assert torch.equal(parameter, before[key]) == (key not in ours), key
        assert (parameter.grad is None) == (key not in ours), key
    assert trainer.optimizer.gradients.buffer.numel() == sum(t.numel() for t in ours.values())
    assert {key.split(":")[0] for key in trainer.optimizer.state()} == set(ours)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_training_goes_on_exactly_from_an_adapter(kind: str) -> None:
    first = Trainer(adapted(), kind)
    first.steps(3)
    saved = {name: tensor.clone() for name, tensor in adapter_state(first.model).items()}
    optimizer = {name: tensor.clone() for name, tensor in first.optimizer.state().items()}
    second = Trainer(adapted(seed=2), kind)
    load_adapter(second.model, saved)
    second.optimizer.load_state(optimizer)
    assert first.steps(3) == second.steps(3)
    resumed = adapter_state(second.model)
    assert all(torch.equal(t, resumed[name]) for name, t in adapter_state(first.model).items())


@pytest.mark.parametrize("rank", [8, None])
def test_one_batch_is_learned_by_heart(rank: int | None) -> None:
    model = random_model()
    if rank is not None:
        add_lora(model, LoraSettings(rank=rank), seed=1)
    trainer = Trainer(model, weight_decay=0.0)
    assert trainer.steps(1) > 6
    trainer.steps(150)
    assert trainer.steps(50, multiplier=0.1) < 0.02  # frozen, the head allows for 0.012
