from __future__ import annotations

import math

import pytest
import torch

from model_shapes import SHAPES, small
from seedbed.model.transformer import KVCache, Transformer, init_weights


def random_model(name: str, **fields: object) -> Transformer:
    torch.manual_seed(3)
    model = Transformer(small(name, **fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3).add_(0.1 * torch.randn_like(parameter))
    return model


IDS = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", SHAPES)
def test_changing_a_token_changes_no_logit_before_it(name: str) -> None:
    model = random_model(name)
    for t in (1, 11, 23):
        changed = IDS.clone()
        changed[:, t] = (changed[:, t] + 1) % 96
        with torch.no_grad():
            before, after = model(IDS), model(changed)
        assert torch.equal(before[:, :t], after[:, :t])
        assert not torch.equal(before[:, t], after[:, t])


@pytest.mark.parametrize("name", SHAPES)
def test_cached_logits_equal_uncached(name: str) -> None:
    model = random_model(name)
    cache = KVCache(model.config, batch_size=2)
    with torch.no_grad():
        pieces = [model(part, cache) for part in IDS.split([7, 1, 1, 9, 6], dim=1)]
        assert torch.allclose(torch.cat(pieces, 1), model(IDS), atol=2e-6)


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gpt2-sinusoidal"])
def test_left_padded_rows_equal_rows_alone(name: str) -> None:
    model = random_model(name)
    padded = IDS.clone()
    padded[1, :5] = 0
    cache = KVCache(model.config, batch_size=2, padding=torch.tensor([0, 5]))
    with torch.no_grad():
        logits = torch.cat([model(part, cache) for part in padded.split([20, 3, 1], 1)], 1)
        assert torch.allclose(logits[:1], model(IDS[:1]), atol=2e-6)
        assert torch.allclose(logits[1:, 5:], model(IDS[1:, 5:]), atol=2e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_plain_attention_equals_fused(name: str) -> None:
    fused = random_model(name)
    plain = Transformer(small(name, attention="plain")).eval()
    plain.load_state_dict(fused.state_dict())
    with torch.no_grad():
        assert torch.allclose(fused(IDS), plain(IDS), atol=2e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_counts_are_exact(name: str) -> None:
    model = Transformer(small(name))
    counts = model.config.parameters
    assert counts.total == sum(p.numel() for p in model.parameters())
    outside = [model.embedding, model.positions, None if counts.head == 0 else model.head]
    assert counts.total - counts.blocks == sum(m.weight.numel() for m in outside if m is not None)


def test_a_seed_decides_the_initial_weights() -> None:
    models = [Transformer(small()) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        init_weights(model, seed)
    assert torch.equal(models[0].embedding.weight, models[1].embedding.weight)
    assert not torch.equal(models[0].embedding.weight, models[2].embedding.weight)


def test_initial_loss_is_that_of_a_uniform_guess() -> None:
    model = Transformer(small())
    init_weights(model, 1)
    with torch.no_grad():
        logits = model(IDS[:, :-1]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, IDS[:, 1:].flatten())
    assert abs(loss.item() - math.log(96)) < 0.1
