"""The one model: a pre-norm decoder whose parts are chosen by `ModelConfig`.

Shapes: batch, time (positions of the sequence), d_model, heads, kv_heads, head_dim, vocab.
Weights are float32; activations have `compute_dtype`, and each layer casts its weights to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import LONGEST_WRITTEN_OUT, ModelConfig


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return x W^T + b, in the dtype of the input x."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class _RMSNormFunction(torch.autograd.Function):
    """RMS norm with a backward pass of its own.

    On a processor autograd takes three to four times as long: it keeps, and walks back through,
    every intermediate of the formula.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square().div(x.shape[-1]).add(eps).rsqrt().to(x.dtype)
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        normed, scale, weight = ctx.saved_tensors
        weight_gradient = (gradient * normed).flatten(0, -2).sum(0, dtype=torch.float32)
        scaled = gradient * weight.to(gradient.dtype)
        along = (scaled * normed).sum(-1, keepdim=True, dtype=torch.float32) / normed.shape[-1]
        x_gradient = torch.addcmul(scaled, normed, along.to(scaled.dtype), value=-1) * scale
        return x_gradient, weight_gradient.to(weight.dtype), None


class RMSNorm(nn.Module):
    """Divides by the root mean square (Zhang and Sennrich, 2019), then scales."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised over its last dimension."""
        if torch.is_grad_enabled():
            return _RMSNormFunction.apply(x, self.weight, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(nn.Module):
    """Layer normalisation whose bias can be left out."""

    def __init__(self, size: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised over its last dimension."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), bias, self.eps)


def make_norm(config: ModelConfig) -> nn.Module:
    """Return the norm that the config asks for, as wide as the model."""
    if config.norm == "rms":
        return RMSNorm(config.d_model, config.norm_eps)
    return LayerNorm(config.d_model, config.norm_eps, config.norm_bias)


class KVCache:
    """Keys and values of all positions seen, in buffers of a fixed size.

    Rows of unequal length are padded on the left; `padding` (batch,) counts the pads of each row.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        *,
        padding: Tensor | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch_size, config.num_kv_heads, config.context_length, config.head_dim)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in _layers(config)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in _layers(config)]
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


def _layers(config: ModelConfig) -> range:
    return range(config.num_layers)


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

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, ...] | None, cache: KVCache | None
    ) -> Tensor:
        """Return what each position gathers from those before it: (batch, time, d_model)."""
        split = (*x.shape[:2], -1, self.head_dim)
        q = self.query(x).view(split)  # (batch, time, heads, head_dim)
        k = self.key(x).view(split)  # (batch, time, kv_heads, head_dim)
        v = self.value(x).view(split)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if rotation is not None:
            q, k = (
                rotate(q, *rotation),
                rotate(k, *(table[..., : k.shape[2], :] for table in rotation)),
            )
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        mask = None
        if cache is not None:
            mask = cache.mask(x.shape[1])
            k, v = cache.extend(self.layer, k, v)
        causal = mask is None and q.shape[2] > 1
        dropout = self.dropout if self.training else 0.0
        attend = plain_attention if self.plain else attention_for(q)
        y = attend(q, k, v, mask=mask, causal=causal, dropout=dropout)
        return self.output(y.transpose(1, 2).flatten(2))


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
    """Return the same as `fused_attention`, step by step."""
    batch, heads, time, head_dim = q.shape
    groups = heads // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    keys = k.shape[2]
    if causal:
        mask = torch.ones(time, keys, dtype=torch.bool, device=q.device).tril()
    bias = q.new_zeros(1)  # then minus infinity where a query may not look
    if mask is not None:
        bias = q.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))
        bias = bias.expand(batch, heads, time, keys).flatten(0, 1) if mask.ndim == 4 else bias
    scores = torch.baddbmm(bias, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=1 / math.sqrt(head_dim))
    weights = F.dropout(scores.softmax(-1), dropout)
    return (weights @ v.flatten(0, 1)).view(batch, heads, time, head_dim)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return `x` (batch, time, heads, head_dim) with its two halves rotated (RoPE, Su 2021).

    `cos` and `sin` are (time or batch x time, heads, head_dim), sin negated in its first half.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), sin)


class MLP(nn.Module):
    """The position-wise part: SwiGLU (Shazeer, 2020), GELU, or squared ReLU (So, 2021)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind = config.mlp
        self.up = Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.bias)
        self.gate = None
        if config.mlp == "swiglu":
            self.gate = Linear(config.d_model, config.d_ff, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, time, d_model)."""
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        if self.kind == "gelu":
            return self.down(F.gelu(self.up(x), approximate="tanh"))
        return self.down(F.relu(self.up(x)).square())


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
        self, x: Tensor, rotation: tuple[Tensor, ...] | None, cache: KVCache | None
    ) -> Tensor:
        """Return the stream after this block: (batch, time, d_model)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotation, cache))
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
        self.blocks = nn.ModuleList(Block(config, layer) for layer in _layers(config))
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

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits (batch, time, vocab) for token ids (batch, time).

        With a cache, `ids` follow what it holds, and are added to it.
        """
        x = self.hidden_states(ids, cache)
        return self.head(x)

    def hidden_states(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return what the head reads: (batch, time, d_model)."""
        time = ids.shape[1]
        if cache is None:
            positions = torch.arange(time, device=ids.device)
        else:
            positions = cache.positions(time)
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
            x = block(x, rotation, cache)
        if cache is not None:
            cache.length += time
        return self.norm(x)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, ...]:
        """Return cos and sin as `rotate` wants them: one for each head, which reads faster."""
        heads = self.config.num_heads
        tables = (table[positions].to(self.compute_dtype) for table in (self.cos, self.sin))
        return tuple(t.unsqueeze(-2).repeat_interleave(heads, -2) for t in tables)


def rope_tables(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cos and sin of position times frequency for `rotate`, each (length, head_dim)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angles = torch.outer(torch.arange(length, dtype=torch.float32), 1.0 / theta**exponents)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


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
