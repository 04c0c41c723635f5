"""How the next token is drawn from logits."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from seedbed.config import Settings


class SamplingSettings(Settings):
    """Which tokens may come next, and how likely. They apply in the order given here."""

    repetition_penalty: float = Field(
        default=1.0, gt=0
    )  # above 1: what was there before is less likely
    temperature: float = Field(default=0.8, ge=0)  # 0: always the likeliest (greedy)
    top_k: int | None = Field(default=50, ge=0)  # keep the k likeliest; 0 or null: all
    top_p: float = Field(default=1.0, gt=0, le=1)  # keep the likeliest that add up to p
    min_p: float = Field(default=0.0, ge=0, le=1)  # keep those at least p times the likeliest


def next_tokens(
    logits: Tensor, settings: SamplingSettings, generator: torch.Generator, seen: Tensor
) -> Tensor:
    """Return one token id a row, (batch,), from `logits` (batch, vocab).

    `seen` (batch, vocab) is True for tokens that the row holds already.
    """
    if settings.repetition_penalty != 1.0:
        logits = apply_repetition_penalty(logits, seen, settings.repetition_penalty)
    if settings.temperature == 0:
        return logits.argmax(-1)
    # Below the likeliest, so that a temperature near zero overflows to minus infinity only.
    below = logits.float() - logits.amax(-1, keepdim=True)
    candidates, ids = take_top_k(below / settings.temperature, settings.top_k)
    probabilities = filter_logits(candidates, settings).softmax(-1)
    # An exponential race draws from the same distribution as multinomial, on the CPU generator,
    # so that a seed gives the same text on any device.
    noise = torch.empty(probabilities.shape).exponential_(generator=generator)
    drawn = (probabilities / noise.to(probabilities.device)).argmax(-1, keepdim=True)
    return (drawn if ids is None else ids.gather(-1, drawn)).squeeze(-1)


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Return logits with those of `seen` tokens made worse (Keskar et al., 2019)."""
    worse = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, worse, logits)


def take_top_k(logits: Tensor, top_k: int | None) -> tuple[Tensor, Tensor | None]:
    """Return the k largest logits (batch, k) and their ids; all, and None, where that is all.

    What is not among them needs no noise, which takes longer than all the rest.
    """
    if not top_k or top_k >= logits.shape[-1]:
        return logits, None
    largest, ids = logits.topk(top_k)
    return largest, ids


def filter_logits(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Return logits with what top-p and min-p leave out at minus infinity."""
    out = float("-inf")
    if settings.top_p < 1.0:  # nucleus sampling (Holtzman et al., 2020)
        ordered, order = logits.sort(descending=True, dim=-1)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # mass of all likelier tokens
        dropped = (before >= settings.top_p).scatter(-1, order, before >= settings.top_p)
        logits = logits.masked_fill(dropped, out)
    if settings.min_p > 0.0:  # Nguyen et al., 2024
        probabilities = logits.softmax(-1)
        floor = settings.min_p * probabilities.amax(-1, keepdim=True)
        logits = logits.masked_fill(probabilities < floor, out)
    return logits
