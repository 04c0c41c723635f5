"""How well a model predicts what the assistant says, and whether it reads what it is asked.

Only the assistant's words count, and the ends of its turns: what the template calls trained.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from seedbed.evaluation.bits_per_byte import DocumentScores, Window, cut_windows, score_windows
from seedbed.evaluation.figures import Estimate
from seedbed.model.transformer import Transformer
from seedbed.statistics import ratio_standard_error
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.chat_template import Rendered, check_turns, render
from seedbed.tokenizers.conversation import Message, Role

Messages = Sequence[Message]


def score_conversations(
    model: Transformer,
    rendered: Sequence[Rendered],
    num_bytes: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    window: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> DocumentScores:
    """Return what the trained tokens of each conversation cost; `num_bytes` are their text's.

    A conversation is read at once where it fits into the context (into `window` tokens where that
    is given); the rest of a longer one in steps of half of it, so that half of what fits stands
    before each token at least. Computed in `dtype`; `progress` gets (tokens done, in all).
    """
    length = window or model.config.context_length
    windows: list[Window] = []
    tokens = np.zeros(len(rendered), dtype=np.int64)
    for number, conversation in enumerate(rendered):
        counted = np.asarray(conversation.trained[1:], dtype=bool)
        tokens[number] = counted.sum()
        size = int(counted.nonzero()[0].max(initial=-1)) + 1  # what comes later is not asked for
        ids = np.asarray(conversation.ids[: size + 1], dtype=np.int64)
        stride = max(1, length // 2)
        windows += cut_windows(number, ids, counted[:size], length=length, stride=stride)
    nats = score_windows(
        model, windows, len(rendered), length=length, dtype=dtype, progress=progress
    )
    return DocumentScores(nats, tokens, np.array(num_bytes, dtype=np.int64))


def score_messages(
    model: Transformer,
    tokenizer: Tokenizer,
    conversations: Sequence[Messages],
    *,
    window: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> DocumentScores:
    """Return what the assistant's words in each conversation cost.

    Raises CheckpointError for a model that does not know the tokens of a conversation.
    """
    check_turns(tokenizer, model.config.vocab_size)
    return score_conversations(
        model,
        [render(tokenizer, messages) for messages in conversations],
        [assistant_bytes(messages) for messages in conversations],
        dtype=model.compute_dtype,
        window=window,
        progress=progress,
    )


def assistant_bytes(messages: Messages) -> int:
    """Return how many bytes of UTF-8 the assistant says.

    >>> assistant_bytes([Message("user", "Hello"), Message("assistant", "né")])
    3
    """
    return sum(len(m.content.encode()) for m in messages if m.role == "assistant")


def stored_conversations(
    tokenizer: Tokenizer, documents: Iterable[NDArray[np.unsignedinteger]]
) -> Iterator[list[Message]]:
    """Yield the messages of conversations that stand in token files: `render` backwards.

    What is no conversation, such as a plain document among them, is left out.
    """
    special = tokenizer.special
    roles: dict[int, Role] = {
        special.system: "system",
        special.user: "user",
        special.assistant: "assistant",
    }
    for ids in documents:
        ends = np.flatnonzero(ids == special.eos)
        turns = (turn[turn != special.bos] for turn in np.split(ids, ends + 1))
        messages = [
            Message(roles[int(turn[0])], tokenizer.decode(turn[1:].tolist()))
            for turn in turns
            if len(turn) and int(turn[0]) in roles
        ]
        if messages:
            yield messages


# --- does it read the question? -------------------------------------------------------------


@dataclass(frozen=True)
class ShuffleFigures:
    """What the first answers cost after their own questions, and after those of others."""

    conversations: int
    own_bits_per_byte: float
    others_bits_per_byte: float
    worsening: Estimate  # others' over own, less 1: what the model has from reading the question


def first_exchanges(conversations: Sequence[Messages]) -> list[tuple[Messages, Message]]:
    """Return what precedes the first answer of each conversation, and that answer."""
    found: list[tuple[Messages, Message]] = []
    for messages in conversations:
        roles = [message.role for message in messages]
        if "assistant" in roles and (first := roles.index("assistant")) > 0:
            found.append((messages[:first], messages[first]))
    return found


def score_shuffled(
    model: Transformer,
    tokenizer: Tokenizer,
    conversations: Sequence[Messages],
    *,
    window: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> ShuffleFigures | None:
    """Return how much worse the first answers are predicted after the questions of others.

    None where more than half of the conversations begin with the same question.
    """
    exchanges = first_exchanges(conversations)
    questions = [tuple(question) for question, _ in exchanges]
    others = derange(questions, seed=0)
    if others is None:
        return None
    own = [[*question, answer] for question, answer in exchanges]
    crossed = [[*questions[o], own[i][-1]] for i, o in enumerate(others.tolist())]
    scores = score_messages(model, tokenizer, [*own, *crossed], window=window, progress=progress)
    nats = scores.nats.reshape(2, -1)  # (own and others', conversations)
    bits = (nats.sum(1) / math.log(2) / max(1, scores.bytes.sum() // 2)).tolist()
    return ShuffleFigures(
        conversations=len(own),
        own_bits_per_byte=bits[0],
        others_bits_per_byte=bits[1],
        worsening=Estimate.of(bits[1] / bits[0] - 1, ratio_standard_error(nats[1], nats[0])),
    )


def derange(values: Sequence[tuple[Message, ...]], *, seed: int) -> NDArray[np.int64] | None:
    """Return a permutation that gives each place another value; None where there is none.

    Equal values stand together in an order that is random otherwise; each place gets what stands
    as many places on as the most frequent value has copies.
    """
    places: dict[tuple[Message, ...], list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        places[value].append(place)
    most = max(map(len, places.values()), default=0)
    if not values or 2 * most > len(values):
        return None
    groups = list(places.values())
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    order = np.concatenate([groups[i] for i in shuffled])
    others = np.empty(len(values), dtype=np.int64)
    others[order] = np.roll(order, -most)
    return others
