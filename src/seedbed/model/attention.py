"""Causal self-attention and its cache: the part of a block in which positions meet.

Shapes: batch, time (positions of the sequence), d_model, heads, kv_heads, head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import LONGEST_WRITTEN_OUT, QUERIES_AT_ONCE, ModelConfig
from seedbed.model.layers import HeadNorm, Linear, RMSNorm, join


class KVCache:
    """Keys and values of all positions seen, in buffers of a fixed size: `capacity` positions.

    By default as many as the model's context. Rows of unequal length are padded on the left;
    `padding` (batch,) counts the pads of each row.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        *,
        capacity: int | None = None,
        padding: Tensor | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        positions = config.context_length if capacity is None else capacity
        shape = (batch_size, config.num_kv_heads, positions, config.head_dim)
        self.keys = [
            torch.empty(shape, device=device, dtype=dtype) for _ in range(config.num_layers)
        ]
        self.values = [
            torch.empty(shape, device=device, dtype=dtype) for _ in range(config.num_layers)
        ]
        self.padding = padding
        self.length = 0  # positions filled, pads included

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values (batch, kv_heads, time, head_dim); return all so far."""
        end = self.length + keys.shape[2]
        self.keys[layer][:, :, self.length : end] = keys
        self.values[layer][:, :, self.length : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def positions(self, time: int) -> Tensor:
        """Return the position of each new token: (time,), or (batch, time) with padding."""
        positions = torch.arange(self.length, self.length + time, device=self.keys[0].device)
        if self.padding is None:
            return positions
        return (positions - self.padding[:, None]).clamp(min=0)

    def mask(self, time: int) -> Tensor | None:
        """Return (batch or 1, 1, time, length + time), True where a query may look; None: all."""
        if self.padding is None and (time == 1 or self.length == 0):
            return None  # one query sees all; a first block is plain causal
        device = self.keys[0].device
        key = torch.arange(self.length + time, device=device)
        query = torch.arange(self.length, self.length + time, device=device)
        causal = (key <= query[:, None])[None, None]
        if self.padding is None:
            return causal
        visible = causal & (key >= self.padding[:, None, None, None])
        # A pad sees itself: a row with nothing to look at would be NaN.
        return visible | (key == query[:, None])


class Attention(nn.Module):
    """Causal self-attention, with rotary positions and normed queries and keys as configured."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.dropout = config.dropout
        self.plain = config.attention == "plain"
        width, kv_width = (n * config.head_dim for n in (config.num_heads, config.num_kv_heads))
        self.query = Linear(config.d_model, width, bias=config.bias)
        self.key = Linear(config.d_model, kv_width, bias=config.bias)
        self.value = Linear(config.d_model, kv_width, bias=config.bias)
        self.output = Linear(width, config.d_model, bias=config.bias)
        self.query_norm = self.key_norm = None
        if config.qk_norm:
            self.query_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.key_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.joined: Linear | None = None  # queries, keys and values: `join`
        self.joined_norm: HeadNorm | None = None

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, ...] | None,
        mask: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """Return what each position gathers from those before it: (batch, time, d_model).

        `mask` (batch or 1, 1, time, keys) is True where a query may look; without it, all that
        came before.
        """
        q, k, v = self._project(x, rotation)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        causal = mask is None and q.shape[2] > 1
        dropout = self.dropout if self.training else 0.0
        attend = plain_attention if self.plain else attention_for(q)
        y = attend(q, k, v, mask=mask, causal=causal, dropout=dropout)
        return self.output(y.transpose(1, 2).flatten(2))

    def _project(
        self, x: Tensor, rotation: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, normed and turned: (batch, time, heads, head_dim)."""
        split = (*x.shape[:2], -1, self.head_dim)
        if self.joined is not None:
            qk, v = self.joined(x).view(split).split(self.parts, dim=2)
            if self.joined_norm is not None:
                qk = self.joined_norm(qk)
            if rotation is not None:
                qk = rotate(qk, *(table[..., :1, :] for table in rotation))
            q, k = qk.split((qk.shape[2] - v.shape[2], v.shape[2]), dim=2)
            return q, k, v
        q = self.query(x).view(split)
        k = self.key(x).view(split)
        v = self.value(x).view(split)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if rotation is not None:
            q, k = (
                rotate(q, *rotation),
                rotate(k, *(table[..., : k.shape[2], :] for table in rotation)),
            )
        return q, k, v

    def join(self) -> None:
        """Compute queries, keys and values together from now on: fewer calls, for reading only."""
        layers = (self.query, self.key, self.value)
        widths = [layer.out_features // self.head_dim for layer in layers]
        self.parts = [widths[0] + widths[1], widths[2]]
        self.joined = join(layers)
        if self.query_norm is not None and self.key_norm is not None:
            self.joined_norm = HeadNorm((self.query_norm, self.key_norm), widths[:2])
        del self.query, self.key, self.value, self.query_norm, self.key_norm


def mask_between(documents: Tensor) -> Tensor:
    """Return (batch, 1, time, time), True where a token may look: at its own document so far.

    >>> mask_between(torch.tensor([[0, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    same = documents[:, :, None] == documents[:, None, :]
    return same.tril()[:, None]


def positions_within(documents: Tensor) -> Tensor:
    """Return the position of each token in its document: (batch, time).

    >>> positions_within(torch.tensor([[0, 0, 1, 1, 1, -1]])).tolist()
    [[0, 1, 0, 1, 2, 0]]
    """
    index = torch.arange(documents.shape[1], device=documents.device)
    begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    return index - torch.where(begins, index, 0).cummax(dim=1).values


def attention_for(q: Tensor) -> Callable[..., Tensor]:
    """Return the quicker of the two attentions for queries (batch, heads, time, head_dim).

    On a processor, torch's kernel takes twice as long to go back through bfloat16 as the formula
    written out.
    """
    written_out = (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and 1 < q.shape[2] <= LONGEST_WRITTEN_OUT
    )
    return plain_attention if written_out else fused_attention


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Return softmax(q k^T / sqrt(head_dim)) v through torch's fused kernels."""
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, enable_gqa=grouped)


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Return the same as `fused_attention`, step by step.

    Queries go by blocks, each with the keys before its end: what no query may see is not computed.
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    if not causal:
        return _attend(q, k, v, mask, dropout)
    blocks: list[Tensor] = []
    for start in range(0, q.shape[2], QUERIES_AT_ONCE):
        own = q[:, :, start : start + QUERIES_AT_ONCE]
        end = start + own.shape[2]
        triangle = torch.ones(own.shape[2], end, dtype=torch.bool, device=q.device).tril(start)
        blocks.append(_attend(own, k[:, :, :end], v[:, :, :end], triangle, dropout))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Return softmax(q k^T / sqrt(head_dim)) v; `mask` is (queries, keys), or (batch, 1) before."""
    batch, heads, time, head_dim = q.shape
    bias = q.new_zeros(1)  # then minus infinity where a query may not look
    if mask is not None:
        bias = q.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))
        shape = (batch, heads, time, k.shape[2])
        bias = bias.expand(shape).flatten(0, 1) if mask.ndim == 4 else bias
    scores = torch.baddbmm(bias, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=1 / math.sqrt(head_dim))
    weights = F.dropout(scores.softmax(-1), dropout)
    return (weights @ v.flatten(0, 1)).view(batch, heads, time, head_dim)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return `x` (batch, time, heads, head_dim) with its two halves rotated (RoPE, Su 2021).

    `cos` and `sin` are (time or batch x time, heads, head_dim), sin negated in its first half.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), sin)


def rope_tables(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cos and sin of position times frequency for `rotate`, each (length, head_dim)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angles = torch.outer(torch.arange(length, dtype=torch.float32), 1.0 / theta**exponents)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
