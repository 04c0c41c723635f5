"""A conversation with a model, without the terminal: what was said, and answers as they come."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from seedbed.checkpoints import Checkpoint
from seedbed.config import build
from seedbed.errors import ConfigError, DataError
from seedbed.files import write_text
from seedbed.generation.engine import GeneratedToken, stream
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.base import Tokenizer, bytes_before_text
from seedbed.tokenizers.chat_template import answer_prompt, check_turns
from seedbed.tokenizers.conversation import Message
from seedbed.tokenizers.utf8 import encode_utf8

_ROOM = 4  # an answer may always have a quarter of the context
_SUFFIXES = (".json", ".jsonl")
_MESSAGES = TypeAdapter(list[Message])


@dataclass
class Answer:
    """An answer under way. Iterating over it gives its text, piece by piece, as it is drawn."""

    prompt: str
    left_out: int  # oldest messages that the model did not see
    text: str = ""  # so far
    tokens: int = 0
    finished: str = "interrupted"  # until it has ended: then "end" (of the turn) or "length"
    pieces: Generator[str] = field(init=False, repr=False)

    def __iter__(self) -> Iterator[str]:
        return self.pieces

    def close(self) -> None:
        """End it here, if it has not ended yet."""
        self.pieces.close()


class Chat:
    """A conversation with the model of a checkpoint.

    `messages` are those of the user and the assistant in turn, always whole exchanges; the system
    prompt stands apart. The same seed and the same inputs give the same answers.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        system: str = "",
        sampling: SamplingSettings | None = None,
        max_new_tokens: int = 200,
        seed: int = 0,
    ) -> None:
        num_rows = checkpoint.model.config.vocab_size
        check_turns(checkpoint.tokenizer, num_rows, of=checkpoint.path)
        if max_new_tokens < 1:
            raise ConfigError(f"`max_new_tokens` is {max_new_tokens} but must be 1 or more.")
        self.checkpoint = checkpoint
        self.system = system.strip()
        self.sampling = sampling or SamplingSettings()
        self.max_new_tokens = max_new_tokens
        self.messages: list[Message] = []
        self._next_seed = seed

    @property
    def history(self) -> list[Message]:
        """All that was said, the system prompt first where there is one."""
        return [*([Message("system", self.system)] if self.system else []), *self.messages]

    def answer(self, text: str) -> Answer:
        """Return the answer to what the user says; ended, or ended early, it joins the history.

        So does the text, unless the answer is interrupted before its first piece. Raises
        ConfigError for a text that is empty, or too long for the model's context.
        """
        if not text.strip():
            raise ConfigError("The message is empty. Write what the model shall answer.")
        return self._answer(self.messages, text.strip())  # as in what it was trained on

    def retry(self) -> Answer:
        """Return another answer to the last message, which takes the place of the last one.

        Raises ConfigError when nothing was said yet.
        """
        return self._answer(self.messages[:-2], self._last_question())

    def undo(self) -> str:
        """Take back the last message and its answer; return the message.

        Raises ConfigError when nothing was said yet.
        """
        question = self._last_question()
        self.messages = self.messages[:-2]
        return question

    def reset(self) -> None:
        """Forget all but the system prompt."""
        self.messages = []

    def set_temperature(self, temperature: float | str) -> None:
        """Draw the next answers at this temperature. Raises ConfigError when it is none."""
        changed = {"temperature": temperature}
        self.sampling = build(SamplingSettings, self.sampling.model_dump(), changed)

    def save(self, path: Path) -> None:
        """Write what was said to a .json or .jsonl file, in the form that `finetune` learns from.

        Raises ConfigError for another kind of file, for one that holds something else than a saved
        conversation, and when nothing was said; DataError when it cannot be written.
        """
        if path.suffix not in _SUFFIXES:
            raise ConfigError(f"`{path}` must end in {' or '.join(_SUFFIXES)}.")
        if not self.messages:
            raise ConfigError("Nothing was said yet: there is nothing to save.")
        if path.exists():
            _refuse_to_replace(path)
        record = {"messages": [asdict(message) for message in self.history]}
        text = json.dumps(record, ensure_ascii=False) + "\n"
        try:
            write_text(path, encode_utf8(text).decode())
        except OSError as error:
            raise DataError(f"{path} could not be written: {error.strerror}.") from error

    def load(self, path: Path) -> None:
        """Go on from a saved conversation: its messages, and its system prompt or none.

        Raises DataError, saying what is wrong, when the file is none; what was said stays.
        """
        messages = read_messages(path)
        has_system = messages[0].role == "system"
        self.system = messages[0].content if has_system else ""
        self.messages = messages[has_system:]

    def _last_question(self) -> str:
        if not self.messages:
            raise ConfigError("Nothing was said yet.")
        return self.messages[-2].content

    def _answer(self, before: Sequence[Message], text: str) -> Answer:
        model, tokenizer = self.checkpoint.model, self.checkpoint.tokenizer
        length, question = model.config.context_length, Message("user", text)
        room = max(1, min(self.max_new_tokens, length // _ROOM))
        system = self.history[:1] if self.system else []
        ids, left_out = fit_context(
            tokenizer, [*system, *before, question], context_length=length, room=room
        )
        tokens = stream(
            model,
            tokenizer,
            [ids],
            max_new_tokens=min(self.max_new_tokens, length - len(ids)),
            sampling=self.sampling,
            seed=self._next_seed,
        )
        self._next_seed += 1
        answer = Answer(text, left_out)
        answer.pieces = self._draw(answer, tokens, [*before, question])
        return answer

    def _draw(
        self, answer: Answer, tokens: Iterator[GeneratedToken], asked: list[Message]
    ) -> Generator[str]:
        """Yield the pieces of an answer, then put it into the history, however it ends."""
        in_front = " " * bytes_before_text(self.checkpoint.tokenizer)
        try:
            for token in tokens:
                piece = token.text if answer.tokens else token.text.removeprefix(in_front)
                answer.text += piece
                answer.tokens += 1
                answer.finished = token.finished or "interrupted"
                yield piece
        finally:
            if answer.text or answer.finished != "interrupted":
                self.messages = [*asked, Message("assistant", answer.text)]


def fit_context(
    tokenizer: Tokenizer, messages: Sequence[Message], *, context_length: int, room: int
) -> tuple[list[int], int]:
    """Return the ids after which an answer follows, and how many of the oldest messages they lack.

    They hold the system message, if the first one is such, the newest message of the user, and as
    many whole exchanges before it as leave `room` tokens of the context for the answer. Raises
    ConfigError when the newest message leaves less.

    >>> from seedbed.tokenizers.simple import ByteTokenizer
    >>> said = [Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "Why?")]
    >>> ids, left_out = fit_context(ByteTokenizer(), said, context_length=16, room=4)
    >>> len(ids), left_out
    (8, 2)
    """
    has_system = messages[0].role == "system"
    system, turns = messages[:has_system], messages[has_system:]
    *earlier, first = [i for i, message in enumerate(turns) if message.role == "user"]
    ids = answer_prompt(tokenizer, [*system, *turns[first:]])
    if len(ids) > context_length - room:
        who = "The message and the system prompt take" if system else "The message takes"
        raise ConfigError(
            f"{who} {len(ids):,} tokens and an answer {room:,}, but the model's context has "
            f"{context_length:,}. Say it in fewer words."
        )
    for start in reversed(earlier):
        longer = answer_prompt(tokenizer, [*system, *turns[start:]])
        if len(longer) > context_length - room:
            break
        ids, first = longer, start
    return ids, first


def read_messages(path: Path) -> list[Message]:
    """Return the messages of a saved conversation.

    Raises DataError when the file cannot be read, is no such conversation, or not a whole one.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        messages = _MESSAGES.validate_python(record["messages"])
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("messages", *first["loc"])))
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise DataError(f"{path} is not a conversation: `{place}`: {problem}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not one conversation in JSON: {error}.") from None
    except (KeyError, TypeError):
        raise DataError(f"{path} is not a conversation: it has no list `messages`.") from None
    _check_turns(messages, path)
    return messages


def _check_turns(messages: Sequence[Message], path: Path) -> None:
    """Raise DataError unless user and assistant take turns, with an answer to each message."""
    if not messages:
        raise DataError(f"{path} is not a conversation: it has no messages.")
    has_system = messages[0].role == "system"
    turns = zip(messages[has_system:], cycle(("user", "assistant")), strict=False)
    for number, (message, role) in enumerate(turns, start=1 + has_system):
        if message.role != role:
            raise DataError(
                f"{path}: message {number} is of the {message.role}, where the {role} should "
                "speak. User and assistant take turns, after one system message at most."
            )
    if messages[-1].role == "user":
        raise DataError(f"{path} ends with a message of the user, which has no answer.")


def _refuse_to_replace(path: Path) -> None:
    """Raise ConfigError unless the file is a saved conversation."""
    try:
        read_messages(path)
    except DataError:
        raise ConfigError(
            f"{path} exists and is not a saved conversation, so it stays. Give another name."
        ) from None
