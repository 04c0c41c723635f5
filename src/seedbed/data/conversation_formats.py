"""Records to turns: who says what, in the common formats, told apart by their fields.

    {"messages": [{"role", "content"}]}      also `conversation`, `conversations`; from, value
    {"instruction", "input", "output"}       also prompt, completion; question, answer; and so on
    {"instruction", "instances": [{"input", "output"}]}      a conversation for each instance
    text in which <system>, <user> or <assistant> begins a line where a message begins

Which conversations are of use is said in conversations.py.
"""

# pyright: strict

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from seedbed.data.drops import NOT_A_CONVERSATION, NOT_A_PAIR, NOT_TEXT, UNKNOWN_ROLE
from seedbed.data.records import json_kind, names_of
from seedbed.tokenizers.conversation import Message, Role

ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "bing", "bard"), "assistant"),
}
_MESSAGES = ("messages", "conversations", "conversation")
_SYSTEM = ("system", "system_prompt")
_ASK = ("instruction", "prompt", "question")
_MATTER = ("input", "context")  # what an instruction is about
_ANSWER = ("output", "completion", "response", "answer")

UNDERSTOOD = (
    "Understood are `messages` or `conversations`; `instruction` and `output`; `prompt` and "
    "`completion`; `question` and `answer`; and text where <user> or <assistant> begins a line"
)

_TAG = re.compile(r"^<(?P<bar>\|?)(?P<role>system|user|assistant)(?P=bar)>(?=\s|\Z)", re.MULTILINE)
_HUMAN_TAG = re.compile(r"(?:\A|\n\n)\s*(?P<role>Human|Assistant):")  # of HH-RLHF

Turns = list[Message]
_Record = Mapping[str, object]


class RecordError(Exception):
    """A record that cannot be used: why in few words, which are counted, and what was seen."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class Pair(NamedTuple):
    """A preference as it stands in a record."""

    prompt: Turns
    chosen: str
    rejected: str


def record_in(text: str) -> object:
    """Return the JSON value that a text is, or the text where it is not JSON.

    >>> record_in('{"prompt": "Hi"}'), record_in("<user> Hi")
    ({'prompt': 'Hi'}, '<user> Hi')
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def conversations_in(record: object) -> list[Turns]:
    r"""Return the turns of each conversation of a record. Raises RecordError where there is none.

    >>> conversations_in({"instruction": "Add.", "input": "1 and 2", "output": "3"})[0]
    ... # doctest: +NORMALIZE_WHITESPACE
    [Message(role='user', content='Add.\n\n1 and 2'),
     Message(role='assistant', content='3')]
    """
    if isinstance(record, str):
        return [tagged_turns(record)]
    if isinstance(record, list):
        return [_turns(cast("object", record))]
    fields = _fields(record)
    system = _optional(fields, _SYSTEM, "system")
    key = _first(fields, _MESSAGES)
    if key:
        return [system + _turns(fields[key])]
    if "chosen" in fields and "rejected" in fields:
        raise RecordError(NOT_A_CONVERSATION, "a pair of answers, which is for --method dpo")
    ask, answer = _first(fields, _ASK), _first(fields, _ANSWER)
    instances = fields.get("instances")
    if ask and isinstance(instances, list) and instances:
        instances = cast("list[object]", instances)
        return [system + _exchange({ask: fields[ask], **_fields(each)}) for each in instances]
    if ask and answer:
        return [system + _exchange(fields)]
    if isinstance(fields.get("text"), str):
        return [tagged_turns(str(fields["text"]))]
    raise RecordError(
        NOT_A_CONVERSATION, f"no conversation; its fields are {names_of(fields)}. {UNDERSTOOD}"
    )


def pair_in(record: object) -> Pair:
    """Return the prompt and both answers of a preference. Raises RecordError where there are none.

    Answers are texts that follow `prompt`; or whole conversations, which are the same but for the
    last answer: what they share is then the prompt.
    """
    fields = _fields(record)
    if "chosen" not in fields or "rejected" not in fields:
        raise RecordError(
            NOT_A_PAIR,
            f"no pair of answers; its fields are {names_of(fields)}. Needed are `prompt`, "
            "`chosen` and `rejected`",
        )
    key = _first(fields, (*_ASK, *_MESSAGES))
    prompt = _turns(fields[key], text_is="user") if key else []
    chosen, rejected = (_answer(fields[name], prompt) for name in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise RecordError(NOT_A_PAIR, "chosen and rejected differ before their last answer")
    system = _optional(fields, _SYSTEM, "system")
    return Pair(system + (chosen[:-1] or prompt), chosen[-1].content, rejected[-1].content)


def _answer(value: object, prompt: Turns) -> Turns:
    """Return what is chosen or rejected: an answer, or a conversation that ends with it."""
    if isinstance(value, str) and not prompt:
        turns = tagged_turns(value, _HUMAN_TAG if _HUMAN_TAG.match(value) else _TAG)
    else:
        turns = _turns(value, text_is="assistant")
    if not turns or turns[-1].role != "assistant":
        raise RecordError(NOT_A_PAIR, "chosen or rejected does not end with an assistant turn")
    return turns


def tagged_turns(text: str, tag: re.Pattern[str] = _TAG) -> Turns:
    r"""Return the turns of tagged text. Raises RecordError for text before the first tag.

    >>> tagged_turns("<user> Hi\nthere\n<assistant> Hello.")[0]
    Message(role='user', content=' Hi\nthere\n')
    """
    tags = list(tag.finditer(text))
    if not tags or text[: tags[0].start()].strip():
        start = json.dumps(text.strip()[:40], ensure_ascii=False)
        raise RecordError(
            NOT_A_CONVERSATION,
            f"text that begins with {start}, not with a tag: each message begins a line with "
            "<system>, <user> or <assistant> and a space, and a line <|endoftext|> stands between "
            "conversations",
        )
    ends = [*(each.start() for each in tags[1:]), len(text)]
    return [
        Message(ROLES[each["role"].lower()], text[each.end() : end])
        for each, end in zip(tags, ends, strict=True)
    ]


def _turns(value: object, *, text_is: Role | None = None) -> Turns:
    """Return a list of messages, or one of them, or text that is a message of the role `text_is`.

    Where no role is given, text is JSON, as a cell of a .csv file holds it.
    """
    if isinstance(value, str):
        if text_is:
            return [Message(text_is, value)]
        value = record_in(value)
    if isinstance(value, Mapping):
        value = [cast("object", value)]
    if not isinstance(value, list):
        raise RecordError(NOT_A_CONVERSATION, f"a {json_kind(value)} instead of a list of messages")
    return [_message(each) for each in cast("list[object]", value)]


def _message(value: object) -> Message:
    if not isinstance(value, Mapping):
        raise RecordError(NOT_A_CONVERSATION, f"a message is a {json_kind(value)}, not an object")
    fields = cast(_Record, value)
    role = fields.get("role", fields.get("from"))
    known = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise RecordError(UNKNOWN_ROLE, f"role {json.dumps(role, default=str)[:40]}")
    return Message(known, _text_of(fields.get("content", fields.get("value"))))


def _text_of(content: object) -> str:
    """Return a content, the parts of one that comes in parts on lines of their own."""
    if isinstance(content, list):
        return "\n".join(_part_text(part) for part in cast("list[object]", content))
    if not isinstance(content, str):
        raise RecordError(NOT_TEXT, f"content is a {json_kind(content)}, not text")
    return content


def _part_text(part: object) -> str:
    fields = cast(_Record, part) if isinstance(part, Mapping) else {"text": part}
    text = fields.get("text")
    if fields.get("type", "text") != "text" or not isinstance(text, str):
        raise RecordError(NOT_TEXT, "content has parts that are not text")
    return text


def _exchange(fields: _Record) -> Turns:
    """Return a question, with what it is about, and its answer; either may be messages."""
    ask, answer = _first(fields, _ASK), _first(fields, _ANSWER)
    if not ask or not answer:
        raise RecordError(NOT_A_CONVERSATION, f"an instance has the fields {names_of(fields)}")
    turns = _turns(fields[ask], text_is="user")
    matter = _optional(fields, _MATTER, "user")
    if matter and matter[0].content.strip():
        joined = f"{turns[-1].content.strip()}\n\n{matter[0].content.strip()}"
        turns = [*turns[:-1], Message("user", joined)]
    return turns + _turns(fields[answer], text_is="assistant")


def _optional(fields: _Record, names: Sequence[str], role: Role) -> Turns:
    key = _first(fields, names)
    return [Message(role, _text_of(fields[key]))] if key and fields[key] else []


def _first(fields: _Record, names: Sequence[str]) -> str | None:
    return next((name for name in names if fields.get(name) is not None), None)


def _fields(record: object) -> _Record:
    if not isinstance(record, Mapping):
        raise RecordError(
            NOT_A_CONVERSATION, f"a record is a {json_kind(record)}, not an object. {UNDERSTOOD}"
        )
    return cast(_Record, record)
