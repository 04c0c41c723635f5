"""How compressed streams are read, by the last suffix of their names."""

# pyright: strict

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

import zstandard

_READ_BYTES = 1 << 14
_LARGEST_WINDOW = 1 << 31  # bytes: that of `zstd --long=31`, with which archives of text are packed


class DamageError(Exception):
    """A compressed stream is damaged, or ends too early."""


class _Decompressor(Protocol):
    """Takes one frame (gzip: member; bz2, xz: stream) apart."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


# To add a compression, add a line.
COMPRESSIONS: dict[str, Callable[[], _Decompressor]] = {
    ".bz2": bz2.BZ2Decompressor,
    ".gz": lambda: cast(_Decompressor, zlib.decompressobj(wbits=31)),
    ".xz": lzma.LZMADecompressor,
    ".zst": lambda: cast(
        _Decompressor,
        zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj(),
    ),
}
_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def decompressed(stream: BinaryIO, compression: str) -> BinaryIO:
    """Return a stream of what `stream` holds; "" is no compression.

    Reading from it raises DamageError for a stream that is damaged or cut short, which the
    libraries' own readers do not all tell.

    >>> import gzip
    >>> decompressed(io.BytesIO(gzip.compress(b"one ") + gzip.compress(b"two")), ".gz").read()
    b'one two'
    """
    if not compression:
        return stream
    chunks = _chunks(stream, COMPRESSIONS[compression])
    return cast(BinaryIO, io.BufferedReader(_ChunkStream(chunks), 1 << 18))


def _chunks(stream: BinaryIO, start_frame: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Yield what all frames of the stream hold."""
    frame = start_frame()
    while data := stream.read(_READ_BYTES):
        while data:
            if frame.eof:
                data = data.lstrip(b"\0")  # frames may be padded
                if not data:
                    break
                frame = start_frame()
            yield _decompress(frame, data)
            data = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise DamageError("it ends before its data does")


def _decompress(frame: _Decompressor, data: bytes) -> bytes:
    try:
        return frame.decompress(data)
    except _ERRORS as error:
        raise DamageError(str(error)) from error


class _ChunkStream(io.RawIOBase):
    """A file whose bytes come from an iterator."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
