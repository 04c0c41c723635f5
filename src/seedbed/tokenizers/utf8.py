"""Text as bytes, and many documents as chunks of bytes with a mark after each document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

DOCUMENT_END = 0xFF  # a byte that UTF-8 never holds
CHUNK_BYTES = 1 << 17  # the arrays made from one chunk stay in a core's cache
_LONG_DOCUMENT = 2 * CHUNK_BYTES  # characters

# White space after something else always begins a word, whatever stands around the two. Python's
# `\s` counts U+001C to U+001F as white space, Unicode does not: they stand on neither side here.
_CUT = re.compile(r"(?<=\S)(?=[ \t\n\r\u00a0\u3000])")


def encode_utf8(text: str) -> bytes:
    r"""Return the UTF-8 bytes of `text`, where a lone surrogate becomes U+FFFD (as in tiktoken).

    >>> encode_utf8("é \ud800")
    b'\xc3\xa9 \xef\xbf\xbd'
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def chunk_documents(texts: Iterable[str], *, cut: re.Pattern[str] = _CUT) -> Iterator[bytes]:
    """Yield the texts as UTF-8, each followed by DOCUMENT_END, in chunks near CHUNK_BYTES.

    A chunk ends at the end of a document or, inside a long one, where a word ends: at a `cut`.
    """
    parts: list[bytes] = []
    size = 0
    for text in texts:
        if len(text) > _LONG_DOCUMENT:
            *front, text = _cut_long(text, cut)
            yield b"".join(parts)
            yield from map(encode_utf8, front)
            parts, size = [], 0
        parts.append(encode_utf8(text))
        parts.append(b"\xff")
        size += len(parts[-2]) + 1
        if size >= CHUNK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def document_lengths(ids: NDArray[np.uint32], eos: int) -> list[int]:
    """Return how many ids each document has, its `eos` counted.

    >>> document_lengths(np.array([5, 9, 9, 5, 6, 9], np.uint32), eos=9)
    [2, 1, 3]
    """
    ends = np.flatnonzero(ids == eos)
    return np.diff(ends, prepend=-1).tolist()


def bytes_of_token(tokens: Sequence[bytes], token_id: int) -> bytes:
    """Return `tokens[token_id]`; raises IndexError, also for a negative id."""
    if not 0 <= token_id < len(tokens):
        raise IndexError(f"token id {token_id} is not in a vocabulary of {len(tokens):,}")
    return tokens[token_id]


def decode_tokens(tokens: Sequence[bytes], ids: Iterable[int]) -> str:
    r"""Return the text of `ids`; bytes that are no UTF-8 give U+FFFD.

    >>> decode_tokens([b"so", b" long", bytes([0xC3])], [0, 1, 2])
    'so long�'
    """
    data = b"".join([bytes_of_token(tokens, token_id) for token_id in ids])
    return data.decode("utf-8", errors="replace")


def _cut_long(text: str, cut: re.Pattern[str]) -> list[str]:
    """Return pieces of about CHUNK_BYTES characters that give the same words as the whole."""
    pieces: list[str] = []
    start = 0
    while found := cut.search(text, start + CHUNK_BYTES):
        pieces.append(text[start : found.start()])
        start = found.start()
    return [*pieces, text[start:]]
