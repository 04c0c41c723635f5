"""The rules that fill what a user leaves open. Pure functions: the same command chooses alike.

They were tuned on small text and small machines; docs/experiments.md says how.
"""

from __future__ import annotations

import math

import torch

from seedbed.machine import Machine, can_compile
from seedbed.training.config import FinetuneSettings, OptimizerSettings

TOKENS_PER_STEP = 2048  # where the horizon is in steps
TOKENS_PER_PARAMETER = 1.8  # of runs of minutes, with Muon: docs/experiments.md
LEAST_BATCH = 512  # tokens: with fewer, the optimizer takes longer than the model
DECAY = 0.1  # of weights, at least; beside Muon 1 at most
DECAY_EPOCHS = 0.5  # in which weights forget, beside Muon: 1 / (rate x decay x steps of an epoch)
MATRIX_RATE = 0.04  # of Muon
RATE_GOING_ON = 0.012  # of AdamW beside it, for weights to go on from
SHARES_OF_RATES = {"sft": 0.5, "dpo": 0.05}  # that fine-tuning takes; dpo, LoRA: not asked yet
SHARE_OF_EVALUATIONS = 0.1  # of the training's computing
START_SECONDS = 3.0  # of a run, before its first step
OVERHEAD_FLOPS = 1.5e6  # what a processor could compute while it does the rest of a token
LOGITS_AT_A_TIME, KEPT_AT_A_TIME = 100e6, 3e9  # bytes, on a processor
COMPILE_SECONDS = 200.0  # a shorter run ends before compiling has paid


def size_for(flops: float, train_tokens: int, max_epochs: float, vocab_size: int) -> int:
    """Return how many parameters make good use of `flops` of training on a text of a size.

    Compute-optimal runs see a fixed number of tokens for each parameter (Hoffmann et al., 2022).
    A small text, repeated `max_epochs` times, is that many tokens at most: a larger model would
    learn it by heart.
    """
    optimal = math.sqrt(flops / (6 * TOKENS_PER_PARAMETER))
    learnable = max_epochs * train_tokens / TOKENS_PER_PARAMETER
    return int(min(max(min(optimal, learnable), 300_000, 64 * vocab_size), 300e6))


def batch_tokens_for(horizon_tokens: float, parameters: int, d_model: int) -> int:
    """Return how many tokens a step takes: the power of two nearest to twice their root.

    The batch beyond which a step is no better grows with the root of the tokens, and hardly with
    the model (Zhang et al., 2024, "How does critical batch size scale in pre-training?"). The
    ceiling is that of OLMo-core's ladder: 2048 x 160 (N / 108M)^(2/3). Below it, not fewer than
    about 8 d_model: Muon's step costs what learning from about 4 d_model tokens does.
    """
    ceiling = 2048 * 160 * (parameters / 108e6) ** (2 / 3)
    least = max(LEAST_BATCH, 8 * d_model)
    wanted = max(min(max(2 * math.sqrt(horizon_tokens), least), ceiling), LEAST_BATCH)
    return 2 ** round(math.log2(wanted))


def optimizer_for(
    settings: OptimizerSettings,
    parameters: int,
    *,
    vocab_size: int,
    epochs: float,
    steps_per_epoch: float,
    fresh: bool = True,
    share: float = 1.0,
) -> OptimizerSettings:
    """Return the settings with every rate, beta and decay filled; `fresh`: for new weights.

    `share` is what fine-tuning takes of the rates; it decays no weights, which hold what was
    learned before.

    Weights to go on from have an AdamW rate of 0.012, whatever the vocabulary: not asked yet.

    AdamW alone: 0.0047 (N / 108M)^(-1/3) (OLMo-core's ladder), at most 0.006. Beside Muon it moves
    the embeddings above all: the more there are, the less often each is seen and the faster it has
    to move; but in a text seen many times, what it moves fast is learned by heart. Against that
    the matrices forget in the same part of an epoch, whatever its steps (Wang and Aitchison, 2024,
    "How to set AdamW's weight decay as you scale model and dataset size").
    """
    muon = settings.kind == "muon"
    if share < 1 and muon and settings.learning_rate and not settings.matrix_learning_rate:
        given = settings.learning_rate * MATRIX_RATE / RATE_GOING_ON
        settings = settings.model_copy(update={"matrix_learning_rate": given})
    ladder = min(0.006, 0.0047 * (parameters / 108e6) ** (-1 / 3))
    of_embeddings = (
        min(0.1, 0.0015 * math.sqrt(vocab_size)) / max(1.0, epochs) if fresh else RATE_GOING_ON
    )
    of_matrices = settings.matrix_learning_rate or MATRIX_RATE * share
    decay = 1 / (of_matrices * DECAY_EPOCHS * steps_per_epoch)
    of_matrices_only = muon and not settings.decay_embeddings
    chosen = {
        "learning_rate": share * (max(0.01, of_embeddings) if muon else ladder),
        "matrix_learning_rate": of_matrices if muon else None,
        "momentum": 0.8 if muon else None,
        "beta1": 0.8 if muon else 0.9,
        "beta2": 0.99 if muon else 0.95,
        "weight_decay": min(max(DECAY, decay), 1.0) if of_matrices_only else DECAY,
    }
    if share < 1:
        chosen["weight_decay"] = 0.0
    missing = {k: v for k, v in chosen.items() if getattr(settings, k) is None}
    return settings.model_copy(update=missing)


def share_of_rates(finetune: FinetuneSettings | None) -> float:
    """Return what part of the learning rates of pre-training a run has."""
    return SHARES_OF_RATES[finetune.method] if finetune else 1.0


def warmup_for(kind: str, steps: int) -> int:
    """Return the steps of warm-up: few for Muon, whose steps have a fixed size from the first."""
    return min(40, steps // 50) if kind == "muon" else min(2000, max(1, steps // 20))


def evaluations_for(train_tokens: float, evaluated_tokens: int) -> int:
    """Return how many evaluations of so many tokens a run can afford, one at least.

    To read a token costs a third of learning from it: backward is twice forward.
    """
    return max(1, int(3 * SHARE_OF_EVALUATIONS * train_tokens / max(1, evaluated_tokens)))


def micro_batch_for(rows: int, *, logits: float, kept: float, device: torch.device) -> int:
    """Return how many of `rows` sequences to compute at a time: a divisor of `rows`.

    `logits` and `kept` are bytes of a row: of its logits, and of what its blocks keep for going
    back. On a processor 100 MB and 3 GB of them at most; a GPU takes 16 times that.
    """
    share = max(logits / LOGITS_AT_A_TIME, kept / KEPT_AT_A_TIME)
    most = max(1, int((16 if device.type == "cuda" else 1) / share))
    return max(n for n in range(1, rows + 1) if rows % n == 0 and n <= most)


def compile_pays(asked: str, seconds: float, device: torch.device) -> bool:
    """Return whether to compile: as asked, or where the run is long enough and a compiler there."""
    if asked != "auto":
        return asked == "on"
    return seconds >= COMPILE_SECONDS and can_compile(device)


def nominal_rate(machine: Machine, device: torch.device, flops_per_token: float) -> float:
    """Return a rough rate of training, tokens a second, without measuring: for choices only.

    A processor spends on a token of a small model about as much time again on what is no product
    of matrices: 0.4M 44,000 tokens a second, 3M 8,000 and 10M 2,500 on two cores with bfloat16.
    """
    overhead = OVERHEAD_FLOPS if device.type == "cpu" else 0.0
    return nominal_flops(machine, device) / (flops_per_token + overhead)


def nominal_flops(machine: Machine, device: torch.device) -> float:
    """Return a rough training rate of a device, FLOP/s, without measuring: for choices only."""
    return {"cpu": machine.nominal_flops, "mps": 2e12}.get(device.type, 200e12)
