"""What a source is made of: parts, which give pieces of documents, a little at a time."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from seedbed.data.drops import Drops


class Piece(NamedTuple):
    """A part of a document, and whether the document ends with it."""

    text: str
    line: int  # where it begins in its file (where there are no lines: its number)
    last: bool


@dataclass(frozen=True)
class ReadOptions:
    """How text is found in sources."""

    text_field: str = "text"
    separator: str | None = None  # None: lines that hold nothing but <|endoftext|>
    seed: int = 0  # for generated sources
    records: bool = False  # give whole records, as JSON, not the text in their text field
    whole: bool = False  # leave documents whole, however few a source has


@dataclass(frozen=True)
class Part:
    """One file of a source, or the whole of one that has no files."""

    name: str
    size: int  # bytes of the file; 0 where it is not known
    modified: int  # nanoseconds, as the file system tells it; 0 where it does not
    pieces: Callable[[ReadOptions, Drops], Iterator[Piece]]
    version: str = ""  # changes with the content of what is not a file here
    validation: str = ""  # the SOURCE with the validation text that belongs to it


@dataclass(frozen=True)
class Source:
    """What one SOURCE argument stands for."""

    name: str
    parts: tuple[Part, ...]

    def facts(self) -> dict[str, str | int]:
        """Return what a manifest says of the source."""
        size = sum(part.size for part in self.parts)
        facts = {"name": self.name, "parts": len(self.parts), "bytes": size}
        versions = " ".join(part.version for part in self.parts if part.version)
        return facts | ({"version": versions} if versions else {})

    @property
    def modified(self) -> int:
        """When the youngest file was changed, in nanoseconds."""
        return max(part.modified for part in self.parts)
