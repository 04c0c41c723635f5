"""Any SOURCE to a stream of documents.

A SOURCE is a file, a folder, a glob, or a name with a scheme, such as `sample:stories`. To add a
scheme, add a line to SCHEMES; kinds of files and compressions are in formats.py.
"""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from seedbed.data.compressions import COMPRESSIONS
from seedbed.data.drops import Drops
from seedbed.data.formats import (
    FORMATS,
    Piece,
    ReadOptions,
    kind_of_file,
    read_file,
)
from seedbed.data.samples import sample_stories
from seedbed.errors import DataError

FEWEST_DOCUMENTS = 50  # a source with fewer is cut into blocks
BLOCK_CHARACTERS = 4096
SAMPLE_STORIES = 15_000

# Where a block may end, best first: a blank line, a line, a sentence, a word.
_ENDS = tuple(re.compile(p) for p in (r"\n[^\S\n]*\n\s*", r"\n", r"[.!?]\W?\s", r"\s"))


@dataclass(frozen=True, slots=True)
class Document:
    """A text that stands for itself, and where it was found."""

    text: str
    source: str
    line: int

    @property
    def place(self) -> str:
        """Return where the document begins, for a message."""
        return f"{self.source} line {self.line:,}"


@dataclass(frozen=True)
class Part:
    """One file of a source, or the whole of a generated one."""

    name: str
    size: int  # bytes of the file; 0 for a generated source
    modified: int  # nanoseconds, as the file system tells it
    pieces: Callable[[ReadOptions, Drops], Iterator[Piece]]


@dataclass(frozen=True)
class Source:
    """What one SOURCE argument stands for."""

    name: str
    parts: tuple[Part, ...]

    def facts(self) -> dict[str, str | int]:
        """Return what a manifest says of the source."""
        size = sum(part.size for part in self.parts)
        return {"name": self.name, "parts": len(self.parts), "bytes": size}

    @property
    def modified(self) -> int:
        """When the youngest file was changed, in nanoseconds."""
        return max(part.modified for part in self.parts)


def read_documents(
    sources: Sequence[Source],
    options: ReadOptions | None = None,
    *,
    limit: int | None = None,
    drops: Drops | None = None,
) -> Iterator[Document]:
    """Yield the documents of all sources in order, at most `limit`, stripped of outer white space.

    A source with fewer than 50 documents is cut at blank lines into blocks of about 4 KB, and these
    are its documents. Records that hold no text are counted in `drops`. Empty documents are
    yielded: cleaning drops and counts them. Raises DataError for what cannot be read.

    >>> [source] = find_sources(["sample:stories:60"])
    >>> sum(1 for _ in read_documents([source], limit=7))
    7
    """
    options = options or ReadOptions()
    drops = drops if drops is not None else Drops()
    documents = (d for source in sources for d in _documents_of(source, options, drops))
    return islice(documents, limit)


def _documents_of(source: Source, options: ReadOptions, drops: Drops) -> Iterator[Document]:
    found = _count_documents(source, options, up_to=FEWEST_DOCUMENTS)
    divide = whole_documents if found >= FEWEST_DOCUMENTS else cut_into_blocks
    for part in source.parts:
        for text, line in divide(part.pieces(options, drops)):
            yield Document(text, part.name, line)


def _count_documents(source: Source, options: ReadOptions, *, up_to: int) -> int:
    """Return how many documents that are not empty the source has, counting no further."""
    count, empty = 0, True
    for part in source.parts:
        for piece in part.pieces(options, Drops()):
            empty = empty and (not piece.text or piece.text.isspace())
            if piece.last:
                count, empty = count + (not empty), True
                if count == up_to:
                    return count
    return count


def whole_documents(pieces: Iterable[Piece]) -> Iterator[tuple[str, int]]:
    """Yield each document's text and line, its pieces put together."""
    texts: list[str] = []
    line = 0
    for piece in pieces:
        line = line if texts else piece.line
        texts.append(piece.text)
        if piece.last:
            yield "".join(texts).strip(), line
            texts.clear()


def cut_into_blocks(
    pieces: Iterable[Piece], size: int = BLOCK_CHARACTERS
) -> Iterator[tuple[str, int]]:
    r"""Yield blocks of at most `size` characters and their lines; no block spans two documents.

    A block ends at a blank line; where there is none, at a line, a sentence, a space, or anywhere.

    >>> pieces = [Piece("One two.\n\nThree four.\n\nFive", 1, last=True)]
    >>> list(cut_into_blocks(pieces, size=16))
    [('One two.', 1), ('Three four.', 3), ('Five', 5)]
    """
    buffer, line, blocks = "", 0, 0
    for piece in pieces:
        line = line if buffer else piece.line
        buffer += piece.text
        start = 0
        while len(buffer) - start > size:
            end = _block_end(buffer, start, size)
            if block := buffer[start:end].strip():
                yield block, line
                blocks += 1
            line += buffer.count("\n", start, end)
            start = end
        buffer = buffer[start:]
        if piece.last:
            rest = buffer.strip()
            if rest or not blocks:
                yield rest, line
            buffer, blocks = "", 0


def _block_end(buffer: str, start: int, size: int) -> int:
    """Return where the block that begins at `start` ends: late, but within `size`."""
    for pattern in _ENDS:
        ends = [m.end() for m in pattern.finditer(buffer, start + size // 4, start + size)]
        if ends:
            return ends[-1]
    return start + size


# --- finding sources ------------------------------------------------------------------------


def find_sources(names: Iterable[str]) -> list[Source]:
    """Return what each SOURCE argument stands for. Raises DataError for one that is nothing.

    >>> find_sources(["sample:stories:3"])[0].name
    'sample:stories:3'
    """
    return [_find_source(name) for name in names]


def _find_source(name: str) -> Source:
    scheme, colon, rest = name.partition(":")
    if colon and scheme in SCHEMES:
        return Source(name, (SCHEMES[scheme](rest),))
    path = Path(name).expanduser()
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and not _is_hidden(p, path)]
        return Source(name, _parts_of_folder(name, files))
    if path.is_file():
        return Source(name, (_file_part(path),))
    if glob.has_magic(name):
        found = [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        return Source(name, _parts_of_folder(name, [p for p in found if p.is_file()]))
    raise DataError(f"SOURCE `{name}` does not exist.{_nearest_file(path)}")


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _parts_of_folder(name: str, files: Sequence[Path]) -> tuple[Part, ...]:
    known = [path for path in files if kind_of_file(path)]
    if not known:
        others = sorted({path.suffix or path.name for path in files})[:8]
        seen = f"; it has {', '.join(others)}" if others else ""
        raise DataError(f"SOURCE `{name}` has no file of a known kind ({_known_kinds()}){seen}.")
    return tuple(_file_part(path) for path in known)


def _file_part(path: Path) -> Part:
    if not kind_of_file(path):
        raise DataError(f"SOURCE `{path}` is not of a known kind: {_known_kinds()}.")
    facts = path.stat()
    return Part(str(path), facts.st_size, facts.st_mtime_ns, partial(read_file, path))


def _known_kinds() -> str:
    compressions = " or ".join(c for c in COMPRESSIONS if c)
    return f"{' '.join(FORMATS)}, each also {compressions}"


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    siblings = [p.name for p in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f" Did you mean {path.parent / near[0]}?" if near else ""


def _sample(rest: str) -> Part:
    """Return the stories that Seedbed makes up: `stories` or `stories:COUNT`."""
    kind, _, count = rest.partition(":")
    if kind != "stories" or (count and not count.isdecimal()):
        raise DataError(
            f"SOURCE `sample:{rest}` is unknown. There is `sample:stories`, and "
            f"`sample:stories:COUNT` ({SAMPLE_STORIES:,} without a count)."
        )
    number = int(count) if count else SAMPLE_STORIES
    return Part(f"sample:{rest}", 0, 0, partial(_sample_pieces, number))


def _sample_pieces(count: int, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    del drops
    stories = sample_stories(count, seed=options.seed)
    return (Piece(text, number, last=True) for number, text in enumerate(stories, start=1))


SCHEMES: dict[str, Callable[[str], Part]] = {"sample": _sample}
