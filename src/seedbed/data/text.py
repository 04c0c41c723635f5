"""Text files to pieces of documents, which a separator tells apart."""

# pyright: strict

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from seedbed.data.drops import Drops
from seedbed.data.pieces import Piece, ReadOptions
from seedbed.errors import DataError

CHUNK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 16  # characters of a line that are waited for
_DOCUMENT_END = re.compile(r"<\|endoftext\|>[^\S\n]*(?:\n|\Z)")  # where a line begins


def read_text(stream: BinaryIO, name: str, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield the pieces of a text file, documents being told apart by the separator.

    Bytes that are not UTF-8 become lone surrogates, by which cleaning knows such a document.
    """
    del drops
    return text_pieces(decoded(stream, name), options.separator)


def decoded(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield the text of a stream in chunks, without its byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    chunk = stream.read(CHUNK_BYTES)
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise utf16_error(name)
    chunk = chunk.removeprefix(codecs.BOM_UTF8)
    while chunk:
        yield decoder.decode(chunk)
        chunk = stream.read(CHUNK_BYTES)
    yield decoder.decode(b"", final=True)


def utf16_error(name: str) -> DataError:
    """Return the error that a file is UTF-16, and what to do."""
    return DataError(f"{name} is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 {name}")


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
    for chunk, final in with_last(chunks):
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


def with_last(chunks: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield the chunks, one late, each with whether it is the last."""
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
