"""The same model in the words of stock `transformers` classes: config.json and weight names.

`to_stock` and `from_stock` are inverse. GPT-2 stores linear weights transposed, fuses query, key
and value, and always has biases; the others name the parts one by one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seedbed.config import build
from seedbed.errors import CheckpointError
from seedbed.model.config import ModelConfig
from seedbed.model.stock_config import shape_of_stock
from seedbed.model.transformer import sinusoidal_table

_ARCHITECTURES = {
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "arcee": "ArceeForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}

# Our name for a part -> its name in Qwen3, Llama and Arcee.
_LLAMA_TOP = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
}
_LLAMA_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
_GPT2_BLOCK = {"attention_norm": "ln_1", "mlp_norm": "ln_2"}
_GPT2_LINEAR = {"attention.output": "attn.c_proj", "mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj"}


def stock_config(config: ModelConfig, *, bos: int, eos: int) -> dict[str, Any]:
    """Return config.json for the stock class; our own fields ride along under `seedbed`."""
    common: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[config.stock_class]],
        "model_type": config.stock_class,
        "vocab_size": config.vocab_size,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "tie_word_embeddings": config.tie_embeddings,
        "torch_dtype": "float32",
        "use_cache": True,
        "seedbed": config.model_dump(mode="json"),
    }
    if config.stock_class == "gpt2":
        return common | _gpt2_fields(config)
    return common | _llama_fields(config)


def _llama_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context_length,
        "hidden_act": "relu2" if config.mlp == "relu2" else "silu",
        "rms_norm_eps": config.norm_eps,
        # transformers 4 reads the first, 5 the second; either alone is silently ignored by one.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
    }


def _gpt2_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_embd": config.d_model,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": config.d_ff,
        "n_positions": config.context_length,
        "n_ctx": config.context_length,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "attn_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
    }


def model_config(stock: dict[str, Any]) -> ModelConfig:
    """Return the ModelConfig of a config.json: as Seedbed wrote it, or of a stock class.

    Raises CheckpointError for a class, or a setting of it, that our model does not compute.
    """
    return build(ModelConfig, stock["seedbed"]) if "seedbed" in stock else shape_of_stock(stock)


def to_stock(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our weights under the stock class' names, each with storage of its own."""
    translate = _to_gpt2 if config.stock_class == "gpt2" else _to_llama
    weights = translate(config, state)
    if config.tie_embeddings:
        weights = {k: v for k, v in weights.items() if k != "lm_head.weight"}
    return {name: weight.detach().clone().contiguous() for name, weight in weights.items()}


def from_stock(config: ModelConfig, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of our model from the stock class' weights.

    Raises CheckpointError, naming it, when a weight is missing.
    """
    translate = _from_gpt2 if config.stock_class == "gpt2" else _from_llama
    try:
        state = translate(config, weights)
    except KeyError as error:
        raise CheckpointError(f"The weights lack {error.args[0]!r}.") from None
    if config.tie_embeddings:
        state["head.weight"] = state["embedding.weight"]
    return state


def _llama_names(config: ModelConfig) -> dict[str, str]:
    parts = dict(_LLAMA_BLOCK)
    if config.mlp != "swiglu":
        del parts["mlp.gate"]
    if not config.qk_norm:
        del parts["attention.query_norm"], parts["attention.key_norm"]
    names = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _LLAMA_TOP.items()}
    for i in range(config.num_layers):
        for ours, theirs in parts.items():
            names[f"blocks.{i}.{ours}.weight"] = f"model.layers.{i}.{theirs}.weight"
    return names


def _to_llama(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {theirs: state[ours] for ours, theirs in _llama_names(config).items()}


def _from_llama(config: ModelConfig, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    tied = "head.weight" if config.tie_embeddings else None
    names = _llama_names(config).items()
    return {ours: weights[theirs] for ours, theirs in names if ours != tied}


def _to_gpt2(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    def bias(name: str, size: int) -> Tensor:
        return state.get(f"{name}.bias", torch.zeros(size))

    positions = state.get("positions.weight")
    if positions is None:
        positions = sinusoidal_table(config.context_length, config.d_model)
    weights = {
        "transformer.wte.weight": state["embedding.weight"],
        "transformer.wpe.weight": positions,
        "transformer.ln_f.weight": state["norm.weight"],
        "transformer.ln_f.bias": bias("norm", config.d_model),
        "lm_head.weight": state["head.weight"],
    }
    for i in range(config.num_layers):
        block, stock = f"blocks.{i}", f"transformer.h.{i}"
        for ours, theirs in _GPT2_BLOCK.items():
            weights[f"{stock}.{theirs}.weight"] = state[f"{block}.{ours}.weight"]
            weights[f"{stock}.{theirs}.bias"] = bias(f"{block}.{ours}", config.d_model)
        for ours, theirs in _GPT2_LINEAR.items():
            weight = state[f"{block}.{ours}.weight"]
            weights[f"{stock}.{theirs}.weight"] = weight.T
            weights[f"{stock}.{theirs}.bias"] = bias(f"{block}.{ours}", weight.shape[0])
        qkv = [f"{block}.attention.{part}" for part in ("query", "key", "value")]
        fused = torch.cat([state[f"{name}.weight"] for name in qkv]).T
        weights[f"{stock}.attn.c_attn.weight"] = fused
        weights[f"{stock}.attn.c_attn.bias"] = torch.cat([bias(n, config.d_model) for n in qkv])
    return weights


def _from_gpt2(config: ModelConfig, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = _with_prefix(weights)
    state = {"embedding.weight": weights["transformer.wte.weight"]}

    def take(ours: str, theirs: str, *, bias: bool) -> None:
        weight = weights[f"{theirs}.weight"]
        state[f"{ours}.weight"] = weight if weight.ndim == 1 else weight.T
        if bias:
            state[f"{ours}.bias"] = weights[f"{theirs}.bias"]

    if config.position == "learned":
        state["positions.weight"] = weights["transformer.wpe.weight"]
    if not config.tie_embeddings:
        state["head.weight"] = weights["lm_head.weight"]
    take("norm", "transformer.ln_f", bias=config.norm_bias)
    for i in range(config.num_layers):
        block, stock = f"blocks.{i}", f"transformer.h.{i}"
        for ours, theirs in _GPT2_BLOCK.items():
            take(f"{block}.{ours}", f"{stock}.{theirs}", bias=config.norm_bias)
        for ours, theirs in _GPT2_LINEAR.items():
            take(f"{block}.{ours}", f"{stock}.{theirs}", bias=config.bias)
        qkv = weights[f"{stock}.attn.c_attn.weight"].T.chunk(3)
        biases = weights[f"{stock}.attn.c_attn.bias"].chunk(3)
        for part, weight, bias in zip(("query", "key", "value"), qkv, biases, strict=True):
            state[f"{block}.attention.{part}.weight"] = weight
            if config.bias:
                state[f"{block}.attention.{part}.bias"] = bias
    return state


def _with_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the names of the class with a head, where GPT-2 itself was published without one."""
    if "wte.weight" not in weights:
        return weights
    return {f"transformer.{name}": weight for name, weight in weights.items()}
