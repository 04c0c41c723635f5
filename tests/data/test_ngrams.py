"""The n-gram baseline is a probability, and what it says is right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from seedbed.data.ngrams import _START, ByteNgrams, measure_baseline
from seedbed.errors import DataError


def next_byte(model: ByteNgrams, context: bytes) -> np.ndarray:
    """Return the probability of each of the 256 bytes after `context`, a document's start."""
    padded = bytes([_START] * model._longest) + context
    recent = int.from_bytes(padded[len(padded) - model._longest :], "big") << 8
    return model._probabilities(np.arange(256, dtype=np.uint64) + np.uint64(recent))


@pytest.mark.parametrize("longest", [0, 1, 3, 6, 7])
def test_probabilities_of_the_next_byte_sum_to_one(longest: int, stories: list[str]) -> None:
    model = ByteNgrams([s.encode() for s in stories[:40]], longest=longest)
    for context in (b"", b"O", b"Once upon", b"zzzzzzzzz", bytes(range(200, 230)), b"the "):
        probabilities = next_byte(model, context)
        assert probabilities.sum() == pytest.approx(1, abs=1e-9)
        assert probabilities.min() > 0


def test_a_hand_worked_model_without_context() -> None:
    model = ByteNgrams([b"aab"], longest=0)
    # Too few counts to estimate discounts: 0.6 from a count of one, 1.0 from a count of two.
    left = (0.6 + 1.0) / 3 / 256
    assert next_byte(model, b"")[ord("a")] == pytest.approx((2 - 1.0) / 3 + left)
    assert next_byte(model, b"")[ord("b")] == pytest.approx((1 - 0.6) / 3 + left)
    assert next_byte(model, b"")[ord("c")] == pytest.approx(left)


def test_bits_are_the_logarithms_of_the_next_byte_probabilities(stories: list[str]) -> None:
    model = ByteNgrams([s.encode() for s in stories[:30]])
    text = stories[40].encode()[:200]
    steps = [-math.log2(next_byte(model, text[:i])[text[i]]) for i in range(len(text))]
    assert model.bits([text]) == pytest.approx(sum(steps))


def test_each_document_is_modelled_from_its_own_beginning() -> None:
    model = ByteNgrams([b"ab", b"ab", b"cd"])
    assert model.bits([b"ab", b"cd"]) == pytest.approx(model.bits([b"ab"]) + model.bits([b"cd"]))
    assert next_byte(model, b"").argmax() == ord("a")


def test_random_bytes_take_about_eight_bits_and_repeated_text_few() -> None:
    noise = np.random.default_rng(0).integers(0, 255, 60_000, np.uint8).tobytes()
    assert ByteNgrams([noise[:50_000]]).bits([noise[50_000:]]) / 10_000 > 7.9
    assert ByteNgrams([b"abcd" * 500]).bits([b"abcd" * 100]) / 400 < 0.1


def test_no_text_is_an_error() -> None:
    with pytest.raises(DataError, match="no text"):
        ByteNgrams([b""])


def test_tinystories_takes_no_more_than_the_reference_counts(real_data: Path) -> None:
    def documents(name: str, size: int) -> list[bytes]:
        text = (real_data / "tinystories" / name).read_bytes()[:size]
        return [d.strip() for d in text.split(b"<|endoftext|>") if d.strip()]

    baseline = measure_baseline(documents("train.txt", 10**8), documents("valid.txt", 150_000))
    assert 1.25 < float(baseline["bits_per_byte"]) <= 1.36
