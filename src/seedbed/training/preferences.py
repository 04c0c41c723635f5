"""Learning which of two answers is better: direct preference optimisation (Rafailov et al., 2023).

A row of a batch holds a pair: the conversation with the chosen answer, then the same with the
rejected one, each seeing itself alone. What counts of a model is its margin, log p(chosen) -
log p(rejected); the loss falls as it grows beyond that of a frozen reference, from which training
began.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seedbed.data.batches import IGNORED, Batch, in_keyed_order
from seedbed.data.chat_batches import packed_rows
from seedbed.data.token_shards import TokenShards
from seedbed.model.transformer import Transformer
from seedbed.training.step import LossSum


@dataclass(frozen=True)
class PairBatch(Batch):
    """Pairs, one in a row: document 0 has the chosen answer, document 1 the rejected one."""

    @property
    def num_targets(self) -> int:
        """How many pairs there are: the loss is their mean."""
        return len(self.inputs)


class PairSampler:
    """Pairs in an endless sequence of rows: each once an epoch, in a keyed order.

    Of the conversations in `shards`, each two in turn are a pair.
    """

    def __init__(self, shards: TokenShards, seed: int) -> None:
        self._shards, self._seed = shards, seed
        self.width = width_of_pairs(shards)

    @property
    def pairs_per_epoch(self) -> int:
        """How many pairs there are."""
        return self._shards.num_documents // 2

    def batch(self, first: int, rows: int) -> PairBatch:
        """Return `rows` pairs from number `first` on."""
        numbers = np.arange(first, first + rows)
        pairs = in_keyed_order(numbers, self.pairs_per_epoch, self._seed)
        both = [(2 * pair, 2 * pair + 1) for pair in pairs.tolist()]
        return PairBatch(*packed_rows(self._shards, both, self.width))


def width_of_pairs(shards: TokenShards) -> int:
    """Return how many tokens a row has: as many as the longest pair."""
    sizes = np.diff(shards.offsets) - 1  # inputs: all ids but the last
    return int(sizes.reshape(-1, 2).sum(1).max())


def answer_log_probs(logits: Tensor, targets: Tensor, documents: Tensor) -> Tensor:
    """Return the log-probability of each row's two answers, in nats: (batch, 2), float32.

    Summed over the targets of document 0 and of document 1; a longer answer is not averaged.
    """
    log_probs = -F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(targets)  # 0 where nothing is asked
    return torch.stack([(log_probs * (documents == number)).sum(1) for number in (0, 1)], dim=1)


def answer_margins(
    model: Transformer, inputs: Tensor, targets: Tensor, documents: Tensor
) -> Tensor:
    """Return log p(chosen) - log p(rejected) of each row: (batch,), float32."""
    log_probs = answer_log_probs(model(inputs, documents=documents), targets, documents)
    return log_probs[:, 0] - log_probs[:, 1]


def dpo_losses(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return -log sigmoid(beta (policy - reference)) of margins (batch,): equation 7 of the paper.

    >>> dpo_losses(torch.tensor([2.0]), torch.tensor([2.0]), beta=0.1)  # log 2: none learned yet
    tensor([0.6931])
    """
    return -F.logsigmoid(beta * (policy - reference))


def make_pair_loss(model: Transformer, reference: Transformer, beta: float) -> LossSum:
    """Return the function that sums the loss over pairs. The larger beta, the tighter the leash.

    The reference, in evaluation mode, reads a pair each time that the model does: to read them all
    beforehand would take as long before the first step, and before each that is gone on with.
    """

    def loss_sum(inputs: Tensor, targets: Tensor, documents: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = answer_margins(reference, inputs, targets, documents)
        policy = answer_margins(model, inputs, targets, documents)
        return dpo_losses(policy, wanted, beta).sum()

    return loss_sum


@dataclass(frozen=True)
class PairScores:
    """How well a model tells chosen answers from rejected ones, and how it predicts the chosen."""

    loss: float  # mean over pairs
    accuracy: float  # share of pairs whose margin is above the reference's
    margin: float  # mean of beta (policy - reference)
    bits_per_byte: float  # of the chosen answers: their tokens and the end of the turn

    @property
    def details(self) -> dict[str, float]:
        """What there is beside the loss and the bits per byte."""
        return {"accuracy": self.accuracy, "margin": self.margin}


def log_probs_of(model: Transformer, batches: Sequence[PairBatch]) -> Tensor:
    """Return `answer_log_probs` of all pairs, on the processor; the model stays in its mode."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([_log_probs(model, batch.to(device)) for batch in batches])
    finally:
        model.train(was_training)


def score_pairs(
    log_probs: Tensor,
    reference: Tensor,
    batches: Sequence[PairBatch],
    lengths: NDArray[np.integer],
    *,
    beta: float,
    bytes_before: int = 0,
) -> PairScores:
    """Return what a model makes of pairs, from what `log_probs_of` says of it and the reference.

    `lengths` (vocab,) are the bytes of each token; of an answer, the first `bytes_before` are none
    of its text.
    """
    _, targets, documents = (
        torch.cat(parts) for parts in zip(*(b.tensors for b in batches), strict=True)
    )
    gain = (log_probs[:, 0] - log_probs[:, 1] - (reference[:, 0] - reference[:, 1])).double()
    said = targets[(documents == 0) & (targets != IGNORED)].numpy()
    num_bytes = int(lengths[said].sum()) - bytes_before * len(gain)
    return PairScores(
        loss=dpo_losses(gain, torch.zeros_like(gain), beta).mean().item(),
        accuracy=(gain > 0).double().mean().item(),
        margin=beta * gain.mean().item(),
        bits_per_byte=-log_probs[:, 0].double().sum().item() / math.log(2) / max(1, num_bytes),
    )


def _log_probs(model: Transformer, batch: PairBatch) -> Tensor:
    """Return `answer_log_probs` of a batch, on the processor."""
    inputs, targets, documents = batch.tensors
    logits = model(inputs, documents=documents)
    return answer_log_probs(logits, targets, documents).cpu()
