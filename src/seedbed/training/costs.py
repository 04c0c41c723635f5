"""What a run will cost in memory, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.model.config import ModelConfig
from seedbed.training.config import TrainConfig

_PROCESS = 350e6  # bytes of a process that has imported torch, before any tensor


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device at the peak of a step."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """Everything, the process itself included."""
        return self.weights + self.gradients + self.optimizer + self.activations + _PROCESS

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "activations": self.activations,
        }
        shown = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in parts.items())
        return f"about {self.total / 1e9:.2f} GB ({shown} MB)"


def estimate_memory(shape: ModelConfig, config: TrainConfig) -> MemoryEstimate:
    """Return the peak memory of a training step of a resolved config.

    Counts what autograd keeps of each part of a block, and the logits with their gradients.
    """
    counts = shape.parameters
    muon = config.optimizer.kind == "muon"
    matrices = counts.blocks if muon else 0
    half = config.precision in ("bf16", "fp16")
    tokens = (config.micro_batch_size or 1) * shape.context_length
    # Muon stacks matrices of one shape: the input layers of the MLPs are the largest group.
    stacked = shape.num_layers * shape.d_model * shape.d_ff * (2 if shape.mlp == "swiglu" else 1)
    return MemoryEstimate(
        weights=4.0 * counts.total + (2.0 * (counts.blocks + counts.head) if half else 0),
        gradients=4.0 * counts.total,
        optimizer=8.0 * counts.total - 4.0 * matrices + (10.0 * stacked if muon else 0),
        activations=1.1 * tokens * (_logits_bytes(shape, half) + _blocks_bytes(shape, half)),
    )


def _blocks_bytes(shape: ModelConfig, half: bool) -> float:
    """Return what autograd keeps for a token inside the blocks."""
    heads = shape.num_heads * shape.head_dim
    mlp = {"swiglu": 4, "gelu": 2, "relu2": 3}[shape.mlp] * shape.d_ff
    kept = 4 * shape.d_model + 8 * heads + mlp
    in_float32 = 16 * (shape.d_model + heads) if half else 0  # inside the norms
    return shape.num_layers * (kept * (2 if half else 4) + in_float32)


def _logits_bytes(shape: ModelConfig, half: bool) -> float:
    """Return what a token's logits, their softmax and the gradients of both take."""
    return shape.vocab_size * (4 * 4 + (4 if half else 0))
