from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from model_shapes import SHAPES, small
from seedbed.model.attention import KVCache, attention_for, fused_attention, plain_attention
from seedbed.model.config import QUERIES_AT_ONCE
from seedbed.model.layers import RMSNorm
from seedbed.model.transformer import Transformer, init_weights


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


@pytest.mark.parametrize("width", [32, 128, 1024])
def test_initial_loss_is_near_that_of_a_uniform_guess(width: int) -> None:
    model = Transformer(small(d_model=width))
    init_weights(model, 1)
    with torch.no_grad():
        logits = model(IDS[:, :-1]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, IDS[:, 1:].flatten())
    assert abs(loss.item() - math.log(96)) < 0.5


def test_the_norm_and_its_gradients_are_those_of_torch() -> None:
    x = torch.randn(3, 5, 16, requires_grad=True)
    norm = RMSNorm(16, eps=1e-3)
    with torch.no_grad():
        norm.weight.normal_(1.0, 0.5)
    reference = F.rms_norm(x, (16,), norm.weight, 1e-3)
    gradient = torch.randn_like(x)
    ours = torch.autograd.grad(norm(x), (x, norm.weight), gradient)
    theirs = torch.autograd.grad(reference, (x, norm.weight), gradient)
    torch.testing.assert_close(norm(x), reference)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("time", [70, 2 * QUERIES_AT_ONCE + 44])
def test_attention_written_out_in_bfloat16_goes_back_as_the_kernel_does(time: int) -> None:
    q, k, v = (torch.randn(2, heads, time, 32, dtype=torch.bfloat16) for heads in (4, 2, 2))
    gradient = torch.randn(2, 4, time, 32, dtype=torch.bfloat16)

    def gradients(attend: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, ...]:
        inputs = [t.detach().requires_grad_() for t in (q, k, v)]
        y = attend(*inputs, mask=None, causal=True, dropout=0.0)
        return (y, *torch.autograd.grad(y, inputs, gradient))

    assert attention_for(q) is plain_attention
    assert attention_for(q.float()) is attention_for(q[:, :, :1]) is fused_attention
    for ours, theirs in zip(gradients(plain_attention), gradients(fused_attention), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.05)


def test_dropout_of_attention_written_out_keeps_the_mean() -> None:
    q = torch.randn(64, 4, 16, 8)
    attend = partial(plain_attention, q, q, q, mask=None, causal=True)
    dropped = torch.stack([attend(dropout=0.5) for _ in range(200)])
    assert not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(dropped.mean((0, 1)), attend(dropout=0.0).mean(0), atol=0.1, rtol=0)
