from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_shapes import SHAPES, random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.errors import ConfigError
from seedbed.evaluation.bits_per_byte import score_documents
from seedbed.generation.engine import generate
from seedbed.generation.sampling import SamplingSettings
from seedbed.model.attention import KVCache
from seedbed.model.inference import (
    Int8Linear,
    Precision,
    choose_inference_precision,
    for_inference,
)
from seedbed.model.layers import Linear
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.simple import ByteTokenizer

CPU = torch.device("cpu")
IDS = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(5))
FEWER: tuple[Precision, ...] = ("bf16", "int8")


def softened(name: str = "qwen3") -> Transformer:
    """Return a random model that rounding does not throw far off."""
    model = random_model(name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(0.3)
    return model


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the root mean square of the error, in deviations of what is wanted."""
    return float((found.float() - wanted).square().mean().sqrt() / wanted.std())


@torch.no_grad()
@pytest.mark.parametrize("precision", FEWER)
@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_near_those_in_float32(name: str, precision: Precision) -> None:
    model = softened(name)
    wanted = model(IDS)
    logits = for_inference(model, precision)(IDS)
    assert logits.dtype == {"bf16": torch.bfloat16, "int8": torch.float32}[precision]
    assert 0 < distance(logits, wanted) < {"bf16": 0.02, "int8": 0.03}[precision]


@torch.no_grad()
@pytest.mark.parametrize("name", SHAPES)
def test_joined_matrices_give_the_same_logits(name: str) -> None:
    model = random_model(name)
    wanted = model(IDS)
    read = for_inference(model, "fp32")
    assert torch.allclose(read(IDS), wanted, atol=1e-5)
    cache = KVCache(model.config, batch_size=2)
    pieces = [read(part, cache) for part in IDS.split([7, 1, 1, 9, 6], dim=1)]
    assert torch.allclose(torch.cat(pieces, 1), wanted, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("precision", FEWER)
@pytest.mark.parametrize("name", ["qwen3", "llama-gqa", "gpt2", "gpt2-sinusoidal", "arcee"])
def test_cached_logits_are_near_uncached(name: str, precision: Precision) -> None:
    model = for_inference(softened(name), precision)
    cache = KVCache(model.config, batch_size=2, dtype=model.compute_dtype)
    pieces = [model(part, cache) for part in IDS.split([7, 1, 1, 9, 6], dim=1)]
    assert distance(torch.cat(pieces, 1), model(IDS).float()) < 0.02


@torch.no_grad()
@pytest.mark.parametrize("precision", FEWER)
def test_left_padded_rows_are_near_rows_alone(precision: Precision) -> None:
    model = for_inference(softened(), precision)
    padded = IDS.clone()
    padded[1, :5] = 0
    cache = KVCache(
        model.config, batch_size=2, padding=torch.tensor([0, 5]), dtype=model.compute_dtype
    )
    logits = torch.cat([model(part, cache) for part in padded.split([20, 3, 1], 1)], 1)
    assert distance(logits[:1], model(IDS[:1]).float()) < 0.02
    assert distance(logits[1:, 5:], model(IDS[1:, 5:]).float()) < 0.02


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 40)])
def test_an_int8_layer_rounds_each_weight_by_half_a_step(
    bias: bool, shape: tuple[int, int]
) -> None:
    layer = Linear(64, 48, bias=bias)
    layer.weight[5] = 0.0
    small = Int8Linear(layer)
    assert small.weight.dtype == torch.int8
    step = small.scale.float()[:, None]
    error = (small.weight * step - layer.weight).abs()
    assert bool((error <= 0.51 * step + 1e-9).all())
    x = torch.randn(*shape, 64, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    wanted = x.float() @ (small.weight * step).T
    if small.bias is not None:
        wanted += small.bias.float()
    found = small(x)
    assert found.shape == (*shape, 48)
    assert distance(found, wanted) < 0.01


def test_all_matrices_but_the_embedding_are_8_bits() -> None:
    model = for_inference(random_model(), "int8")
    assert not any(isinstance(module, Linear) for module in model.modules())
    assert [name for name, p in model.named_parameters() if p.ndim == 2] == ["embedding.weight"]


@pytest.mark.parametrize("precision", FEWER)
def test_text_is_written_and_scored_in_a_precision(precision: str, tmp_path: Path) -> None:
    tokenizer = ByteTokenizer()
    save_checkpoint(
        tmp_path / "model", random_model(vocab_size=tokenizer.vocab_size), tokenizer, facts={}
    )
    plain, fewer = (
        load_checkpoint(tmp_path / "model", "cpu", p).model for p in ("fp32", precision)
    )
    document = tokenizer.encode("Once upon a time")
    scores = [
        score_documents(
            m, [document], [16], bos=tokenizer.special.bos, dtype=m.compute_dtype
        ).bits_per_byte
        for m in (plain, fewer)
    ]
    assert scores[0] != scores[1]
    assert scores[1] == pytest.approx(scores[0], rel=0.05)
    sampling = SamplingSettings(temperature=0)
    [made] = generate(fewer, tokenizer, ["Once"], max_new_tokens=60, sampling=sampling)
    assert made.tokens > 1


@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16", "int8"])
def test_a_processor_computes_in_what_is_asked_and_auto_is_exact(asked: str) -> None:
    assert choose_inference_precision(asked, CPU) == ("fp32" if asked == "auto" else asked)


def test_a_precision_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`precision` is 'fp8' but must be auto, fp32, bf16"):
        choose_inference_precision("fp8", CPU)
    with pytest.raises(ConfigError, match=r"int8, .* the device is cuda"):
        choose_inference_precision("int8", torch.device("cuda"))
