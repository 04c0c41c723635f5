"""What a run will cost in memory, told before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from seedbed.evaluation.bits_per_byte import tokens_at_a_time
from seedbed.model.config import LONGEST_WRITTEN_OUT, QUERIES_AT_ONCE, ModelConfig
from seedbed.training.config import LoraSettings, TrainConfig

_PROCESS = 360e6  # bytes of a process that has imported torch, before any tensor
_COMPILER = 100e6  # that torch.compile adds to it


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device at the peak of a step."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    evaluation: float  # beyond what the activations have left free
    process: float

    @property
    def total(self) -> float:
        """Everything, the process itself included."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, float]:
        """Bytes by what they are for."""
        return asdict(self)

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in self.parts.items())
        return f"about {self.total / 1e9:.2f} GB ({shown} MB)"


def estimate_memory(
    shape: ModelConfig, config: TrainConfig, *, row: int | None = None, new_rows: bool = False
) -> MemoryEstimate:
    """Return the peak memory of a training step of a resolved config.

    Counts what autograd keeps of each part of a block, and the logits with their gradients. An
    evaluation reuses what steps have freed, of which about a half is in large enough pieces. `row`
    is how many tokens a row has, where that is not the window; `new_rows` is whether fine-tuning
    began with new tokens, which LoRA learns too.
    """
    counts, finetune = shape.parameters, config.finetune
    lora = finetune.lora if finetune else None
    blocks, others = trained_parameters(shape, lora, new_rows=new_rows)
    muon = config.optimizer.kind == "muon"
    half = config.precision in ("bf16", "fp16")
    row = row or config.window_in(shape)
    tokens = (config.micro_batch_size or 1) * row
    of_reference = counts.total if finetune and finetune.method == "dpo" else 0
    # Muon stacks matrices of one shape: the input layers of the MLPs are the largest group.
    stacked = shape.num_layers * shape.d_model * shape.d_ff * (2 if shape.mlp == "swiglu" else 1)
    stacked = min(stacked, blocks)
    of_blocks = blocks_bytes(shape, half, row, config.device, masked=finetune is not None)
    activations = 1.1 * tokens * (_logits_bytes(shape, half) + of_blocks)
    weights = counts.total + (blocks if lora else 0) + of_reference
    return MemoryEstimate(
        weights=4.0 * weights + (2.0 * (counts.blocks + counts.head) if half else 0),
        gradients=4.0 * (blocks + others),
        optimizer=4.0 * ((1 if muon else 2) * blocks + 2 * others)
        + (10.0 * stacked if muon else 0),
        activations=activations,
        evaluation=max(0.0, _evaluation_bytes(shape, half, row) - activations / 2),
        process=_PROCESS + (_COMPILER if config.compile == "on" else 0.0),
    )


def trained_parameters(
    shape: ModelConfig, lora: LoraSettings | None, *, new_rows: bool = False
) -> tuple[int, int]:
    """Return how many parameters are trained: inside the blocks, and outside them."""
    counts = shape.parameters
    if lora is None:
        return counts.blocks, counts.total - counts.blocks
    queries, keys = (n * shape.head_dim for n in (shape.num_heads, shape.num_kv_heads))
    widths = {"query": queries, "key": keys, "value": keys, "output": queries}
    widths |= dict.fromkeys(("gate", "up", "down"), shape.d_ff)
    if shape.mlp != "swiglu":
        del widths["gate"]
    both_sides = sum(shape.d_model + widths[target] for target in lora.targets or widths)
    outside = counts.embedding + counts.head if new_rows else 0
    return shape.num_layers * lora.rank * both_sides, outside


def blocks_bytes(
    shape: ModelConfig, half: bool, window: int, device: str, *, masked: bool = False
) -> float:
    """Return what autograd keeps for a token inside the blocks.

    `masked` is whether a row has documents that do not see each other: all scores are kept then.
    """
    heads = shape.num_heads * shape.head_dim
    mlp = {"swiglu": 4, "gelu": 2, "relu2": 3}[shape.mlp] * shape.d_ff
    kept = (4 * shape.d_model + 8 * heads + mlp) * (2 if half else 4)
    if shape.norm == "rms":
        kept += (2 * shape.d_model + (2 * heads if shape.qk_norm else 0)) * (2 if half else 4)
    written_out = (half and window <= LONGEST_WRITTEN_OUT) or shape.dropout > 0
    if shape.attention == "plain" or (written_out and device == "cpu"):
        keys = window if masked else (window + min(window, QUERIES_AT_ONCE)) / 2
        kept += shape.num_heads * keys * _score_bytes(shape, half)
    return shape.num_layers * kept


def _score_bytes(shape: ModelConfig, half: bool) -> int:
    """Return what autograd keeps for a score of attention where the scores are written out.

    So they are on a processor in bfloat16, and with dropout: the softmax, and then what dropout
    makes of it, and its mask.
    """
    return (2 if half else 4) * (3 if shape.dropout else 1)


def _evaluation_bytes(shape: ModelConfig, half: bool, row: int) -> float:
    """Return what the logits of a batch of an evaluation and their softmax take."""
    tokens = tokens_at_a_time(shape.vocab_size, row)
    return tokens * shape.vocab_size * (2 * 4 + (2 if half else 0))


def _logits_bytes(shape: ModelConfig, half: bool) -> float:
    """Return what a token's logits, their softmax and the gradients of both take."""
    return shape.vocab_size * (4 * 4 + (4 if half else 0))


def checkpoint_bytes(shape: ModelConfig, config: TrainConfig) -> float:
    """Return what a checkpoint takes on disk: weights, and what the optimizer remembers of each.

    AdamW keeps two numbers for a weight, Muon one.
    """
    counts = shape.parameters
    muon = config.optimizer.kind == "muon"
    remembered = 2 * counts.total - (counts.blocks if muon else 0)
    return 4.0 * (counts.total + remembered) + 2e6  # the tokenizer
