from __future__ import annotations

import math

import pytest
import torch

from seedbed.config import build
from seedbed.errors import ConfigError
from seedbed.generation.sampling import (
    SamplingSettings,
    apply_repetition_penalty,
    filter_logits,
    next_tokens,
    take_top_k,
)

transformers = pytest.importorskip("transformers")

PROBABILITIES = torch.tensor([[0.5, 0.25, 0.15, 0.1]])


def settings(**fields: object) -> SamplingSettings:
    return SamplingSettings.model_validate(
        {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **fields}
    )


def filtered(logits: torch.Tensor, chosen: SamplingSettings) -> torch.Tensor:
    """Return logits over the whole vocabulary, at minus infinity for what is left out."""
    candidates, ids = take_top_k(logits, chosen.top_k)
    candidates = filter_logits(candidates, chosen)
    if ids is None:
        return candidates
    return torch.full_like(logits, -math.inf).scatter(-1, ids, candidates)


def kept(**fields: object) -> list[float]:
    probabilities = filtered(PROBABILITIES.log(), settings(**fields)).softmax(-1)[0]
    return [round(p, 6) for p in probabilities.tolist()]


def draw(logits: torch.Tensor, chosen: SamplingSettings, count: int, seed: int = 0) -> torch.Tensor:
    rows = logits.expand(count, -1)
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros(rows.shape, dtype=torch.bool)
    return next_tokens(rows, chosen, generator, seen)


def test_top_k_keeps_the_k_likeliest() -> None:
    assert kept(top_k=2) == [round(2 / 3, 6), round(1 / 3, 6), 0, 0]
    assert kept(top_k=1) == [1, 0, 0, 0]


@pytest.mark.parametrize("top_k", [0, None, 4, 99])
def test_top_k_of_all_or_none_keeps_all(top_k: int | None) -> None:
    assert kept(top_k=top_k) == [0.5, 0.25, 0.15, 0.1]


def test_top_p_keeps_the_fewest_that_reach_p() -> None:
    assert kept(top_p=0.4) == [1, 0, 0, 0]
    assert kept(top_p=0.7) == [round(2 / 3, 6), round(1 / 3, 6), 0, 0]
    assert kept(top_p=0.8) == [round(50 / 90, 6), round(25 / 90, 6), round(15 / 90, 6), 0]


def test_min_p_keeps_what_is_near_the_likeliest() -> None:
    assert kept(min_p=0.4) == [round(2 / 3, 6), round(1 / 3, 6), 0, 0]  # 0.25 / 0.5 = 0.5
    assert kept(min_p=0.25) == [round(50 / 90, 6), round(25 / 90, 6), round(15 / 90, 6), 0]
    assert kept(min_p=1.0) == [1, 0, 0, 0]


def test_repetition_penalty_makes_seen_tokens_worse() -> None:
    logits = torch.tensor([[2.0, 2.0, -1.0, -1.0]])
    seen = torch.tensor([[True, False, True, False]])
    assert apply_repetition_penalty(logits, seen, 2.0).tolist() == [[1.0, 2.0, -2.0, -1.0]]


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 7},
        {"top_p": 0.3},
        {"top_p": 0.9},
        {"min_p": 0.05},
        {"temperature": 0.5, "top_k": 20, "top_p": 0.8, "min_p": 0.02},
        {"temperature": 1.7, "top_k": 40, "top_p": 0.95},
    ],
)
def test_what_is_kept_equals_transformers(fields: dict[str, float]) -> None:
    logits = 3 * torch.randn(8, 60, generator=torch.Generator().manual_seed(1))
    chosen = settings(**fields)
    theirs = transformers.TemperatureLogitsWarper(chosen.temperature)(None, logits)
    if chosen.top_k:
        theirs = transformers.TopKLogitsWarper(chosen.top_k)(None, theirs)
    if chosen.top_p < 1:
        theirs = transformers.TopPLogitsWarper(chosen.top_p)(None, theirs)
    if chosen.min_p:
        theirs = transformers.MinPLogitsWarper(chosen.min_p)(None, theirs)
    ours = filtered(logits / chosen.temperature, chosen)
    assert torch.equal(ours.isinf(), theirs.isinf())
    assert torch.allclose(ours.softmax(-1), theirs.softmax(-1), atol=1e-6)


def test_repetition_penalty_equals_transformers() -> None:
    logits = torch.randn(3, 30, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(0, 30, (3, 12), generator=torch.Generator().manual_seed(2))
    seen = torch.zeros(3, 30, dtype=torch.bool).scatter(1, ids, True)
    theirs = transformers.RepetitionPenaltyLogitsProcessor(1.3)(ids, logits)
    assert torch.allclose(apply_repetition_penalty(logits, seen, 1.3), theirs)


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.6}, {"top_k": 3}, {"min_p": 0.25}])
def test_frequencies_of_draws_match_the_probabilities(fields: dict[str, float]) -> None:
    count, chosen = 40_000, settings(**fields)
    logits = PROBABILITIES.log()
    wanted = filtered(logits / chosen.temperature, chosen).softmax(-1)[0]
    counts = draw(logits, chosen, count).bincount(minlength=4)
    possible = wanted > 0
    assert not counts[~possible].any()
    expected = count * wanted[possible]
    chi_square = ((counts[possible] - expected) ** 2 / expected).sum().item()
    assert chi_square < 16.3  # 0.1 % point for three degrees of freedom


def test_draws_follow_the_seed() -> None:
    logits = PROBABILITIES.log()
    first, again, other = (draw(logits, settings(), 64, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_temperature_zero_takes_the_likeliest() -> None:
    assert draw(PROBABILITIES.log(), settings(temperature=0), 50).unique().tolist() == [0]


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-45])
def test_a_temperature_near_zero_takes_the_likeliest(temperature: float) -> None:
    logits = 50 * PROBABILITIES.flip(-1).log()
    assert draw(logits, settings(temperature=temperature), 50).unique().tolist() == [3]


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0]])
    assert draw(logits, settings(top_k=3), 500).unique().tolist() == [1, 3]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", math.nan),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` is {value}"):
        build(SamplingSettings, {name: value})
