"""What `seedbed eval --chat` reports: how a model converses, on conversations it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from seedbed.checkpoints import Checkpoint, load_checkpoint
from seedbed.data.conversations import read_conversations
from seedbed.data.documents import find_sources
from seedbed.data.drops import Drops
from seedbed.data.prepared import open_dataset
from seedbed.data.token_shards import SPLITS, Split
from seedbed.distributed import join_world
from seedbed.errors import ConfigError, DataError, UserError
from seedbed.evaluation.answers import (
    AnswerFigures,
    WrittenAnswer,
    answer_figures,
    choose_questions,
    find_questions,
    write_answers,
)
from seedbed.evaluation.chat import (
    Messages,
    ShuffleFigures,
    assistant_bytes,
    score_messages,
    score_shuffled,
)
from seedbed.evaluation.evaluate import (
    EvalReport,
    conversations_of,
    dataset_of_run,
    report_of,
    trained_window,
)
from seedbed.evaluation.figures import TextFigures, text_figures
from seedbed.evaluation.generations import Show, check_counts
from seedbed.evaluation.prompts import NUM_PROMPTS
from seedbed.generation.engine import Generation
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.chat_template import render


@dataclass(frozen=True)
class ChatReport:
    """How a model converses. The names are those of the JSON that `eval --chat` prints."""

    assistant: EvalReport  # how well it predicts what the assistant says
    shuffled: ShuffleFigures | None  # does it read the question; None: too few different ones
    questions: int  # asked
    samples: int  # answers to each
    max_new_tokens: int
    seed: int
    sampling: dict[str, Any]
    answers: AnswerFigures | None  # None: no question fits into the context
    human: TextFigures | None  # of the first reference of each question
    texts: tuple[WrittenAnswer, ...]


def evaluate_chat(
    checkpoint: Path,
    sources: Sequence[str],
    *,
    data: Path | None = None,
    samples: int = 1,
    max_new_tokens: int = 200,
    sampling: SamplingSettings | None = None,
    seed: int = 0,
    limit: int = NUM_PROMPTS,
    device: str = "auto",
    precision: str = "fp32",
    progress: Show = lambda stage, done, total: None,  # noqa: ARG005
    note: Callable[[str], object] = warnings.warn,
) -> ChatReport:
    """Return how a checkpoint or run converses, measured on the conversations of `sources`.

    A source may be "val" or "train": the split of `data`, or of the dataset that the run keeps. All
    conversations are scored; of `limit` of their first questions, the answers are written and
    looked at. `note` is told what is left out, and what the run was trained on; `precision` is that
    of `load_checkpoint`. Raises ConfigError, DataError or CheckpointError.
    """
    check_counts(samples=samples, max_new_tokens=max_new_tokens, limit=limit)
    loaded = load_checkpoint(checkpoint, join_world(device).device, precision)
    conversations = _read(loaded, sources, data, note)
    _note_what_was_learned(loaded, conversations, note)
    model, tokenizer, window = loaded.model, loaded.tokenizer, trained_window(loaded)
    scores = score_messages(
        model, tokenizer, conversations, window=window, progress=partial(progress, "scoring")
    )
    shuffled = score_shuffled(
        model, tokenizer, conversations, window=window, progress=partial(progress, "shuffling")
    )
    questions = choose_questions(loaded, find_questions(conversations), limit, note)
    sampling = sampling or SamplingSettings()
    texts = write_answers(
        loaded,
        questions,
        samples=samples,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seed=seed,
        progress=partial(progress, "answering"),
    )
    human = [_human(question.references[0], tokenizer) for question in questions]
    return ChatReport(
        assistant=report_of(scores),
        shuffled=shuffled,
        questions=len(questions),
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        sampling=sampling.model_dump(),
        answers=answer_figures(texts, samples) if texts else None,
        human=text_figures(human, 1, None) if human else None,
        texts=tuple(texts),
    )


def _read(
    loaded: Checkpoint,
    sources: Sequence[str],
    data: Path | None,
    note: Callable[[str], object],
) -> list[Messages]:
    """Return the conversations of all sources in which the assistant says something."""
    splits = [cast("Split", source) for source in sources if source in SPLITS]
    if data and not splits:
        raise ConfigError("`--data` is for `--chat val` or `--chat train`.")
    drops = Drops()
    files = [source for source in sources if source not in SPLITS]
    read = read_conversations(find_sources(files), drops=drops) if files else ()
    found: list[Messages] = [conversation.messages for conversation in read]
    for reason, facts in drops.facts().items():
        note(f"{facts['documents']:,} left out: {reason} (the first is {facts['first']}).")
    for split in splits:
        dataset = open_dataset(data) if data else dataset_of_run(loaded)
        if not dataset.manifest.get("conversations"):
            raise ConfigError(
                f"{dataset.folder} holds no conversations, so `--chat {split}` has none to take. "
                "Name a SOURCE with conversations."
            )
        shards = dataset.val if split == "val" else dataset.train
        found += conversations_of(dataset, shards, range(shards.num_documents))
    spoken = [messages for messages in found if assistant_bytes(messages)]
    if not spoken:
        raise DataError(f"There is no conversation with an answer in {', '.join(sources)}.")
    return spoken


def _note_what_was_learned(
    loaded: Checkpoint, conversations: Sequence[Messages], note: Callable[[str], object]
) -> None:
    """Tell how many of the conversations the model was trained on, where its run keeps those."""
    try:
        dataset = dataset_of_run(loaded)
    except UserError:
        return
    if not dataset.manifest.get("conversations"):
        return
    train = dataset.train
    learned = {train.document(number).tobytes() for number in range(train.num_documents)}
    rendered = (render(dataset.tokenizer, messages).ids for messages in conversations)
    seen = sum(np.array(ids, train.tokens.dtype).tobytes() in learned for ids in rendered)
    if seen:
        note(
            f"The model was trained on {seen:,} of these {len(conversations):,} conversations. Of "
            "new ones it may know less: `--chat val` has those that were held out."
        )


def _human(reference: str, tokenizer: Tokenizer) -> Generation:
    """Return a reference as if it had been generated: the end of its turn is a token."""
    return Generation("", reference, len(tokenizer.encode(reference)) + 1, "end")
