"""Files to pieces of documents, by the suffixes of their names.

To add a kind of file, add a line to FORMATS; to add a compression, one to compressions.py.
A reader never holds more than a buffer and one record; a document of a text file comes in pieces.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from seedbed.data.compressions import COMPRESSIONS, DamageError, decompressed
from seedbed.data.drops import Drops
from seedbed.data.pieces import Piece, ReadOptions
from seedbed.data.records import read_json, read_jsonl
from seedbed.data.tables import read_csv, read_parquet, read_tsv
from seedbed.data.text import read_text
from seedbed.errors import DataError

Reader = Callable[[BinaryIO, str, ReadOptions, Drops], Iterator[Piece]]

FORMATS: dict[str, Reader] = {
    ".txt": read_text,
    ".md": read_text,
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}


def read_file(path: Path, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield the pieces of a file whose name `kind_of_file` knows.

    Raises DataError, naming the file, when it cannot be read as what its name says.
    """
    try:
        with path.open("rb") as stream:
            yield from read_stream(stream, path, str(path), options, drops)
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def read_stream(
    stream: BinaryIO, path: PurePath, name: str, options: ReadOptions, drops: Drops
) -> Iterator[Piece]:
    """Yield the pieces of an open file: `path` tells its kind, and messages call it `name`."""
    kind = kind_of_file(path)
    assert kind, f"{path} has no reader"
    suffix, compression = kind
    try:
        yield from FORMATS[suffix](decompressed(stream, compression), name, options, drops)
    except DamageError as error:
        raise DataError(f"{name} is damaged or cut short: {error}.") from error


def kind_of_file(path: PurePath) -> tuple[str, str] | None:
    """Return the suffixes that name the format and the compression, or None for an unknown kind.

    >>> kind_of_file(Path("stories.jsonl.gz")), kind_of_file(Path("a.txt"))
    (('.jsonl', '.gz'), ('.txt', ''))
    >>> kind_of_file(Path("photo.png")) is None
    True
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    return (suffixes[-1], compression) if suffixes and suffixes[-1] in FORMATS else None


def known_kinds() -> str:
    """Return the suffixes that are known, for a message.

    >>> known_kinds()
    '.txt .md .jsonl .json .csv .tsv .parquet, each also .bz2 .gz .xz .zst'
    """
    return f"{' '.join(FORMATS)}, each also {' '.join(COMPRESSIONS)}"
