"""Any SOURCE to a stream of conversations, or of preferences between two answers.

What a record must look like is said in conversation_formats.py. What is done with its turns:

- White space around a content is left out; an empty turn is left out.
- Turns of one speaker in a row become one, with a blank line between them.
- A conversation begins with the user, after the system message: an assistant turn before that
  answers what is not there, and is left out.
- It ends with the assistant: a last turn that nobody answers is left out.
- Dropped is a conversation with a role other than system, user and assistant (tools, functions),
  with a system message in its midst, with content that is not text, or without an answer.

All of this is counted in `Drops`.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from seedbed.data.conversation_formats import (
    RecordError,
    Turns,
    conversations_in,
    pair_in,
    record_in,
)
from seedbed.data.documents import whole_documents
from seedbed.data.drops import (
    ASSISTANT_FIRST,
    BROKEN_UTF8,
    EMPTY_TURN,
    LATE_SYSTEM,
    NO_ANSWER,
    NOT_A_PAIR,
    UNANSWERED,
    Drops,
)
from seedbed.data.pieces import Part, Piece, ReadOptions, Source
from seedbed.data.records import RecordCount
from seedbed.errors import DataError
from seedbed.tokenizers.conversation import Conversation, Message

_LONGEST = 1 << 24  # characters of a record


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to a prompt that ends with the user's turn, and where they were found."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    place: str = field(default="", compare=False)  # such as "pairs.jsonl line 7", for a message


Read = TypeVar("Read", Conversation, Preference)


def read_conversations(sources: Sequence[Source], *, drops: Drops) -> Iterator[Conversation]:
    """Yield the conversations of all sources in order, their turns put in order as said above.

    Each begins with a system or user turn, and ends with an assistant turn. What is left out is
    counted in `drops`. Raises DataError for what cannot be read, and for a file of which the first
    records, or most, are no conversations.

    >>> from seedbed.data.documents import find_sources
    >>> first = next(read_conversations(find_sources(["sample:chats:5"]), drops=Drops()))
    >>> first.messages[-1].role
    'assistant'
    """
    return _read(sources, _conversations, drops)


def read_preferences(sources: Sequence[Source], *, drops: Drops) -> Iterator[Preference]:
    """Yield the preferences of all sources in order.

    A prompt is put in order as a conversation is, and ends with a user turn. Raises DataError as
    `read_conversations` does.
    """
    return _read(sources, _preferences, drops)


def _read(
    sources: Sequence[Source],
    read: Callable[[object, str, Drops], Iterable[Read]],
    drops: Drops,
) -> Iterator[Read]:
    options = ReadOptions(records=True)
    for part in (part for source in sources for part in source.parts):
        count = RecordCount(part.name, drops, lacking="cannot be used")
        for text, line in whole_documents(_not_too_long(part, options, drops)):
            if not text:
                continue
            place = f"{part.name} line {line:,}"
            try:
                found = list(read(record_in(text), place, drops))
            except RecordError as error:
                count.skip(error.reason, line, str(error))
            else:
                count.keep()
                yield from found
        count.finish()


def _not_too_long(part: Part, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    size = 0
    for piece in part.pieces(options, drops):
        size += len(piece.text)
        if size > _LONGEST:
            raise DataError(
                f"{part.name}: no conversation ends within {_LONGEST:,} characters. In text, each "
                "message begins a line with <system>, <user> or <assistant>, and a line "
                "<|endoftext|> stands between conversations."
            )
        yield piece
        size = 0 if piece.last else size


def _conversations(record: object, place: str, drops: Drops) -> Iterable[Conversation]:
    found = conversations_in(record)
    for turns in found:
        try:
            yield _conversation(turns, place, drops)
        except RecordError as error:
            if len(found) == 1:
                raise
            drops.add(error.reason, f"{place}: {error}")


def _conversation(turns: Turns, place: str, drops: Drops) -> Conversation:
    messages = _in_order(turns, place, drops)
    if all(message.role != "assistant" for message in messages):
        raise RecordError(NO_ANSWER, "no assistant turn that answers a user's")
    if messages[-1].role != "assistant":
        drops.add(UNANSWERED, place)
        messages.pop()
    return Conversation(tuple(messages), place)


def _preferences(record: object, place: str, drops: Drops) -> Iterable[Preference]:
    pair = pair_in(record)
    prompt = _in_order(pair.prompt, place, drops)
    chosen, rejected = (_checked(text.strip()) for text in (pair.chosen, pair.rejected))
    if not prompt or prompt[-1].role != "user":
        raise RecordError(NOT_A_PAIR, "the prompt does not end with a user turn")
    if not chosen or not rejected or chosen == rejected:
        raise RecordError(NOT_A_PAIR, "chosen and rejected are the same, or one is empty")
    yield Preference(tuple(prompt), chosen, rejected, place)


def _in_order(turns: Turns, place: str, drops: Drops) -> list[Message]:
    """Return the turns that are kept; only the first may be the system's, the next the user's."""
    messages: list[Message] = []
    for turn in turns:
        content = _checked(turn.content.strip())
        if not content:
            drops.add(EMPTY_TURN, place)
        elif messages and messages[-1].role == turn.role:
            messages[-1] = Message(turn.role, f"{messages[-1].content}\n\n{content}")
        elif messages and turn.role == "system":
            raise RecordError(LATE_SYSTEM, "a system message that is not first")
        elif turn.role == "assistant" and (not messages or messages[-1].role == "system"):
            drops.add(ASSISTANT_FIRST, place)
        else:
            messages.append(Message(turn.role, content))
    return messages


def _checked(content: str) -> str:
    try:
        content.encode()
    except UnicodeEncodeError:
        raise RecordError(BROKEN_UTF8, "text that is not UTF-8") from None
    return content
