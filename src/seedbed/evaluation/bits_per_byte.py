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

MOST_TOKENS = 8192  # of a batch
_MOST_LOGIT_BYTES = 100e6  # of a batch, in float32
_FEW = 0.5  # share of targets that count, below which the others are left out


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

    @property
    def details(self) -> dict[str, float]:
        """Further figures for metrics.jsonl: there are none."""
        return {}


@dataclass(frozen=True)
class Window:
    """A stretch of a document: all of `ids` are read, and the targets in `counted` count."""

    document: int
    ids: Ids  # inputs and, shifted by one, targets
    counted: NDArray[np.bool_]  # (targets,)


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
    length = window or model.config.context_length
    windows: list[Window] = []
    for number, ids in enumerate(documents):
        stream = np.concatenate(([bos], np.asarray(ids, dtype=np.int64)))
        all_count = np.ones(len(ids), dtype=bool)
        windows += cut_windows(number, stream, all_count, length=length, stride=length)
    nats = score_windows(
        model,
        windows,
        len(documents),
        length=length,
        dtype=dtype,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    tokens = np.array([len(ids) for ids in documents], dtype=np.int64)
    return DocumentScores(nats, tokens, np.array(num_bytes, dtype=np.int64))


def cut_windows(
    document: int, ids: NDArray[np.int64], counted: NDArray[np.bool_], *, length: int, stride: int
) -> Iterator[Window]:
    """Yield windows of `length` targets at most, which score each counted target of `ids` once.

    The first scores all it reads, each later one the `stride` targets that follow, with as much
    before them as fits. A window that would score nothing is left out.
    """
    done = 0
    while done < len(counted):
        end = min(done + (stride if done else length), len(counted))
        first = max(0, end - length)
        own = counted[first:end].copy()
        own[: done - first] = False
        if own.any():
            yield Window(document, ids[first : end + 1], own)
        done = end


@torch.inference_mode()
def score_windows(
    model: Transformer,
    windows: list[Window],
    num_documents: int,
    *,
    length: int,
    dtype: torch.dtype,
    batch_tokens: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float64]:
    """Return the nats of each document's counted targets, (documents,); sorts the windows.

    `length` is that of the longest window there may be; the rest is as in `score_documents`.
    """
    nats = np.zeros(num_documents)
    windows.sort(key=lambda w: len(w.ids))
    total, done = sum(int(w.counted.sum()) for w in windows), 0
    batch_tokens = batch_tokens or tokens_at_a_time(model.config.vocab_size, length)
    device = next(model.parameters()).device
    was_training, was_dtype = model.training, model.compute_dtype
    model.eval()
    model.compute_dtype = dtype
    try:
        for group in _batches(windows, batch_tokens):
            for scored, cost in zip(group, _score(model, group, device), strict=True):
                nats[scored.document] += cost
            done += sum(int(w.counted.sum()) for w in group)
            if progress:
                progress(done, total)
    finally:
        model.train(was_training)
        model.compute_dtype = was_dtype
    return nats


def tokens_at_a_time(vocab_size: int, length: int) -> int:
    """Return how many tokens to score at a time where a row has `length`: one row at least."""
    return max(length, min(MOST_TOKENS, int(_MOST_LOGIT_BYTES / (4 * vocab_size))))


def _batches(windows: list[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Yield windows of similar length together, at most `batch_tokens` after padding."""
    group: list[Window] = []
    for window in windows:
        if group and (len(group) + 1) * len(window.ids) > batch_tokens:
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _score(model: Transformer, group: list[Window], device: torch.device) -> Iterable[float]:
    """Return the nats of each window's counted targets."""
    longest = max(len(w.ids) for w in group)
    ids = np.zeros((len(group), longest), dtype=np.int64)
    counted = np.zeros((len(group), longest - 1), dtype=bool)
    for row, window in enumerate(group):
        size = len(window.ids)
        ids[row, :size] = window.ids
        counted[row, : size - 1] = window.counted
    both, wanted = torch.from_numpy(ids).to(device), torch.from_numpy(counted)
    inputs, targets = both[:, :-1], both[:, 1:]  # padding is last, where causality hides it
    if counted.mean() < _FEW:  # the head is a good part of the work
        chosen = wanted.to(device)
        logits = model.head(model.hidden_states(inputs)[chosen]).float()
        found = F.cross_entropy(logits, targets[chosen], reduction="none")
        losses = torch.zeros(counted.shape, dtype=torch.float64)
        losses[wanted] = found.cpu().double()
    else:
        logits = model(inputs).float()
        found = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        losses = found.view(len(group), -1).cpu().double() * wanted
    return losses.sum(1).tolist()
