from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model_shapes import random_model
from seedbed.evaluation import bits_per_byte
from seedbed.evaluation.bits_per_byte import DocumentScores, score_documents
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.simple import ByteTokenizer

BOS = 95
LENGTH = 24  # the context of the models


def rolling_windows(ids: list[int], prefix: int, length: int) -> list[tuple[list[int], list[int]]]:
    """Return (context, targets) as lm-evaluation-harness makes them for `loglikelihood_rolling`.

    Its get_rolling_token_windows with context_len 1, then make_disjoint_window.
    """
    first = min(length, len(ids))
    pairs = [([prefix, *ids[: first - 1]], ids[:first])]
    predicted = first
    while predicted < len(ids):
        count = min(len(ids) - predicted, length)
        end = predicted + count
        pairs.append((ids[end - length - 1 : end - 1], ids[end - count : end]))
        predicted = end
    return [(a[: len(a) - (len(b) - 1)], b) for a, b in pairs]


def slow_nats(model: Transformer, ids: list[int], length: int = LENGTH) -> float:
    """Return the cost of a document, a token at a time, each with the context it may see."""
    total = 0.0
    for context, targets in rolling_windows(ids, BOS, length):
        for i, target in enumerate(targets):
            with torch.no_grad():
                logits = model(torch.tensor([context + targets[:i]]))[0, -1]
            total -= logits.double().log_softmax(-1)[target].item()
    return total


def documents(*lengths: int) -> list[list[int]]:
    generator = np.random.default_rng(7)
    return [generator.integers(0, 90, n).tolist() for n in lengths]


LENGTHS = (1, 5, 23, 24, 25, 26, 47, 48, 49, 71, 72, 73, 100)


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_scores_are_those_of_the_harness_windows_a_token_at_a_time(name: str) -> None:
    model, texts = random_model(name), documents(*LENGTHS)
    scores = score_documents(model, texts, [1] * len(texts), bos=BOS)
    wanted = [slow_nats(model, ids) for ids in texts]
    assert scores.nats.tolist() == pytest.approx(wanted, rel=1e-6)
    assert scores.tokens.tolist() == list(LENGTHS)


def test_windows_may_be_shorter_than_the_context() -> None:
    model, texts = random_model("gpt2"), documents(*LENGTHS)
    scores = score_documents(model, texts, [1] * len(texts), bos=BOS, window=10)
    wanted = [slow_nats(model, ids, length=10) for ids in texts]
    assert scores.nats.tolist() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 30, 500, 100_000])
def test_scores_do_not_depend_on_the_batch(batch_tokens: int) -> None:
    model, texts = random_model(), documents(*LENGTHS)
    numbers = [1] * len(texts)
    wanted = score_documents(model, texts, numbers, bos=BOS)
    scores = score_documents(model, texts, numbers, bos=BOS, batch_tokens=batch_tokens)
    assert scores.nats.tolist() == pytest.approx(wanted.nats.tolist(), rel=1e-6)


def test_a_large_vocabulary_is_scored_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    score = bits_per_byte._score

    def watched(model: Transformer, group: list, device: torch.device) -> object:
        sizes.append(len(group) * max(len(window.ids) for window in group))
        return score(model, group, device)

    monkeypatch.setattr(bits_per_byte, "_score", watched)
    texts = documents(*[24] * 40)
    score_documents(random_model(vocab_size=100_000), texts, [1] * len(texts), bos=BOS)
    assert max(sizes) <= 250  # tokens, whose logits are 100 MB
    sizes.clear()
    score_documents(random_model(), documents(*[24] * 400), [1] * 400, bos=BOS)
    assert 7_000 < max(sizes) <= 8192


def test_scores_do_not_depend_on_the_other_documents() -> None:
    model, texts = random_model(), documents(*LENGTHS)
    together = score_documents(model, texts, [1] * len(texts), bos=BOS)
    alone = [score_documents(model, [ids], [1], bos=BOS).nats[0] for ids in texts]
    assert together.nats.tolist() == pytest.approx(alone, rel=1e-6)


def test_a_uniform_byte_model_needs_the_bits_of_its_vocabulary() -> None:
    tokenizer = ByteTokenizer()
    model = random_model(vocab_size=tokenizer.vocab_size)
    with torch.no_grad():
        model.embedding.weight.zero_()  # the tied head: every logit is 0
    text = "naïve 🌱 text " * 9
    size = len(text.encode())
    scores = score_documents(model, [tokenizer.encode(text)], [size], bos=tokenizer.special.bos)
    assert scores.bits_per_byte == pytest.approx(math.log2(260), rel=1e-6)
    assert scores.loss == pytest.approx(math.log(260), rel=1e-6)
    assert scores.perplexity == pytest.approx(260, rel=1e-5)


def test_figures_are_totals_over_totals() -> None:
    nats = np.array([2.0, 6.0]) * math.log(2)  # 2 and 6 bits
    scores = DocumentScores(nats, np.array([1, 3]), np.array([1, 4]))
    assert scores.bits_per_byte == pytest.approx(8 / 5)
    assert scores.loss == pytest.approx(2 * math.log(2))
    assert scores.perplexity == pytest.approx(4)
    # Residuals 2 - 1.6 and 6 - 6.4; sqrt(2 / 1 * (0.16 + 0.16)) / 5.
    assert scores.standard_error == pytest.approx(math.sqrt(0.64) / 5)


def test_a_hopeless_model_has_a_finite_perplexity() -> None:
    scores = DocumentScores(np.array([1e6]), np.array([10]), np.array([10]))
    assert math.isfinite(scores.perplexity)


def test_empty_documents_cost_nothing() -> None:
    scores = score_documents(random_model(), [[], [1, 2]], [0, 2], bos=BOS)
    assert scores.nats[0] == 0
    assert scores.tokens.tolist() == [0, 2]


def test_the_model_comes_back_as_it_was() -> None:
    model = random_model(dropout=0.5).train()
    model.compute_dtype = torch.bfloat16
    score_documents(model, [[1, 2, 3]], [3], bos=BOS)
    assert model.training
    assert model.compute_dtype == torch.bfloat16


def test_dropout_is_off() -> None:
    model = random_model(dropout=0.5).train()
    first, second = (score_documents(model, [[1, 2, 3]], [3], bos=BOS).loss for _ in range(2))
    assert first == second


def test_progress_reaches_all_tokens() -> None:
    seen: list[tuple[int, int]] = []
    texts = documents(*LENGTHS)
    score_documents(
        random_model(),
        texts,
        [1] * len(texts),
        bos=BOS,
        batch_tokens=200,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (sum(LENGTHS), sum(LENGTHS))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
