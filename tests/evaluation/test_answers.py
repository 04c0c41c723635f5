from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from chat_models import KNOWN, TOKENIZER, model_that_knows, talk
from model_shapes import random_model
from seedbed.checkpoints import Checkpoint
from seedbed.errors import ConfigError
from seedbed.evaluation.answers import (
    Question,
    WrittenAnswer,
    answer_figures,
    choose_questions,
    exact_match,
    find_questions,
    squad_words,
    token_f1,
    write_answers,
)
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.conversation import Message
from seedbed.tokenizers.load import load_tokenizer
from sentencepiece_models import LLAMA, train_model


@pytest.fixture(scope="module")
def learned() -> Checkpoint:
    return Checkpoint(Path("none"), model_that_knows(), TOKENIZER, {})


def asked(text: str, *references: str) -> Question:
    return Question((Message("user", text),), references)


def answer(text: str, *references: str, finished: str = "end") -> WrittenAnswer:
    f1, same = token_f1(text, references), exact_match(text, references)
    return WrittenAnswer((), text, len(text), finished, references, same, f1)


# --- right or wrong -------------------------------------------------------------------------


def test_words_are_compared_as_squad_does() -> None:
    assert squad_words("  The U.S.A., an  isle -- A\nTheme!") == ["usa", "isle", "theme"]
    assert squad_words("the a an . !") == []


@pytest.mark.parametrize(
    ("text", "references", "same", "f1"),
    [
        ("Paris", ["paris."], True, 1.0),
        ("the Paris", ["Paris"], True, 1.0),
        ("in Paris", ["Paris"], False, 2 / 3),  # precision 1/2, recall 1
        ("Paris", ["in the old Paris"], False, 1 / 2),  # precision 1, recall 1/3
        ("red fox, red den", ["fox red"], False, 2 / 3),  # 2 of 4 words, and 2 of 2
        ("red red red", ["red"], False, 1 / 2),  # a word counts as often as both have it
        ("fox red", ["red fox"], False, 1.0),  # the order counts for the exact match alone
        ("blue", ["red", "dark blue", "deep dark blue"], False, 2 / 3),  # the nearest reference
        ("no", ["yes"], False, 0.0),
        ("", ["yes"], False, 0.0),
        ("yes", ["The."], False, 0.0),
        ("...", ["the"], True, 1.0),  # neither has a word
        ("18", [], False, 0.0),
    ],
)
def test_matches_are_those_worked_out_by_hand(
    text: str, references: list[str], same: bool, f1: float
) -> None:
    assert exact_match(text, references) is same
    assert token_f1(text, references) == pytest.approx(f1)


# --- figures --------------------------------------------------------------------------------


def test_figures_are_those_worked_out_by_hand() -> None:
    figures = answer_figures(
        [
            answer("It is red.", "it is red"),
            answer(" It is\nred.", "it is blue"),
            answer("so he went on " * 3, "yes", finished="length"),
            answer("so he went on " * 2 + "so he", "so he went", finished="length"),
        ],
        1,
    )
    assert figures.texts.finished.value == 0.5
    assert figures.texts.finished.standard_error == pytest.approx(math.sqrt(1 / 12))
    assert figures.texts.loops.value == 1 / 4  # "so he went on", three times running
    assert figures.distinct.value == 3 / 4  # the first two have the same words
    assert figures.texts.words.value == (3 + 3 + 12 + 10) / 4
    assert figures.exact_match.value == 1 / 4
    assert figures.exact_match.standard_error == pytest.approx(1 / 4)  # sqrt(3/4 / 3 / 4)
    # "it is red" and "it is blue" share 2 of 3; 10 words hold the 3 of "so he went".
    wanted = [1.0, 2 / 3, 0.0, 2 * 3 / (10 + 3)]
    assert figures.token_f1.value == pytest.approx(sum(wanted) / 4)
    mean = sum(wanted) / 4
    spread = math.sqrt(sum((f1 - mean) ** 2 for f1 in wanted) / 3 / 4)
    assert figures.token_f1.standard_error == pytest.approx(spread)


def test_errors_are_over_questions_and_not_over_their_samples() -> None:
    texts = ["yes", "yes", "no", "no"]  # two answers to each of two questions
    figures = answer_figures([answer(text, "yes") for text in texts], 2)
    assert figures.exact_match.value == 0.5
    assert figures.exact_match.standard_error == pytest.approx(0.5)
    assert figures.distinct.value == 1.0  # in each round


# --- questions ------------------------------------------------------------------------------


def test_a_question_is_asked_once_and_has_all_its_answers() -> None:
    talks = [
        talk("What?", "This.", "And?", "That."),
        talk("!Be kind.", "What?", "Kind."),
        talk("What?", "Other."),
    ]
    first, second = find_questions(talks)
    assert (first.messages, first.references) == (tuple(talks[0][:1]), ("This.", "Other."))
    assert (second.messages, second.references) == (tuple(talks[1][:2]), ("Kind.",))


def test_questions_are_spread_and_those_that_do_not_fit_are_left_out(learned: Checkpoint) -> None:
    notes: list[str] = []
    questions = [asked(str(number)) for number in range(10)]
    chosen = choose_questions(learned, questions, 4, notes.append)
    assert [question.messages[0].content for question in chosen] == ["0", "3", "6", "9"]
    assert not notes
    # bos, user, text, eos and assistant: 44 bytes of text make 48 tokens, and no room to answer.
    fits, too_long = asked("x" * 43), asked("x" * 44)
    assert choose_questions(learned, [fits, too_long], 4, notes.append) == [fits]
    assert notes == [
        "1 of 2 questions do not fit into the model's context of 48 tokens: they are not asked."
    ]
    assert choose_questions(learned, [too_long], 4, notes.append) == []


# --- answers --------------------------------------------------------------------------------


def test_what_was_learned_by_heart_is_answered_and_ended(learned: Checkpoint) -> None:
    questions = find_questions(KNOWN)
    seen: list[tuple[int, int]] = []
    written = write_answers(
        learned,
        questions,
        sampling=SamplingSettings(temperature=0),
        max_new_tokens=20,
        progress=lambda *step: seen.append(step),
    )
    assert [own.answer for own in written] == ["meow", "woof", "moo!", "blue"]
    assert {own.finished for own in written} == {"end"}
    assert [own.tokens for own in written] == [5] * 4  # the end is one
    assert all(own.exact_match and own.token_f1 == 1 for own in written)
    assert [own.messages for own in written] == [question.messages for question in questions]
    assert (seen[0], seen[-1]) == ((0, 4), (4, 4))


def test_an_answer_that_is_cut_has_not_ended(learned: Checkpoint) -> None:
    [cut] = write_answers(
        learned,
        find_questions(KNOWN[:1]),
        sampling=SamplingSettings(temperature=0),
        max_new_tokens=3,
    )
    assert (cut.answer, cut.finished, cut.tokens) == ("meo", "length", 3)


def test_samples_of_a_question_stand_together_and_a_seed_repeats_them(learned: Checkpoint) -> None:
    hot = SamplingSettings(temperature=3.0, top_k=0)
    options = {"samples": 3, "max_new_tokens": 8, "sampling": hot}
    questions = find_questions(KNOWN)
    written = write_answers(learned, questions, **options, seed=1)
    assert written == write_answers(learned, questions, **options, seed=1)
    assert written != write_answers(learned, questions, **options, seed=2)
    assert [own.messages for own in written[::3]] == [q.messages for q in questions]
    assert len({own.answer for own in written[:3]}) > 1


def test_more_questions_than_fit_at_a_time_are_all_answered(
    learned: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = SamplingSettings(temperature=0)
    questions = find_questions(KNOWN)
    whole = write_answers(learned, questions, sampling=greedy, max_new_tokens=9)
    monkeypatch.setattr("seedbed.generation.engine._MOST_ROWS", 3)
    assert write_answers(learned, questions, sampling=greedy, max_new_tokens=9) == whole


def test_the_space_that_sentencepiece_puts_in_front_is_no_part_of_an_answer(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(train_model(tmp_path / "a.model", **LLAMA))
    [word] = tokenizer.encode("fox")
    model = random_model(vocab_size=tokenizer.vocab_size, tie_embeddings=False)
    with torch.no_grad():  # which says the word "fox" for ever
        for parameter in model.parameters():
            parameter.fill_(0.0)
        model.embedding.weight[:, 0] = 1.0
        model.norm.weight.fill_(1.0)
        model.head.weight[word, 0] = 9.0
    greedy = SamplingSettings(temperature=0)
    loaded = Checkpoint(tmp_path, model, tokenizer, {})
    [written] = write_answers(loaded, [asked("Who?")], sampling=greedy, max_new_tokens=2)
    assert tokenizer.token_bytes(word) == b" fox"
    assert written.answer == "fox fox"


def test_no_question_has_no_answer(learned: Checkpoint) -> None:
    assert write_answers(learned, []) == []
    with pytest.raises(ConfigError, match="`max_new_tokens` is 0"):
        write_answers(learned, find_questions(KNOWN), max_new_tokens=0)
