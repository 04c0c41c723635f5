from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed.evaluation.variety import distinct, loops, ngrams, repetition


def words(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


def test_distinct_counts_over_all_texts_of_a_round() -> None:
    # 1-grams: a b a b c, and a c: {a, b, c} of 7; 2-grams: ab ba ab bc ac: {ab, ba, bc, ac} of 5
    texts = words("a b a b c", "a c")
    assert distinct([texts], 1)[0] == pytest.approx(3 / 7)
    assert distinct([texts], 2)[0] == pytest.approx(4 / 5)
    assert math.isnan(distinct([texts], 6)[0])


def test_more_rounds_do_not_lower_the_share() -> None:
    texts = words("a b", "c d")
    assert distinct([texts], 1)[0] == distinct([texts, texts, texts], 1)[0] == 1.0


def test_the_error_of_distinct_is_that_of_leaving_each_text_out() -> None:
    texts = words("a b a", "b c d e", "a a a a a f")
    _, error = distinct([texts], 1)
    values = [distinct([texts[:i] + texts[i + 1 :]], 1)[0] for i in range(3)]
    centre = sum(values) / 3
    assert error == pytest.approx(math.sqrt(2 / 3 * sum((v - centre) ** 2 for v in values)))
    assert math.isnan(distinct([texts[:1]], 1)[1])


def test_repetition_is_the_share_of_ngrams_that_came_before() -> None:
    assert repetition(list("abcdef")) == 0.0
    # abcd bcda cdab dabc abcd: the last came before
    assert repetition(list("abcdabcd")) == pytest.approx(1 / 5)
    assert repetition(["no"] * 7) == pytest.approx(3 / 4)
    assert math.isnan(repetition(list("abc")))


@pytest.mark.parametrize("period", [1, 2, 4, 5, 11])
def test_a_run_that_comes_three_times_is_a_loop(period: int) -> None:
    block = [f"word{i}" for i in range(period)]
    times = max(3, math.ceil(12 / period))
    before, after = ["At", "last"], ["so", "it", "ended"]
    assert loops([*before, *block * times, *after])
    assert not loops([*before, *block * 2, *after])
    assert not loops([*before, *(block * times)[:-1], *after])


def test_longer_runs_are_no_loops_where_the_longest_is_given() -> None:
    ids = [*range(8)] * 3
    assert loops(ids)
    assert loops(ids, longest_period=8)
    assert not loops(ids, longest_period=7)


def test_no_words_make_no_ngrams_and_no_loop() -> None:
    assert ngrams([], 1) == []
    assert not loops([])
    assert not loops(["a"])


def test_random_words_do_not_loop() -> None:
    numbers = np.random.default_rng(0).integers(0, 50, 500)
    assert not loops([str(number) for number in numbers])
