"""The one model: a pre-norm decoder whose parts are chosen by `ModelConfig`.

Shapes: batch, time (positions of the sequence), d_model, heads, head_dim, vocab.
Weights are float32; activations have `compute_dtype`, and each layer casts its weights to it.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from seedbed.model.attention import (
    Attention,
    KVCache,
    mask_between,
    positions_within,
    rope_tables,
)
from seedbed.model.config import ModelConfig
from seedbed.model.layers import MLP, Linear, make_norm


class Block(nn.Module):
    """Attention, then MLP, each on a normed copy of the stream and added to it."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(config, layer)
        self.mlp_norm = make_norm(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, ...] | None,
        mask: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """Return the stream after this block: (batch, time, d_model)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotation, mask, cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """The decoder. Set `compute_dtype` to choose the dtype of its activations."""

    position_table: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.positions = None
        if config.position == "learned":
            self.positions = nn.Embedding(config.context_length, config.d_model)
        elif config.position == "sinusoidal":
            table = sinusoidal_table(config.context_length, config.d_model)
            self.register_buffer("position_table", table, persistent=False)
        else:
            cos, sin = rope_tables(config.context_length, config.head_dim, config.rope_theta)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(
        self, ids: Tensor, cache: KVCache | None = None, documents: Tensor | None = None
    ) -> Tensor:
        """Return logits (batch, time, vocab) for token ids (batch, time).

        With a cache, `ids` follow what it holds, and are added to it. `documents` (batch, time)
        tells which document of its row a token is of, where there are several: none sees another,
        and each has its own positions.
        """
        x = self.hidden_states(ids, cache, documents)
        return self.head(x)

    def hidden_states(
        self, ids: Tensor, cache: KVCache | None = None, documents: Tensor | None = None
    ) -> Tensor:
        """Return what the head reads: (batch, time, d_model)."""
        time = ids.shape[1]
        mask = None
        if cache is not None:
            positions, mask = cache.positions(time), cache.mask(time)
        elif documents is not None:
            positions, mask = positions_within(documents), mask_between(documents)
        else:
            positions = torch.arange(time, device=ids.device)
        x = self.embedding(ids)
        rotation = None
        if self.config.position == "learned" and self.positions is not None:
            x = x + self.positions(positions)
        elif self.config.position == "sinusoidal":
            x = x + self.position_table[positions]
        else:
            rotation = self._rotation(positions)
        x = self.dropout(x.to(self.compute_dtype))
        for block in self.blocks:
            x = block(x, rotation, mask, cache)
        if cache is not None:
            cache.length += time
        return self.norm(x)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, ...]:
        """Return cos and sin as `rotate` wants them: one for each head, which reads faster."""
        heads = self.config.num_heads
        tables = (table[positions].to(self.compute_dtype) for table in (self.cos, self.sin))
        return tuple(t.unsqueeze(-2).repeat_interleave(heads, -2) for t in tables)


def sinusoidal_table(length: int, d_model: int) -> Tensor:
    """Return the fixed positions of Vaswani et al. (2017): (length, d_model)."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000.0) / d_model))
    table = torch.zeros(length, d_model)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


EMBEDDING_DEVIATION = 0.3
OWN_LOGIT = 2.5  # of the token that was just read, at the start, where the head is tied


def init_weights(model: Transformer, seed: int) -> None:
    """Fill the weights in place: the same for a seed on any device.

    Matrices are uniform with deviation 0.6 / sqrt(fan in); the ones that write into the stream
    start at zero, so that every block begins as the identity (nanochat). Embeddings are large
    beside what blocks soon add, so that deep layers still see which token stands where: with a
    deviation of 0.02 names are copied far later (docs/experiments.md). Where the head is tied, the
    final norm makes up for it, at any width; an untied head starts at zero.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = torch.zeros(parameter.shape)
            if name.endswith(("embedding.weight", "positions.weight")):
                value.normal_(0.0, EMBEDDING_DEVIATION, generator=generator)
            elif name.endswith(("output.weight", "down.weight", "head.weight")):
                pass
            elif parameter.ndim == 2:
                bound = 0.6 * math.sqrt(3 / parameter.shape[1])
                value.uniform_(-bound, bound, generator=generator)
            elif name.endswith("norm.weight"):
                value.fill_(1.0)
            parameter.copy_(value)
        if model.config.tie_embeddings:
            own = EMBEDDING_DEVIATION * model.config.d_model  # what the head reads times itself
            cast(Tensor, model.norm.weight).fill_(OWN_LOGIT / own)
