"""How well a model predicts documents, in bits per byte.

Loss and perplexity are per token, so they change with the tokenizer: a larger vocabulary makes
fewer, harder tokens of the same text. Bits per byte do not, and compare any two models on a text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from seedbed.model.transformer import Transformer
from seedbed.statistics import ratio_standard_error

Ids = Sequence[int] | NDArray[np.integer]

_MOST_TOKENS = 8192  # of a batch
_MOST_LOGIT_BYTES = 100e6  # of a batch, in float32


@dataclass(frozen=True)
class DocumentScores:
    """What each document cost: arrays of shape (documents,)."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]

    @property
    def loss(self) -> float:
        """Mean nats per token."""
        return float(self.nats.sum() / max(1, self.tokens.sum()))

    @property
    def perplexity(self) -> float:
        """exp(loss): how many equally likely tokens the model wavers between."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Total bits over total UTF-8 bytes."""
        return float(self.nats.sum() / math.log(2) / max(1, self.bytes.sum()))

    @property
    def standard_error(self) -> float:
        """Of the bits per byte, over documents."""
        return ratio_standard_error(self.nats / math.log(2), self.bytes)


@dataclass(frozen=True)
class _Window:
    """A stretch of a document: all of `ids` are read, the last `scored` targets count."""

    document: int
    ids: Ids  # inputs and, shifted by one, targets
    scored: int


@torch.inference_mode()
def score_documents(
    model: Transformer,
    documents: Sequence[Ids],
    num_bytes: Sequence[int],
    *,
    bos: int,
    dtype: torch.dtype = torch.float32,
    batch_tokens: int | None = None,
    window: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> DocumentScores:
    """Return what the model makes of each document (token ids, no document end).

    Each starts from `bos` and is read in disjoint windows of the context length (of `window`
    tokens where it is given), except that the last keeps its full left context and scores only
    what is new, as lm-evaluation-harness' `loglikelihood_rolling` does. Computed in `dtype`,
    `batch_tokens` at a time; by default as many as have logits of 100 MB, 8,192 at most.
    `progress` gets (tokens done, in all).
    """
    nats = np.zeros(len(documents))
    length = window or model.config.context_length
    windows = [w for i, ids in enumerate(documents) for w in _windows(i, ids, bos, length)]
    windows.sort(key=lambda w: len(w.ids))
    total, done = sum(w.scored for w in windows), 0
    if batch_tokens is None:
        most = int(_MOST_LOGIT_BYTES / (4 * model.config.vocab_size))
        batch_tokens = max(length, min(_MOST_TOKENS, most))
    device = next(model.parameters()).device
    was_training, was_dtype = model.training, model.compute_dtype
    model.eval()
    model.compute_dtype = dtype
    try:
        for group in _batches(windows, batch_tokens):
            for scored, cost in zip(group, _score(model, group, device), strict=True):
                nats[scored.document] += cost
            done += sum(w.scored for w in group)
            if progress:
                progress(done, total)
    finally:
        model.train(was_training)
        model.compute_dtype = was_dtype
    tokens = np.array([len(ids) for ids in documents], dtype=np.int64)
    return DocumentScores(nats, tokens, np.array(num_bytes, dtype=np.int64))


def _windows(document: int, ids: Ids, bos: int, length: int) -> Iterator[_Window]:
    stream = np.concatenate(([bos], np.asarray(ids, dtype=np.int64)))
    for start in range(0, len(ids), length):
        end = min(start + length, len(ids))
        first = max(0, end - length) if start else 0
        yield _Window(document, stream[first : end + 1], end - start)


def _batches(windows: list[_Window], batch_tokens: int) -> Iterator[list[_Window]]:
    """Yield windows of similar length together, at most `batch_tokens` after padding."""
    group: list[_Window] = []
    for window in windows:
        if group and (len(group) + 1) * len(window.ids) > batch_tokens:
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _score(model: Transformer, group: list[_Window], device: torch.device) -> Iterable[float]:
    """Return the nats of each window's scored targets."""
    longest = max(len(w.ids) for w in group)
    ids = np.zeros((len(group), longest), dtype=np.int64)
    counted = np.zeros((len(group), longest - 1), dtype=bool)
    for row, window in enumerate(group):
        size = len(window.ids)
        ids[row, :size] = window.ids
        counted[row, size - 1 - window.scored : size - 1] = True
    both = torch.from_numpy(ids).to(device)
    logits = model(both[:, :-1]).float()  # padding is on the right, where causality hides it
    losses = F.cross_entropy(logits.flatten(0, 1), both[:, 1:].flatten(), reduction="none")
    losses = losses.view(len(group), -1).cpu().double() * torch.from_numpy(counted)
    return losses.sum(1).tolist()
