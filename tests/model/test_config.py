from __future__ import annotations

from typing import Any

import pytest

from model_shapes import SHAPES, small
from seedbed.config import build
from seedbed.errors import ConfigError
from seedbed.model.config import (
    PRESETS,
    ModelConfig,
    ModelSettings,
    parse_size,
    solve_shape,
)

NAMED = {
    "1m": 1_000_000,
    "3m": 3_000_000,
    "10m": 10_000_000,
    "30m": 30_000_000,
    "100m": 100_000_000,
    "300m": 300_000_000,
    "tiny": 50_000_000,
    "small": 100_000_000,
    "medium": 300_000_000,
}
VOCABULARIES = (260, 4096, 32768, 50260)


def resolved(vocab_size: int = 4096, **said: Any) -> ModelConfig:
    return build(ModelSettings, said).resolve(vocab_size)


# --- counts that others have published


def test_gpt2_small_has_the_count_of_the_paper() -> None:
    gpt2 = resolved(50257, preset="gpt2", d_model=768, num_layers=12, num_heads=12,
                    context_length=1024)  # fmt: skip
    assert gpt2.d_ff == 3072
    assert gpt2.parameters.total == 124_439_808
    assert gpt2.parameters.embedding == 50257 * 768
    assert gpt2.parameters.positions == 1024 * 768
    assert gpt2.parameters.head == 0


def test_biases_in_norms_alone_are_counted_as_published() -> None:
    fields = {"d_model": 768, "num_layers": 12, "num_heads": 12, "d_ff": 2048,
              "preset": "gpt2", "bias": False, "context_length": 2048}  # fmt: skip
    mixed, without = resolved(32768, **fields, norm_bias=True), resolved(32768, **fields)
    assert mixed.parameters.total == 92_837_376
    assert without.parameters.total == 92_837_376 - 25 * 768


def test_norms_have_biases_where_linear_layers_have_unless_said() -> None:
    shape = {"preset": "gpt2", "d_model": 64, "num_layers": 2}
    assert resolved(**shape).norm_bias
    assert not resolved(**shape, bias=False).norm_bias
    assert not resolved(**shape, norm_bias=False).norm_bias
    assert not resolved(d_model=64, num_layers=2).norm_bias


def test_nanogpt_shapes_have_the_counts_it_prints() -> None:
    # nanoGPT prints the count without positions: "number of parameters: 10.65M" and 0.80M.
    fields = {"preset": "gpt2", "bias": False}
    baby = resolved(65, **fields, d_model=384, num_layers=6, num_heads=6, context_length=256)
    tiny = resolved(65, **fields, d_model=128, num_layers=4, num_heads=4, context_length=64)
    assert baby.parameters.total - baby.parameters.positions == 10_646_784
    assert tiny.parameters.total - tiny.parameters.positions == 795_904


def test_a_gated_model_is_counted_by_hand() -> None:
    shape = small("qwen3", vocab_size=10, d_model=8, num_layers=1, num_heads=2, num_kv_heads=1,
                  head_dim=4, d_ff=6)  # fmt: skip
    attention = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 2 * 4
    assert shape.parameters.blocks == attention + 3 * 8 * 6 + 2 * 8 + 8
    assert shape.parameters.total == shape.parameters.blocks + 80
    assert str(shape.parameters) == "448 parameters (80 embeddings, 368 in blocks)"


def test_training_flops_are_six_a_parameter_and_attention() -> None:
    shape = small("qwen3")
    counts = shape.parameters
    wanted = 6 * (counts.blocks + 96 * 32) + 12 * 2 * 32 * 24
    assert shape.training_flops_per_token == wanted
    assert shape.training_flops_in(6) == wanted - 12 * 2 * 32 * (24 - 6)


# --- sizes


FITTING = [(size, v) for size, n in NAMED.items() for v in VOCABULARIES if v * 32 < 0.9 * n]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("size", "vocab_size"), FITTING)
def test_a_size_is_kept_to_from_below(size: str, vocab_size: int, preset: str) -> None:
    shape = resolved(vocab_size, preset=preset, size=size)
    assert 0.95 * NAMED[size] <= shape.parameters.total <= NAMED[size]
    assert shape.d_model % 32 == shape.d_ff % 32 == 0
    assert shape.num_heads * shape.head_dim == shape.d_model
    if vocab_size * 64 < NAMED[size]:  # where there is a choice, the proportions are sound
        assert 1 <= shape.d_ff / shape.d_model <= 8
        assert 4 <= shape.d_model / shape.num_layers <= 512


@pytest.mark.parametrize(
    "said",
    [
        {"num_heads": 6},
        {"num_heads": 12},
        {"num_heads": 6, "preset": "gpt2"},
        {"num_heads": 8, "head_dim": 32, "preset": "gpt2", "d_model": 256},
        {"num_heads": 8, "head_dim": 32, "preset": "gpt2"},
        {"num_heads": 4, "preset": "relu2"},
        {"num_kv_heads": 2},
        {"num_kv_heads": 1},
        {"num_kv_heads": 3, "num_heads": 6},
        {"head_dim": 64},
        {"head_dim": 64, "preset": "gpt2"},
        {"head_dim": 96, "num_heads": 4},
        {"d_model": 384},
        {"num_layers": 6},
        {"d_model": 256, "num_layers": 8},
        {"d_ff": 1024},
        {"tie_embeddings": False},
        {"context_length": 2048, "preset": "gpt2"},
        {"position": "sinusoidal", "preset": "gpt2"},
        {"bias": False, "preset": "gpt2"},
    ],
)
def test_a_size_is_solved_for_around_what_is_said(said: dict[str, Any]) -> None:
    shape = resolved(size="10m", **said)
    assert 9_500_000 <= shape.parameters.total <= 10_000_000
    assert all(getattr(shape, k) == v for k, v in said.items() if k != "preset")


@pytest.mark.parametrize(
    ("size", "vocab_size"), [("1m", 32768), ("1m", 50260), ("0.1m", 4096), ("10", 260)]
)
def test_a_size_that_the_embedding_fills_is_refused(size: str, vocab_size: int) -> None:
    with pytest.raises(ConfigError, match=rf"`size` .*embedding alone takes {vocab_size * 32:,}"):
        resolved(vocab_size, size=size)


def test_a_contradiction_in_what_is_said_is_told_as_such() -> None:
    with pytest.raises(ConfigError, match=r"`head_dim` is 7: rope needs an even number"):
        resolved(size="10m", head_dim=7)
    with pytest.raises(ConfigError, match="`bias`"):
        resolved(size="10m", bias=True)
    with pytest.raises(ConfigError, match="`num_heads` is 4 but must be a multiple"):
        resolved(size="10m", num_heads=4, num_kv_heads=3)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1m", 1_000_000), ("0.8M", 800_000), ("800k", 800_000), ("0.1b", 100_000_000),
     ("12345", 12345), ("1_000_000", 1_000_000), (" tiny ", 50_000_000), ("Medium", 300_000_000)],
)  # fmt: skip
def test_a_size_is_a_count_or_a_name(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "big", "-1m", "0", "1mm", "1e6x", "m"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Write a count such as 1m or 0\.8m, or tiny"):
        parse_size(text)


@pytest.mark.parametrize("size", [800_000, 8e5])
def test_a_size_may_be_a_number(size: float) -> None:
    assert 760_000 <= resolved(size=size).parameters.total <= 800_000


def test_solving_is_deterministic() -> None:
    fixed = {"vocab_size": 4096}
    assert solve_shape(10_000_000, fixed) == solve_shape(10_000_000, fixed)


# --- refusals


@pytest.mark.parametrize(
    ("shape", "fields", "named"),
    [
        ("qwen3", {"norm": "layer"}, "norm"),
        ("qwen3", {"mlp": "gelu"}, "mlp"),
        ("qwen3", {"mlp": "relu2"}, "qk_norm"),
        ("qwen3", {"bias": True}, "bias"),
        ("qwen3", {"norm_bias": True}, "norm_bias"),
        ("arcee", {"norm_bias": True}, "norm_bias"),
        ("qwen3", {"position": "learned"}, "norm"),
        ("qwen3", {"head_dim": 7}, "head_dim"),
        ("qwen3", {"num_kv_heads": 3}, "num_heads"),
        ("arcee", {"norm": "layer"}, "norm"),
        ("gpt2", {"mlp": "swiglu"}, "mlp"),
        ("gpt2", {"qk_norm": True}, "qk_norm"),
        ("gpt2", {"num_kv_heads": 2}, "num_kv_heads"),
        ("gpt2", {"head_dim": 16}, "head_dim"),
        ("gpt2", {"norm": "rms"}, "norm"),
        ("qwen3", {"vocab_size": 0}, "vocab_size"),
        ("qwen3", {"num_layers": 0}, "num_layers"),
        ("qwen3", {"num_heads": 0}, "num_heads"),
        ("qwen3", {"dropout": 1.0}, "dropout"),
        ("qwen3", {"context_length": 1}, "context_length"),
        ("qwen3", {"attention": "flash"}, "attention"),
    ],
)
def test_a_shape_that_no_stock_class_computes_is_refused(
    shape: str, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"`{named}`"):
        small(shape, **fields)


@pytest.mark.parametrize(
    "wrong",
    [
        {"d_model": 0},
        {"d_model": -32},
        {"num_layers": 0},
        {"num_heads": 0},
        {"num_heads": -2},
        {"num_kv_heads": 0},
        {"head_dim": 0},
        {"d_ff": 0},
        {"context_length": 0},
    ],
)
@pytest.mark.parametrize("more", [{"size": "10m"}, {"d_model": 64, "num_layers": 2}, {}])
def test_a_number_out_of_range_is_refused_by_name(
    wrong: dict[str, int], more: dict[str, Any]
) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(ConfigError, match=f"`{name}` is {value}"):
        resolved(**{**more, **wrong})


@pytest.mark.parametrize("name", SHAPES)
def test_a_full_shape_resolves_to_itself(name: str) -> None:
    shape = small(name)
    said = shape.model_dump(exclude={"vocab_size"})
    assert ModelSettings.model_validate(said).resolve(shape.vocab_size) == shape
