"""What a run will cost in memory, told before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from seedbed.model.config import LONGEST_WRITTEN_OUT, ModelConfig
from seedbed.training.config import TrainConfig

_PROCESS = 360e6  # bytes of a process that has imported torch, before any tensor
_COMPILER = 100e6  # that torch.compile adds to it
_EVALUATED_LOGITS = 100e6  # bytes of the logits of a batch of an evaluation, in float32
_EVALUATED_TOKENS = 8192  # of such a batch at most


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


def estimate_memory(shape: ModelConfig, config: TrainConfig) -> MemoryEstimate:
    """Return the peak memory of a training step of a resolved config.

    Counts what autograd keeps of each part of a block, and the logits with their gradients. An
    evaluation reuses what steps have freed, of which about a half is in large enough pieces.
    """
    counts = shape.parameters
    muon = config.optimizer.kind == "muon"
    matrices = counts.blocks if muon else 0
    half = config.precision in ("bf16", "fp16")
    tokens = (config.micro_batch_size or 1) * config.window_in(shape)
    # Muon stacks matrices of one shape: the input layers of the MLPs are the largest group.
    stacked = shape.num_layers * shape.d_model * shape.d_ff * (2 if shape.mlp == "swiglu" else 1)
    of_blocks = _blocks_bytes(shape, half, config.window_in(shape), config.device)
    activations = 1.1 * tokens * (_logits_bytes(shape, half) + of_blocks)
    return MemoryEstimate(
        weights=4.0 * counts.total + (2.0 * (counts.blocks + counts.head) if half else 0),
        gradients=4.0 * counts.total,
        optimizer=8.0 * counts.total - 4.0 * matrices + (10.0 * stacked if muon else 0),
        activations=activations,
        evaluation=max(0.0, _evaluation_bytes(shape, half) - activations / 2),
        process=_PROCESS + (_COMPILER if config.compile == "on" else 0.0),
    )


def _blocks_bytes(shape: ModelConfig, half: bool, window: int, device: str) -> float:
    """Return what autograd keeps for a token inside the blocks."""
    heads = shape.num_heads * shape.head_dim
    mlp = {"swiglu": 4, "gelu": 2, "relu2": 3}[shape.mlp] * shape.d_ff
    kept = (4 * shape.d_model + 8 * heads + mlp) * (2 if half else 4)
    if shape.norm == "rms":
        kept += (2 * shape.d_model + (2 * heads if shape.qk_norm else 0)) * (2 if half else 4)
    written_out = (half and window <= LONGEST_WRITTEN_OUT) or shape.dropout > 0
    if shape.attention == "plain" or (written_out and device == "cpu"):
        kept += shape.num_heads * window * _score_bytes(shape, half)
    return shape.num_layers * kept


def _score_bytes(shape: ModelConfig, half: bool) -> int:
    """Return what autograd keeps for a score of attention where the scores are written out.

    So they are on a processor in bfloat16, and with dropout: the softmax, and then what dropout
    makes of it, and its mask.
    """
    return (2 if half else 4) * (3 if shape.dropout else 1)


def _evaluation_bytes(shape: ModelConfig, half: bool) -> float:
    """Return what the logits of a batch of an evaluation and their softmax take."""
    most = max(shape.context_length, int(_EVALUATED_LOGITS / (4 * shape.vocab_size)))
    return min(most, _EVALUATED_TOKENS) * shape.vocab_size * (2 * 4 + (2 if half else 0))


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
