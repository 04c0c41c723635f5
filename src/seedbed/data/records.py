"""JSON to pieces of documents: a record of a file is a document, when it has the text field.

With `ReadOptions.records`, any record is one, and its text is the whole of it as JSON.
"""

# pyright: strict

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NoReturn, cast

from seedbed.data.drops import MALFORMED, NO_TEXT, Drops
from seedbed.data.pieces import Piece, ReadOptions
from seedbed.data.text import decoded, with_last
from seedbed.errors import DataError, did_you_mean

_DECODER = json.JSONDecoder()
_ALL_BAD = 10  # records: when the first ones all lack text, the file is not what was meant
_LONGEST_NAME = 40  # characters of a field's name, in a message


class RecordCount:
    """Counts which records of a file are of use; raises when those of no use are the rule."""

    def __init__(self, name: str, drops: Drops, *, lacking: str) -> None:
        self._name, self._drops = name, drops
        self._lacking = lacking  # what is said of records of no use
        self._good = self._bad = 0
        self._first_problem = ""

    def keep(self) -> None:
        """Count a record of use."""
        self._good += 1

    def skip(self, reason: str, line: int, problem: str) -> None:
        """Count a record left out. Raises DataError when the first records all were."""
        self._bad += 1
        self._first_problem = self._first_problem or f"{self._name} line {line:,}: {problem}"
        self._drops.add(reason, f"{self._name} line {line:,}: {problem}")
        if not self._good and self._bad == _ALL_BAD:
            self.refuse()

    def finish(self) -> None:
        """Raise DataError when more than half of the records were of no use."""
        if self._bad > self._good:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise DataError with the first problem."""
        raise DataError(
            f"{self._first_problem}\n{self._bad:,} of the first {self._bad + self._good:,} records "
            f"of this file {self._lacking}."
        )


class Records(RecordCount):
    """Takes the text out of records, or turns them into JSON."""

    def __init__(self, name: str, options: ReadOptions, drops: Drops) -> None:
        super().__init__(name, drops, lacking="have no usable text")
        self._field, self._whole = options.text_field, options.records

    def text_of(self, record: object, line: int) -> str | None:
        """Return the record's text, or None when it has none, which is counted."""
        if self._whole:
            self.keep()
            return json.dumps(record, default=str)
        value = cast("dict[str, object]", record).get(self._field) if _is_object(record) else record
        if isinstance(value, str):
            self.keep()
            return value
        return self.skip(NO_TEXT, line, self._describe(record, value))

    def wanted_columns(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of a table to read. Raises DataError, naming all, without the text."""
        if self._whole:
            return list(columns)
        if self._field not in columns:
            self.text_of(dict.fromkeys(columns), 1)
            self.refuse()
        return [self._field]

    def _describe(self, record: object, value: object) -> str:
        if not _is_object(record):
            return f"a record is a {json_kind(record)}, not an object with a field `{self._field}`"
        fields = cast("dict[str, object]", record)
        if self._field in fields:
            return f"field `{self._field}` holds a {json_kind(value)}, not text"
        near = did_you_mean(self._field, fields)
        advice = "Choose one with --text-field."
        if {"messages", "conversations"} & fields.keys():
            advice = "Conversations are for `seedbed finetune` and `seedbed eval --chat`."
        return f"no field `{self._field}`; its fields are {names_of(fields)}.{near} {advice}"


def _is_object(record: object) -> bool:
    return isinstance(record, dict)


def names_of(fields: Iterable[str]) -> str:
    """Return the names of a record's fields, for a message."""
    return ", ".join(f"`{key[:_LONGEST_NAME]}`" for key in sorted(fields)) or "none"


def json_kind(value: object) -> str:
    """Return what JSON calls a value, for a message.

    >>> json_kind({}), json_kind(1.5)
    ('object', 'number')
    """
    kinds: dict[type, str] = {
        dict: "object",
        list: "list",
        str: "text",
        bool: "boolean",
        type(None): "null",
    }
    return kinds.get(type(value), "number")


def read_jsonl(stream: BinaryIO, name: str, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield a document for each line: an object with the text field, or a string."""
    records = Records(name, options, drops)
    for line, data in enumerate(stream, start=1):
        decoded = data.decode("utf-8", "surrogateescape").strip().removeprefix("\ufeff")
        if not decoded:
            continue
        try:
            text = records.text_of(json.loads(decoded), line)
        except (ValueError, RecursionError) as error:
            text = records.skip(MALFORMED, line, f"malformed JSON: {_problem_of(error)}")
        if text is not None:
            yield Piece(text, line, last=True)
    records.finish()


def read_json(stream: BinaryIO, name: str, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield a document for each record of a JSON list, parsed as it comes; or for one object."""
    records = Records(name, options, drops)
    for record, line in _json_values(decoded(stream, name), name):
        text = records.text_of(record, line)
        if text is not None:
            yield Piece(text, line, last=True)
    records.finish()


_BETWEEN = re.compile(r"[\s,]*")
_CUT_SHORT = "Unterminated string"  # this error does not point at the buffer's end
_REST_OF_NUMBER = re.compile(r"[-+.eE\d]*\Z")


def _json_values(chunks: Iterator[str], name: str) -> Iterator[tuple[object, int]]:
    """Yield the members of lists, and the values that stand one after the other, with lines."""
    buffer, line, in_list, wanted = "", 1, False, 0
    for chunk, final in with_last(chunks):
        buffer += chunk
        if len(buffer) < wanted and not final:
            continue
        at = 0
        while True:
            start = _after_blanks(buffer, at)
            line += buffer.count("\n", at, start)
            at = start
            if buffer.startswith("]" if in_list else "[", at):
                in_list, at = not in_list, at + 1
                continue
            found = _value_at(buffer, at, line=line, final=final, name=name)
            if not found:
                break
            value, end = found
            yield value, line
            line += buffer.count("\n", at, end)
            at = end
        buffer = buffer[at:]
        wanted = 2 * len(buffer)  # so that a long record is not parsed again for each chunk
    if in_list:
        raise DataError(f"{name} ends inside a list: it is cut short.")


def _after_blanks(buffer: str, at: int) -> int:
    between = _BETWEEN.match(buffer, at)
    return between.end() if between else at


def _value_at(
    buffer: str, at: int, *, line: int, final: bool, name: str
) -> tuple[object, int] | None:
    """Return the JSON value that begins at `at`, and its end; None when it is not all there."""
    if at == len(buffer):
        return None
    try:
        value, end = _DECODER.raw_decode(buffer, at)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            if not final and _may_be_cut(error, len(buffer)):
                return None
            line += buffer.count("\n", at, error.pos)
        raise DataError(f"{name} line {line:,}: malformed JSON: {_problem_of(error)}.") from None
    if not isinstance(value, int | float) or not _REST_OF_NUMBER.match(buffer, end):
        return value, end
    if end < len(buffer) and final:
        raise DataError(f"{name} line {line:,}: malformed JSON: a number is cut short.")
    return (value, end) if final else None  # a number may go on


def _problem_of(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "a number of too many digits" if isinstance(error, ValueError) else "nested too deeply"


def _may_be_cut(error: json.JSONDecodeError, length: int) -> bool:
    return error.pos >= length - 16 or error.msg.startswith(_CUT_SHORT)
