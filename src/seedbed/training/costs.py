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
    matrices = counts.blocks if config.optimizer.kind == "muon" else 0
    width = 4 if config.precision in ("fp32", "tf32") else 2  # bytes of an activation
    tokens = (config.micro_batch_size or 1) * shape.context_length
    heads = shape.num_heads * shape.head_dim
    mlp = {"swiglu": 4, "gelu": 2, "relu2": 3}[shape.mlp] * shape.d_ff
    block = width * (4 * shape.d_model + 8 * heads + mlp)
    logits = shape.vocab_size * (2 * width + 3 * 4)
    casts = 0 if width == 4 else 2 * (counts.blocks + counts.head)
    return MemoryEstimate(
        weights=4.0 * counts.total + casts,
        gradients=4.0 * counts.total,
        optimizer=8.0 * (counts.total - matrices) + 4.0 * matrices,
        activations=float(tokens * (shape.num_layers * block + logits)),
    )
