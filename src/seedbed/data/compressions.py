"""How files are opened, by the last suffix of their names."""

# pyright: strict

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

# What reading a damaged or cut file raises.
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


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


def _open_plain(path: Path) -> BinaryIO:
    return path.open("rb")


def _open_gzip(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb"))


def _open_zstd(path: Path) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_ChunkStream(_zstd_chunks(path)), 1 << 18))


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Yield what the file's frames hold; zstandard's own reader is silent about a cut file."""
    frame = None
    with path.open("rb") as file:
        while data := file.read(1 << 14):
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last zstd frame is not whole")


# To add a compression, add a line.
COMPRESSIONS: dict[str, Callable[[Path], BinaryIO]] = {
    "": _open_plain,
    ".gz": _open_gzip,
    ".zst": _open_zstd,
}
