"""How each kind of file becomes pieces of documents, a little at a time.

To add a kind of file, add a line to FORMATS; to add a compression, one to compressions.py.
A reader never holds more than a buffer and one record; a document of a text file comes in pieces.
"""

# pyright: strict

from __future__ import annotations

import codecs
import importlib
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from seedbed.data.compressions import COMPRESSIONS, DAMAGE
from seedbed.data.drops import MALFORMED, NO_TEXT, Drops
from seedbed.errors import DataError, did_you_mean

CHUNK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 16  # characters of a line that are waited for
_DOCUMENT_END = re.compile(r"<\|endoftext\|>[^\S\n]*(?:\n|\Z)")  # where a line begins
_DECODER = json.JSONDecoder()
_ALL_BAD = 10  # records: when the first ones all lack text, the file is not what was meant


class Piece(NamedTuple):
    """A part of a document, and whether the document ends with it."""

    text: str
    line: int  # where it begins in its file (for parquet and samples: its number)
    last: bool


@dataclass(frozen=True)
class ReadOptions:
    """How text is found in sources."""

    text_field: str = "text"
    separator: str | None = None  # None: lines that hold nothing but <|endoftext|>
    seed: int = 0  # for generated sources


Reader = Callable[[BinaryIO, str, ReadOptions, Drops], Iterator[Piece]]


def read_file(path: Path, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield the pieces of a file whose name `kind_of_file` knows.

    Raises DataError, naming the file, when it cannot be read as what its name says.
    """
    kind = kind_of_file(path)
    assert kind, f"{path} has no reader"
    suffix, compression = kind
    try:
        with COMPRESSIONS[compression](path) as stream:
            yield from FORMATS[suffix](stream, str(path), options, drops)
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or cut short: {error}") from error
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def kind_of_file(path: Path) -> tuple[str, str] | None:
    """Return the suffixes that name the format and the compression, or None for an unknown kind.

    >>> kind_of_file(Path("stories.jsonl.gz")), kind_of_file(Path("a.txt"))
    (('.jsonl', '.gz'), ('.txt', ''))
    >>> kind_of_file(Path("photo.png")) is None
    True
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    return (suffixes[-1], compression) if suffixes and suffixes[-1] in FORMATS else None


# --- text -----------------------------------------------------------------------------------


def read_text_file(
    stream: BinaryIO, name: str, options: ReadOptions, drops: Drops
) -> Iterator[Piece]:
    """Yield the pieces of a text file, documents being told apart by the separator.

    Bytes that are not UTF-8 become lone surrogates, by which cleaning knows such a document.
    """
    del drops
    return text_pieces(_decoded(stream, name), options.separator)


def _decoded(stream: BinaryIO, name: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    chunk = stream.read(CHUNK_BYTES)
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 {name}")
    chunk = chunk.removeprefix(codecs.BOM_UTF8)
    while chunk:
        yield decoder.decode(chunk)
        chunk = stream.read(CHUNK_BYTES)
    yield decoder.decode(b"", final=True)


def text_pieces(chunks: Iterable[str], separator: str | None = None) -> Iterator[Piece]:
    r"""Yield the documents in a stream of text, in pieces; white space that begins one is left out.

    Without a separator, a line `<|endoftext|>` ends a document; a given one is found anywhere.
    White space after the last separator is no document.

    >>> for piece in text_pieces(["one\n<|endof", "text|>\n two\n"]):
    ...     print(piece)
    Piece(text='one\n', line=1, last=False)
    Piece(text='', line=2, last=True)
    Piece(text=' two\n', line=3, last=False)
    Piece(text='', line=4, last=True)
    """
    line, begun, ended = 1, False, False
    for text, at_end, skipped in _split_at_separators(chunks, separator):
        if at_end or begun or (text and not text.isspace()):
            yield Piece(text, line, last=at_end)
            begun = not at_end
        ended = ended or at_end
        line += text.count("\n") + skipped
    if begun or not ended:
        yield Piece("", line, last=True)


def _split_at_separators(
    chunks: Iterable[str], separator: str | None
) -> Iterator[tuple[str, bool, int]]:
    """Yield text, whether a separator follows it, and how many lines that separator ends."""
    pattern = re.compile(re.escape(separator)) if separator else _DOCUMENT_END
    buffer, inside_line = "", False
    for chunk, final in _with_last(chunks):
        buffer += chunk
        safe = len(buffer) if final else _safe_length(buffer, separator)
        start = 0
        for match in pattern.finditer(buffer, 0, len(buffer) if separator else safe):
            at = match.start()
            begins_line = buffer[at - 1] == "\n" if at else not inside_line
            if not separator and not begins_line:
                continue
            yield buffer[start:at], True, match.group().count("\n")
            start = match.end()
        safe = max(start, safe)
        yield buffer[start:safe], False, 0
        inside_line = buffer[safe - 1] != "\n" if safe else inside_line
        buffer = buffer[safe:]


def _with_last(chunks: Iterable[str]) -> Iterator[tuple[str, bool]]:
    previous = ""
    for chunk in chunks:
        yield previous, False
        previous = chunk
    yield previous, True


def _safe_length(buffer: str, separator: str | None) -> int:
    """Return how much of the buffer can hold no separator that the next chunk would complete."""
    if separator is not None:
        return max(0, len(buffer) - len(separator) + 1)
    whole_lines = buffer.rfind("\n") + 1
    return len(buffer) if len(buffer) - whole_lines > _LONGEST_LINE else whole_lines


# --- records --------------------------------------------------------------------------------


class _Records:
    """Takes the text out of records; raises when records without text are the rule."""

    def __init__(self, name: str, field: str, drops: Drops) -> None:
        self._name, self._field, self._drops = name, field, drops
        self._good = self._bad = 0
        self._first_problem = ""

    def text_of(self, record: object, line: int) -> str | None:
        """Return the record's text, or None when it has none, which is counted."""
        value = cast("dict[str, object]", record).get(self._field) if _is_object(record) else record
        if isinstance(value, str):
            self._good += 1
            return value
        return self.skip(NO_TEXT, line, self._describe(record, value))

    def skip(self, reason: str, line: int, problem: str) -> None:
        """Count a record left out. Raises DataError when the first records all were."""
        self._bad += 1
        self._first_problem = self._first_problem or f"{self._name} line {line:,}: {problem}"
        self._drops.add(reason, f"{self._name} line {line:,}: {problem}")
        if not self._good and self._bad == _ALL_BAD:
            self._refuse()

    def finish(self) -> None:
        """Raise DataError when more than half of the records had no text."""
        if self._bad > self._good:
            self._refuse()

    def _refuse(self) -> None:
        raise DataError(
            f"{self._first_problem}\n{self._bad:,} of the first {self._bad + self._good:,} records "
            f"of this file have no usable text."
        )

    def _describe(self, record: object, value: object) -> str:
        if not _is_object(record):
            return f"a record is a {_json_kind(record)}, not an object with a field `{self._field}`"
        fields = cast("dict[str, object]", record)
        if self._field in fields:
            return f"field `{self._field}` holds a {_json_kind(value)}, not text"
        names = ", ".join(f"`{key}`" for key in sorted(fields)) or "none"
        near = did_you_mean(self._field, fields)
        return (
            f"no field `{self._field}`; its fields are {names}.{near} Choose one with --text-field."
        )


def _is_object(record: object) -> bool:
    return isinstance(record, dict)


def _json_kind(value: object) -> str:
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
    records = _Records(name, options.text_field, drops)
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
    records = _Records(name, options.text_field, drops)
    for record, line in _json_values(_decoded(stream, name), name):
        text = records.text_of(record, line)
        if text is not None:
            yield Piece(text, line, last=True)
    records.finish()


_BETWEEN = re.compile(r"[\s,]*")
_CUT_SHORT = "Unterminated string"  # this error does not point at the buffer's end


def _json_values(chunks: Iterator[str], name: str) -> Iterator[tuple[object, int]]:
    """Yield the members of lists, and the values that stand one after the other, with lines."""
    buffer, line, in_list, wanted = "", 1, False, 0
    for chunk, final in _with_last(chunks):
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
    return (value, end) if final or end < len(buffer) else None  # a number may go on


def _problem_of(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "a number of too many digits" if isinstance(error, ValueError) else "nested too deeply"


def _may_be_cut(error: json.JSONDecodeError, length: int) -> bool:
    return error.pos >= length - 16 or error.msg.startswith(_CUT_SHORT)


def read_parquet(
    stream: BinaryIO, name: str, options: ReadOptions, drops: Drops
) -> Iterator[Piece]:
    """Yield a document for each row. Needs pyarrow: `pip install seedbed[data]`."""
    try:
        pyarrow, parquet = (importlib.import_module(m) for m in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise DataError(f"{name} needs pyarrow: pip install 'seedbed[data]'") from None
    records = _Records(name, options.text_field, drops)
    with _seekable(stream) as file:
        try:
            table = parquet.ParquetFile(file)
            columns: list[str] = table.schema_arrow.names
            if options.text_field not in columns:
                records.text_of(dict.fromkeys(columns), 1)
                records.finish()
            batches = table.iter_batches(batch_size=1024, columns=[options.text_field])
            number = 0
            for batch in batches:
                for value in batch.column(0).to_pylist():
                    number += 1
                    text = records.text_of({options.text_field: value}, number)
                    if text is not None:
                        yield Piece(text, number, last=True)
        except pyarrow.ArrowException as error:
            raise DataError(f"{name} is not a whole parquet file: {error}") from error
    records.finish()


def _seekable(stream: BinaryIO) -> BinaryIO:
    """Return the stream itself when it is a plain file, else a temporary file with its bytes."""
    if stream.seekable() and isinstance(getattr(stream, "raw", None), io.FileIO):
        return stream
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    while chunk := stream.read(CHUNK_BYTES):
        file.write(chunk)
    file.seek(0)
    return file


FORMATS: dict[str, Reader] = {
    ".txt": read_text_file,
    ".md": read_text_file,
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
}
