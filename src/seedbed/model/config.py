"""The shape of a model: its fields, presets, named sizes, and exact counts. No torch.

Every shape that can be configured is one that a stock `transformers` class computes
(`stock_class`), so a checkpoint loads anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from seedbed.config import Settings, build, merge
from seedbed.errors import ConfigError

LONGEST_WRITTEN_OUT = 1024  # positions, where attention keeps a weight for each pair of them
QUERIES_AT_ONCE = 128  # of attention written out: each block of them sees the keys before its end
StockClass = Literal["qwen3", "llama", "arcee", "gpt2"]


class ModelConfig(Settings):
    """The full shape of one decoder. Sizes are in numbers of elements."""

    vocab_size: int = Field(gt=0)
    context_length: int = Field(default=256, gt=1)
    d_model: int = Field(gt=0)
    num_layers: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    num_kv_heads: int = Field(gt=0)  # fewer than num_heads: grouped-query attention
    head_dim: int = Field(gt=0)
    d_ff: int = Field(gt=0)  # width inside the MLP
    position: Literal["rope", "learned", "sinusoidal"] = "rope"
    norm: Literal["rms", "layer"] = "rms"
    mlp: Literal["swiglu", "gelu", "relu2"] = "swiglu"
    qk_norm: bool = True
    bias: bool = False  # in linear layers
    norm_bias: bool = False  # in layer norms; unless said, as `bias`
    tie_embeddings: bool = True  # the output head is the token embedding
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    rope_theta: float = Field(default=10_000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0)
    attention: Literal["sdpa", "plain"] = "sdpa"  # plain: the formula, written out

    @model_validator(mode="before")
    @classmethod
    def _norms_follow_linear_layers(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "bias" in fields:
            return {"norm_bias": fields["bias"], **fields}  # pyright: ignore[reportUnknownVariableType]
        return fields  # pyright: ignore[reportUnknownVariableType]

    @model_validator(mode="after")
    def _fields_fit_together(self) -> ModelConfig:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"`num_heads` is {self.num_heads} but must be a multiple of `num_kv_heads`, "
                f"{self.num_kv_heads}."
            )
        if self.position == "rope" and self.head_dim % 2:
            raise ValueError(f"`head_dim` is {self.head_dim}: rope needs an even number.")
        if self.position == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"`d_model` is {self.d_model}: sinusoidal needs an even number.")
        for field, wanted in self._wanted_by_stock_class().items():
            if getattr(self, field) != wanted:
                raise ValueError(
                    f"`{field}` is {getattr(self, field)!r} but must be {wanted!r} with "
                    f"position={self.position}, mlp={self.mlp}: otherwise no stock class "
                    f"({self.stock_class} is the nearest) could load the model."
                )
        return self

    @property
    def stock_class(self) -> StockClass:
        """The `model_type` of the stock `transformers` class that computes this shape."""
        if self.position != "rope":
            return "gpt2"
        if self.mlp == "relu2":
            return "arcee"
        return "qwen3" if self.qk_norm else "llama"

    def _wanted_by_stock_class(self) -> dict[str, Any]:
        if self.stock_class == "gpt2":
            return {
                "norm": "layer",
                "mlp": "gelu",
                "qk_norm": False,
                "num_kv_heads": self.num_heads,
                "head_dim": self.d_model // self.num_heads,
                "d_model": self.head_dim * self.num_heads,
            }
        gated = "relu2" if self.mlp == "relu2" else "swiglu"
        qk_norm = self.stock_class == "qwen3"
        unbiased = {"bias": False, "norm_bias": False}
        return {"norm": "rms", "mlp": gated, "qk_norm": qk_norm, **unbiased}

    @property
    def parameters(self) -> ParameterCount:
        """Exact parameter counts; a fixed sinusoidal table is not a parameter."""
        return ParameterCount(
            embedding=self.vocab_size * self.d_model,
            positions=self.context_length * self.d_model if self.position == "learned" else 0,
            blocks=self.num_layers * self._block_parameters + self._norm_parameters,
            head=0 if self.tie_embeddings else self.vocab_size * self.d_model,
        )

    @property
    def _norm_parameters(self) -> int:
        return self.d_model * (2 if self.norm_bias else 1)

    @property
    def _block_parameters(self) -> int:
        d, queries = self.d_model, self.num_heads * self.head_dim
        keys = self.num_kv_heads * self.head_dim
        matrices = 2 * d * queries + 2 * d * keys
        matrices += (3 if self.mlp == "swiglu" else 2) * d * self.d_ff
        biases = queries + 2 * keys + d + self.d_ff + d if self.bias else 0
        qk_norms = 2 * self.head_dim if self.qk_norm else 0
        return matrices + biases + qk_norms + 2 * self._norm_parameters

    @property
    def training_flops_per_token(self) -> int:
        """Floating-point operations for one token forward and backward, at the context length."""
        return self.training_flops_in(self.context_length)

    def training_flops_in(self, window: int) -> int:
        """Return the floating-point operations for one token of a sequence of `window`.

        Forward and backward: 6 for each parameter that multiplies, and 12 L H Q T for attention
        (PaLM, appendix B).
        """
        counts = self.parameters
        multiplying = counts.blocks + self.vocab_size * self.d_model
        width = self.num_heads * self.head_dim
        return 6 * multiplying + 12 * self.num_layers * width * window


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters, embeddings told apart."""

    embedding: int
    positions: int
    blocks: int  # with the final norm
    head: int  # 0 when tied to the embedding

    @property
    def total(self) -> int:
        """Everything that is trained."""
        return self.embedding + self.positions + self.blocks + self.head

    def __str__(self) -> str:
        outside = self.total - self.blocks
        return f"{self.total:,} parameters ({outside:,} embeddings, {self.blocks:,} in blocks)"


PRESETS: dict[str, dict[str, Any]] = {
    "modern": {},  # the defaults of ModelConfig: what Qwen3 computes
    "llama": {"qk_norm": False},
    "gpt2": {
        "position": "learned",
        "norm": "layer",
        "mlp": "gelu",
        "qk_norm": False,
        "bias": True,
        "norm_eps": 1e-5,
    },
    "relu2": {"mlp": "relu2", "qk_norm": False},
}

NAMED_SIZES = {"tiny": 50_000_000, "small": 100_000_000, "medium": 300_000_000}
DEFAULT_SIZE = "10m"


def parse_size(size: str) -> int:
    """Return the number of parameters that a size such as "0.8m" or "small" names.

    >>> parse_size("0.8m"), parse_size("small")
    (800000, 100000000)
    """
    text = size.strip().lower()
    if text in NAMED_SIZES:
        return NAMED_SIZES[text]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", text.replace("_", "").replace(",", ""))
    if not match or float(match[1]) == 0:
        names = ", ".join(NAMED_SIZES)
        raise ConfigError(f"`size` is {size!r}. Write a count such as 1m or 0.8m, or {names}.")
    return round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}[match[2]])


def solve_shape(target: int, fixed: dict[str, Any]) -> ModelConfig:
    """Return the best-proportioned shape of at most `target` parameters, at most 5 % below.

    `fixed` holds the fields that are decided (vocab_size among them). Widths are multiples of 32,
    as 8-bit quantisation needs. Raises ConfigError when nothing fits, naming the reason.
    """
    best = min(_candidate_shapes(target, fixed), key=_distance_from_ideal, default=None)
    if best is not None:
        return best
    vocab_size = fixed["vocab_size"]
    width = fixed.get("d_model", 32)
    embedding = vocab_size * width * (1 if fixed.get("tie_embeddings", True) else 2)
    raise ConfigError(
        f"`size` is {target:,} parameters, but no shape with the fields given fits it: with a "
        f"vocabulary of {vocab_size:,} the embedding alone takes {embedding:,} at width {width}. "
        "Ask for another size, or prepare the text with another --vocab-size."
    )


def _candidate_shapes(target: int, fixed: dict[str, Any]) -> Iterator[ModelConfig]:
    all_widths = [*range(32, 256, 32), *range(256, 2112, 64)]
    fitting = [width for width in all_widths if _heads_divide(width, fixed)]
    widths = [fixed["d_model"]] if "d_model" in fixed else fitting
    depths = [fixed["num_layers"]] if "num_layers" in fixed else range(2, 41)
    for d_model in widths:
        for num_layers in depths:
            base = {"d_model": d_model, "num_layers": num_layers, **_heads(d_model, fixed)}
            smallest = build(ModelConfig, {"d_ff": 32, **base, **fixed})
            if smallest.parameters.total > target:
                break  # deeper ones are larger still
            shape = smallest
            if "d_ff" not in fixed:
                unit = num_layers * d_model * (3 if smallest.mlp == "swiglu" else 2)
                unit += num_layers if smallest.bias else 0
                more = (target - smallest.parameters.total) // (32 * unit)
                shape = smallest.model_copy(update={"d_ff": 32 + 32 * more})
            if 0.95 * target <= shape.parameters.total <= target:
                yield shape


def _heads(d_model: int, fixed: dict[str, Any]) -> dict[str, int]:
    """Return heads of about 64 (32 in narrow models) that divide the width."""
    if "num_heads" in fixed:
        heads = int(fixed["num_heads"])
        head_dim = int(fixed.get("head_dim", max(1, d_model // heads)))
    else:
        head_dim = int(fixed.get("head_dim", 64 if d_model % 64 == 0 and d_model >= 256 else 32))
        heads = max(1, d_model // head_dim)
    return {"num_heads": heads, "num_kv_heads": heads, "head_dim": head_dim}


def _heads_divide(d_model: int, fixed: dict[str, Any]) -> bool:
    """Return whether a width comes out as whole heads, of an even size, in whole groups."""
    if "num_heads" in fixed and "head_dim" in fixed:  # only rope's heads may be of any width
        is_rope = fixed.get("position", "rope") == "rope"
        return is_rope or d_model == fixed["num_heads"] * fixed["head_dim"]
    if "num_heads" in fixed:
        return d_model % (2 * fixed["num_heads"]) == 0
    heads = _heads(d_model, fixed)
    groups = fixed.get("num_kv_heads", 1)
    return d_model % heads["head_dim"] == 0 and heads["num_heads"] % groups == 0


def _distance_from_ideal(shape: ModelConfig) -> float:
    """Return how far the proportions are from those that train well at these sizes.

    Width per layer near 32 at one million parameters in blocks, 64 at a hundred; an MLP of 8/3 d
    (gated) or 4 d; and as close below the target as can be.
    """
    ideal_ratio = 8 / 3 if shape.mlp == "swiglu" else 4.0
    ideal_aspect = 32 * (max(shape.parameters.blocks, 100_000) / 1e6) ** 0.15
    aspect = math.log(shape.d_model / shape.num_layers / ideal_aspect)
    ratio = math.log(shape.d_ff / shape.d_model / ideal_ratio)
    return aspect**2 + 2 * ratio**2


class ModelSettings(Settings):
    """What a user says of the model; what is not said follows from preset and size."""

    preset: Literal["modern", "llama", "gpt2", "relu2"] = "modern"
    size: str | None = Field(
        default=None, coerce_numbers_to_str=True
    )  # such as 10m; solved for with the dataset's vocabulary
    context_length: int | None = Field(default=None, gt=1)
    d_model: int | None = Field(default=None, gt=0)
    num_layers: int | None = Field(default=None, gt=0)
    num_heads: int | None = Field(default=None, gt=0)
    num_kv_heads: int | None = Field(default=None, gt=0)
    head_dim: int | None = Field(default=None, gt=0)
    d_ff: int | None = Field(default=None, gt=0)
    position: Literal["rope", "learned", "sinusoidal"] | None = None
    norm: Literal["rms", "layer"] | None = None
    mlp: Literal["swiglu", "gelu", "relu2"] | None = None
    qk_norm: bool | None = None
    bias: bool | None = None
    norm_bias: bool | None = None
    tie_embeddings: bool | None = None
    dropout: float | None = Field(default=None, ge=0, lt=1)
    rope_theta: float | None = Field(default=None, gt=0)
    norm_eps: float | None = Field(default=None, gt=0)
    attention: Literal["sdpa", "plain"] | None = None

    @field_validator("size")
    @classmethod
    def _size_is_understood(cls, size: str | None) -> str | None:
        if size is not None:
            parse_size(size)
        return size

    @property
    def shape_is_given(self) -> bool:
        """Whether width and depth are said, so that no size needs to be solved for."""
        return self.d_model is not None and self.num_layers is not None

    def resolve(self, vocab_size: int) -> ModelConfig:
        """Return the full shape for a vocabulary.

        Raises ConfigError when the fields contradict each other or the size cannot be met.
        """
        said = self.model_dump(exclude={"preset", "size"}, exclude_none=True)
        fixed = merge(PRESETS[self.preset], said, {"vocab_size": vocab_size})
        if self.size is None and self.shape_is_given:
            ratio = 8 / 3 if fixed.get("mlp", "swiglu") == "swiglu" else 4
            d_ff = max(32, round(fixed["d_model"] * ratio / 32) * 32)
            return build(ModelConfig, {"d_ff": d_ff, **_heads(fixed["d_model"], fixed)}, fixed)
        return solve_shape(parse_size(self.size or DEFAULT_SIZE), fixed)
