"""Small models of every shape that a stock class computes."""

from __future__ import annotations

from typing import Any

import torch

from seedbed.config import build
from seedbed.model.config import PRESETS, ModelConfig
from seedbed.model.transformer import Transformer

BASE = {
    "vocab_size": 96, "context_length": 24, "d_model": 32, "num_layers": 2,
    "num_heads": 4, "num_kv_heads": 4, "head_dim": 8, "d_ff": 64,
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": PRESETS["modern"],
    "qwen3-untied-gqa": {"tie_embeddings": False, "num_kv_heads": 2},
    "qwen3-wide-heads": {"head_dim": 16},
    "llama-gqa": {**PRESETS["llama"], "num_kv_heads": 2},
    "llama-mqa-untied": {**PRESETS["llama"], "num_kv_heads": 1, "tie_embeddings": False},
    "llama-theta": {**PRESETS["llama"], "rope_theta": 500_000.0},
    "arcee": PRESETS["relu2"],
    "arcee-untied": {**PRESETS["relu2"], "tie_embeddings": False},
    "gpt2": PRESETS["gpt2"],
    "gpt2-no-bias": {**PRESETS["gpt2"], "bias": False},
    "gpt2-bias-in-norms": {**PRESETS["gpt2"], "bias": False, "norm_bias": True},
    "gpt2-bias-in-linears": {**PRESETS["gpt2"], "norm_bias": False},
    "gpt2-untied": {**PRESETS["gpt2"], "tie_embeddings": False},
    "gpt2-sinusoidal": {**PRESETS["gpt2"], "position": "sinusoidal"},
    "gpt2-sinusoidal-no-bias": {**PRESETS["gpt2"], "position": "sinusoidal", "bias": False},
}


def small(name: str = "qwen3", **fields: Any) -> ModelConfig:
    return build(ModelConfig, BASE, SHAPES[name], fields)


def random_model(name: str = "qwen3", **fields: Any) -> Transformer:
    """Return a model whose weights are all random, and large enough to say many things."""
    model = Transformer(small(name, **fields)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name_, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            large = name_.startswith(("embedding", "blocks")) and parameter.ndim == 2
            centre = 1.0 if name_.endswith("norm.weight") else 0.0
            parameter.copy_(noise * (0.4 if large else 0.2) + centre)
    return model
