"""What a model answers: whether its turns end, loop and differ, and how near they are to right."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from seedbed.checkpoints import Checkpoint
from seedbed.evaluation.chat import Messages, first_exchanges
from seedbed.evaluation.figures import Estimate, TextFigures, mean_estimate, rounds, text_figures
from seedbed.evaluation.prompts import spread
from seedbed.evaluation.variety import distinct
from seedbed.generation.engine import Continuation, Generation, write
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.base import bytes_before_text
from seedbed.tokenizers.chat_template import answer_prompt
from seedbed.tokenizers.conversation import Message

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Question:
    """What comes before a first answer, and every first answer that the set has to it."""

    messages: tuple[Message, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class WrittenAnswer:
    """One answer, and how it agrees with the nearest reference."""

    messages: tuple[Message, ...]  # that it answers
    answer: str
    tokens: int
    finished: str  # "end" of the turn, or "length"
    references: tuple[str, ...]
    exact_match: bool
    token_f1: float


@dataclass(frozen=True)
class AnswerFigures:
    """What a set of answers is like."""

    texts: TextFigures  # `finished` is the share that ends its turn
    distinct: Estimate  # share of whole answers that are distinct
    exact_match: Estimate  # share that is a reference, but for case, punctuation and articles
    token_f1: Estimate  # of the words in common with the nearest reference, mean over answers


def find_questions(conversations: Sequence[Messages]) -> list[Question]:
    """Return each question that begins a conversation, once, with all the answers to it."""
    answers: dict[tuple[Message, ...], list[str]] = {}
    for messages, answer in first_exchanges(conversations):
        answers.setdefault(tuple(messages), []).append(answer.content)
    return [Question(messages, tuple(own)) for messages, own in answers.items()]


def choose_questions(
    loaded: Checkpoint, questions: Sequence[Question], limit: int, note: Callable[[str], object]
) -> list[Question]:
    """Return `limit` questions at most, spread evenly over those that the model can read whole."""
    most = loaded.model.config.context_length
    fit = [q for q in questions if len(answer_prompt(loaded.tokenizer, q.messages)) < most]
    if len(fit) < len(questions):
        note(
            f"{len(questions) - len(fit):,} of {len(questions):,} questions do not fit into the "
            f"model's context of {most:,} tokens: they are not asked."
        )
    return [fit[i] for i in spread(len(fit), limit)] if fit else []


def write_answers(
    loaded: Checkpoint,
    questions: Sequence[Question],
    *,
    samples: int = 1,
    max_new_tokens: int = 200,
    sampling: SamplingSettings | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,  # noqa: ARG005
) -> list[WrittenAnswer]:
    """Return `samples` answers to the first question, as many to the next.

    `progress` gets (answers written, in all).
    """
    asked = [question for question in questions for _ in range(samples)]
    prompts = [answer_prompt(loaded.tokenizer, question.messages) for question in asked]
    written = write(
        loaded.model,
        loaded.tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seed=seed,
        progress=progress,
    )
    in_front = " " * bytes_before_text(loaded.tokenizer)
    return [
        _judged(question, own._replace(text=own.text.removeprefix(in_front)))
        for question, own in zip(asked, written, strict=True)
    ]


def _judged(question: Question, answer: Continuation) -> WrittenAnswer:
    """Return the answer, compared with its references."""
    return WrittenAnswer(
        messages=question.messages,
        answer=answer.text,
        tokens=answer.tokens,
        finished=answer.finished,
        references=question.references,
        exact_match=exact_match(answer.text, question.references),
        token_f1=token_f1(answer.text, question.references),
    )


def answer_figures(answers: Sequence[WrittenAnswer], samples: int) -> AnswerFigures:
    """Return the figures of answers: `samples` to the first question, as many to the next.

    Standard errors are over questions.
    """
    texts = [Generation("", a.answer, a.tokens, a.finished) for a in answers]
    whole = [[" ".join(a.answer.split())] for a in answers]  # each a single word, as it were
    return AnswerFigures(
        texts=text_figures(texts, samples, None),
        distinct=Estimate.of(*distinct(rounds(whole, samples), 1)),
        exact_match=mean_estimate([a.exact_match for a in answers], samples),
        token_f1=mean_estimate([a.token_f1 for a in answers], samples),
    )


# --- right or wrong -------------------------------------------------------------------------


def squad_words(text: str) -> list[str]:
    """Return the words of an answer in lower case, without punctuation and articles.

    As the evaluation script of Rajpurkar et al., "SQuAD" (EMNLP 2016), normalises answers.

    >>> squad_words("The fox's den, an old one.")
    ['foxs', 'den', 'old', 'one']
    """
    plain = text.lower().translate(_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def exact_match(answer: str, references: Iterable[str]) -> bool:
    """Return whether the answer has the words of a reference, in its order and no others.

    >>> exact_match("Paris.", ["Lyon", "the paris"])
    True
    """
    words = squad_words(answer)
    return any(words == squad_words(reference) for reference in references)


def token_f1(answer: str, references: Iterable[str]) -> float:
    """Return the F1 of the answer's words and those of the nearest reference.

    It is the harmonic mean of the share of the answer's words that the reference has and of the
    share of the reference's that the answer has; where one of them has no words, 1 if both have
    none, else 0 (SQuAD 2.0).

    >>> token_f1("a small red fox", ["The red fox jumps"])  # 2 of 3 words, and 2 of 3
    0.6666666666666666
    """
    words = squad_words(answer)
    return max((_f1(words, squad_words(reference)) for reference in references), default=0.0)


def _f1(words: Sequence[str], wanted: Sequence[str]) -> float:
    if not words or not wanted:
        return float(words == wanted)
    common = sum((Counter(words) & Counter(wanted)).values())
    return 2 * common / (len(words) + len(wanted))
