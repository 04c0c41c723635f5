from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chat_models import KNOWN, TOKENIZER, model_that_knows, talk
from model_shapes import random_model
from seedbed.errors import CheckpointError
from seedbed.evaluation.chat import (
    derange,
    first_exchanges,
    score_conversations,
    score_messages,
    score_shuffled,
    stored_conversations,
)
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.chat_template import Rendered, render
from seedbed.tokenizers.conversation import Message

LENGTH = 24  # the context of the models
SIZES = (2, 7, 24, 25, 26, 36, 37, 38, 48, 49, 61, 100)


def conversations(*sizes: int, trained: float = 0.5) -> list[Rendered]:
    """Return random ids, about half of them trained, never the first."""
    generator = np.random.default_rng(7)
    made = []
    for size in sizes:
        mask = [False, *(generator.random(size - 1) < trained).tolist()]
        made.append(Rendered(generator.integers(0, 90, size).tolist(), mask))
    return made


def slow_nats(model: Transformer, rendered: Rendered, length: int = LENGTH) -> float:
    """Return the cost of the trained tokens, a token at a time, each with what it may see.

    Up to `length` inputs it is all; after that, blocks of half of that share a window that ends
    where the block does.
    """
    places = [place for place, trained in enumerate(rendered.trained) if trained]
    total = 0.0
    for place in places:
        first = 0
        if place > length:
            block = (place - 1 - length) // (length // 2)
            end = min(length + (block + 1) * (length // 2), places[-1])
            first = end - length
        with torch.no_grad():
            logits = model(torch.tensor([rendered.ids[first:place]]))[0, -1]
        total -= logits.double().log_softmax(-1)[rendered.ids[place]].item()
    return total


def scored(model: Transformer, rendered: list[Rendered], **options: Any) -> list[float]:
    scores = score_conversations(model, rendered, [1] * len(rendered), **options)
    return scores.nats.tolist()


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_scores_are_those_of_the_trained_tokens_one_at_a_time(name: str) -> None:
    model, made = random_model(name), conversations(*SIZES)
    scores = score_conversations(model, made, [1] * len(made))
    wanted = [slow_nats(model, rendered) for rendered in made]
    assert scores.nats.tolist() == pytest.approx(wanted, rel=1e-5)
    assert scores.tokens.tolist() == [sum(rendered.trained) for rendered in made]


def test_windows_may_be_shorter_than_the_context() -> None:
    model, made = random_model(), conversations(*SIZES)
    wanted = [slow_nats(model, rendered, length=10) for rendered in made]
    assert scored(model, made, window=10) == pytest.approx(wanted, rel=1e-5)


def test_scores_do_not_depend_on_the_other_conversations() -> None:
    model, made = random_model(), conversations(*SIZES)
    alone = [scored(model, [rendered])[0] for rendered in made]
    assert scored(model, made) == pytest.approx(alone, rel=1e-5)
    assert scored(model, made[::-1]) == pytest.approx(alone[::-1], rel=1e-5)


def test_two_masks_cost_what_both_together_cost() -> None:
    model = random_model()
    [whole] = conversations(LENGTH, trained=1.0)
    first = [place % 3 == 1 for place in range(LENGTH)]
    rest = [place > 0 and not own for place, own in enumerate(first)]
    parts = [Rendered(whole.ids, first), Rendered(whole.ids, rest), whole]
    one, other, both = scored(model, parts)
    assert one + other == pytest.approx(both, rel=1e-5)


def test_what_comes_after_the_last_trained_token_does_not_matter() -> None:
    model = random_model()
    [rendered] = conversations(20)
    longer = Rendered(rendered.ids + [5] * 50, rendered.trained + [False] * 50)
    assert scored(model, [longer]) == pytest.approx(scored(model, [rendered]), rel=1e-6)


def test_a_conversation_with_nothing_to_learn_costs_nothing() -> None:
    made = [Rendered([1, 2, 3], [False] * 3), Rendered([4, 5], [False, True])]
    scores = score_conversations(random_model(), made, [0, 1])
    assert scores.nats[0] == 0
    assert scores.tokens.tolist() == [0, 1]


def test_only_the_assistants_words_and_ends_count() -> None:
    model = random_model(vocab_size=TOKENIZER.vocab_size, context_length=64)
    with torch.no_grad():
        model.embedding.weight.zero_()  # the tied head: every logit is 0
    spoken = [talk("!Be kind.", "Who are you?", "Née Ann", "And now?", "Bob"), talk("Hi", "Ho")]
    scores = score_messages(model, TOKENIZER, spoken)
    assert scores.bytes.tolist() == [8 + 3, 2]
    assert scores.tokens.tolist() == [8 + 1 + 3 + 1, 2 + 1]
    assert scores.loss == pytest.approx(math.log(TOKENIZER.vocab_size), rel=1e-6)
    assert scores.bits_per_byte == pytest.approx(math.log2(TOKENIZER.vocab_size) * 16 / 13)


def test_a_model_that_was_not_trained_knows_no_better_than_chance() -> None:
    untrained = random_model(vocab_size=260, context_length=64)
    with torch.no_grad():
        untrained.embedding.weight.mul_(0.01)
    bits = score_messages(untrained, TOKENIZER, KNOWN).loss / math.log(2)
    assert bits == pytest.approx(math.log2(260), rel=0.05)


def test_the_model_comes_back_as_it_was_and_dropout_is_off() -> None:
    model = random_model(dropout=0.5).train()
    model.compute_dtype = torch.bfloat16
    made = conversations(20, 30)
    assert scored(model, made) == scored(model, made)
    assert model.training
    assert model.compute_dtype == torch.bfloat16


def test_progress_counts_the_trained_tokens() -> None:
    seen: list[tuple[int, int]] = []
    made = conversations(*SIZES)
    scored(random_model(), made, progress=lambda *step: seen.append(step))
    total = sum(sum(rendered.trained) for rendered in made)
    assert seen[-1] == (total, total)


def test_a_model_without_tokens_for_turns_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"96 tokens and none .*`seedbed finetune`"):
        score_messages(random_model(), TOKENIZER, KNOWN)


# --- stored conversations -------------------------------------------------------------------

TRICKY = talk("!<user> be", "<|endoftext|><assistant> né 🌱", " \n", "", "b")


@pytest.mark.parametrize("bos", [TOKENIZER.special.eos, 300])
def test_stored_conversations_are_what_was_rendered(
    bos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TOKENIZER, "special", replace(TOKENIZER.special, bos=bos))
    stored = [np.array(render(TOKENIZER, m).ids, np.uint16) for m in (*KNOWN, TRICKY)]
    plain = np.array([*TOKENIZER.encode("No turns."), TOKENIZER.special.eos], np.uint16)
    assert list(stored_conversations(TOKENIZER, [*stored, plain])) == [*KNOWN, TRICKY]


# --- shuffled questions ---------------------------------------------------------------------


def values(text: str) -> list[tuple[Message, ...]]:
    return [(Message("user", letter),) for letter in text]


@pytest.mark.parametrize("text", ["ab", "abc", "aabb", "aaabcd", "abacabad", "xyxyzzzxyz"])
def test_shuffling_is_a_permutation_that_gives_each_another_value(text: str) -> None:
    given = values(text)
    for seed in range(20):
        others = derange(given, seed=seed)
        assert others is not None
        assert sorted(others.tolist()) == list(range(len(text)))
        assert all(given[place] != given[other] for place, other in enumerate(others))
    again, same = (derange(given, seed=3) for _ in range(2))
    assert again is not None
    assert same is not None
    assert again.tolist() == same.tolist()


def test_shuffling_depends_on_the_seed_and_reaches_every_other_place() -> None:
    reached = Counter()
    for seed in range(100):
        others = derange(values("abcde"), seed=seed)
        assert others is not None
        reached[int(others[0])] += 1
    assert set(reached) == {1, 2, 3, 4}


@pytest.mark.parametrize("text", ["", "a", "aa", "aab", "aaabb"])
def test_where_most_values_are_equal_there_is_no_shuffling(text: str) -> None:
    assert derange(values(text), seed=0) is None


def test_the_first_exchange_is_what_precedes_the_first_answer() -> None:
    system, *rest = talk("!Be kind.", "Hi", "Ho", "Hm", "Ha")
    found = first_exchanges([[system, *rest], talk("No answer"), rest[1:]])
    assert found == [([system, rest[0]], rest[1])]


def test_a_model_that_reads_the_question_is_worse_after_that_of_others() -> None:
    model = model_that_knows()
    figures = score_shuffled(model, TOKENIZER, KNOWN)
    assert figures is not None
    assert figures.conversations == 4
    assert figures.own_bits_per_byte < 0.2
    assert figures.others_bits_per_byte > 1
    assert figures.worsening.value == pytest.approx(
        figures.others_bits_per_byte / figures.own_bits_per_byte - 1
    )
    firsts = [messages[:2] for messages in KNOWN]
    assert figures.own_bits_per_byte == score_messages(model, TOKENIZER, firsts).bits_per_byte


def test_a_model_that_does_not_read_is_as_good_after_the_question_of_others() -> None:
    model = random_model(vocab_size=TOKENIZER.vocab_size, context_length=64)
    with torch.no_grad():
        model.embedding.weight.zero_()
    figures = score_shuffled(model, TOKENIZER, KNOWN)
    assert figures is not None
    assert figures.worsening.value == pytest.approx(0, abs=1e-6)
    assert score_shuffled(model, TOKENIZER, KNOWN[:1] * 3) is None
