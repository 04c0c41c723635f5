"""The shape of a model that others trained, from its config.json. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.config import build
from seedbed.errors import CheckpointError
from seedbed.model.config import ModelConfig

# What a class may say of itself that our model does not compute otherwise.
_LLAMA_WANTED = {
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "hidden_act": ("silu",),
    "rope_scaling": (None,),
}
_WANTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "qwen3": _LLAMA_WANTED,
    "llama": _LLAMA_WANTED,
    "arcee": {**_LLAMA_WANTED, "hidden_act": ("relu2",)},
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
    },
}


def shape_of_stock(stock: Mapping[str, Any]) -> ModelConfig:
    """Return the shape that a config.json of a stock class tells.

    Raises CheckpointError, naming what it is, for a class or a setting that our model has not.

    >>> gpt2 = {"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024}
    >>> shape_of_stock({**gpt2, "n_embd": 768, "n_layer": 12, "n_head": 12}).parameters.total
    124439808
    """
    kind = str(stock.get("model_type"))
    if kind not in _WANTED:
        raise CheckpointError(
            f"config.json tells of a model of type {kind!r}. Seedbed computes {', '.join(_WANTED)}."
        )
    for setting, allowed in _WANTED[kind].items():
        value = stock.get(setting, allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f"config.json has `{setting}` {value!r}, which Seedbed does not compute: it would "
                f"have to be {' or '.join(map(repr, allowed))}."
            )
    try:
        fields = _gpt2_fields(stock) if kind == "gpt2" else _llama_fields(kind, stock)
    except KeyError as error:
        raise CheckpointError(f"config.json has no {error.args[0]!r}.") from None
    return build(ModelConfig, fields)


def _llama_fields(kind: str, stock: Mapping[str, Any]) -> dict[str, Any]:
    heads, width = stock["num_attention_heads"], stock["hidden_size"]
    rope = stock.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise CheckpointError(
            f"config.json has positions of type {rope['rope_type']!r}; Seedbed computes 'default'."
        )
    return {
        "vocab_size": stock["vocab_size"],
        "context_length": stock["max_position_embeddings"],
        "d_model": width,
        "num_layers": stock["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": stock.get("num_key_value_heads") or heads,
        "head_dim": stock.get("head_dim") or width // heads,
        "d_ff": stock["intermediate_size"],
        "mlp": "relu2" if kind == "arcee" else "swiglu",
        "qk_norm": kind == "qwen3",
        "tie_embeddings": stock.get("tie_word_embeddings", False),
        "rope_theta": rope.get("rope_theta") or stock.get("rope_theta") or 10_000.0,
        "norm_eps": stock.get("rms_norm_eps", 1e-6),
    }


def _gpt2_fields(stock: Mapping[str, Any]) -> dict[str, Any]:
    heads, width = stock["n_head"], stock["n_embd"]
    return {
        "vocab_size": stock["vocab_size"],
        "context_length": stock["n_positions"],
        "d_model": width,
        "num_layers": stock["n_layer"],
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": width // heads,
        "d_ff": stock.get("n_inner") or 4 * width,
        "position": "learned",
        "norm": "layer",
        "mlp": "gelu",
        "qk_norm": False,
        "bias": True,
        "tie_embeddings": stock.get("tie_word_embeddings", True),
        "norm_eps": stock.get("layer_norm_epsilon", 1e-5),
    }
