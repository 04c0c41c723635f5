"""Any SOURCE to a stream of documents.

A SOURCE is a file, a folder or a glob, here (local_files.py) or at an address such as `s3://...`
(remote.py); or a name with a scheme, such as `sample:stories`. To add a scheme, add a line to
SCHEMES; kinds of files and compressions are in formats.py. Conversations come from the same
sources, through conversations.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from seedbed.data.drops import Drops
from seedbed.data.hub import hub_dataset
from seedbed.data.local_files import local_files
from seedbed.data.nanogpt import nanogpt_tokens
from seedbed.data.pieces import Part, Piece, ReadOptions, Source
from seedbed.data.remote import is_remote, remote_files
from seedbed.data.sample_chats import as_json, sample_chats
from seedbed.data.samples import sample_stories
from seedbed.errors import DataError

FEWEST_DOCUMENTS = 50  # a source with fewer is cut into blocks
BLOCK_CHARACTERS = 4096
SAMPLE_STORIES = 15_000
SAMPLE_CHATS = 300

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


def read_documents(
    sources: Sequence[Source],
    options: ReadOptions | None = None,
    *,
    limit: int | None = None,
    limit_bytes: int | None = None,
    drops: Drops | None = None,
) -> Iterator[Document]:
    """Yield the documents of all sources in order, stripped of outer white space.

    At most `limit` of them, and of all of them at most `limit_bytes` of UTF-8: reading ends before
    the first document that would be beyond.

    A source with fewer than 50 documents is cut at blank lines into blocks of about 4 KB, and these
    are its documents, unless `options.whole`. Records that hold no text are counted in `drops`.
    Empty documents are yielded: cleaning drops and counts them. Raises DataError for what cannot be
    read.

    >>> [source] = find_sources(["sample:stories:60"])
    >>> sum(1 for _ in read_documents([source], limit=7))
    7
    """
    options = options or ReadOptions()
    drops = drops if drops is not None else Drops()
    documents = (d for source in sources for d in _documents_of(source, options, drops))
    return islice(documents if limit_bytes is None else _within(documents, limit_bytes), limit)


def _within(documents: Iterable[Document], limit_bytes: int) -> Iterator[Document]:
    size = 0
    for document in documents:
        length = len(document.text.encode("utf-8", "surrogatepass"))
        if size + length > limit_bytes:
            if not size:
                raise DataError(
                    f"`limit_bytes` is {limit_bytes:,}, but {document.place} alone has {length:,}."
                )
            return
        size += length
        yield document


def _documents_of(source: Source, options: ReadOptions, drops: Drops) -> Iterator[Document]:
    divide = whole_documents if options.whole or _has_enough(source, options) else cut_into_blocks
    for part in source.parts:
        for text, line in divide(part.pieces(options, drops)):
            yield Document(text, part.name, line)


def _has_enough(source: Source, options: ReadOptions) -> bool:
    """Return whether the source has so many documents that are not empty that none is cut."""
    count, empty = 0, True
    for part in source.parts:
        for piece in part.pieces(options, Drops()):
            empty = empty and (not piece.text or piece.text.isspace())
            if piece.last:
                count, empty = count + (not empty), True
                if count == FEWEST_DOCUMENTS:
                    return True
    return False


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
    if is_remote(name):
        return Source(name, remote_files(name))
    if colon and scheme in SCHEMES:
        return Source(name, (SCHEMES[scheme](rest),))
    return Source(name, local_files(name))


def _sample(rest: str) -> Part:
    """Return what Seedbed makes up: `stories` or `chats`, and `:COUNT` of them."""
    kind, _, count = rest.partition(":")
    if kind not in _SAMPLES or (count and not count.isdecimal()):
        raise DataError(
            f"SOURCE `sample:{rest}` is unknown. There is `sample:stories`, and "
            f"`sample:stories:COUNT` ({SAMPLE_STORIES:,} without a count); and `sample:chats`, "
            f"`sample:chats:COUNT` ({SAMPLE_CHATS:,}), for conversations."
        )
    usual, pieces = _SAMPLES[kind]
    return Part(f"sample:{rest}", 0, 0, partial(pieces, int(count) if count else usual))


def _story_pieces(count: int, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    del drops
    stories = sample_stories(count, seed=options.seed)
    return (Piece(text, number, last=True) for number, text in enumerate(stories, start=1))


def _chat_pieces(count: int, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield conversations as records; or as plain text, where no role is told."""
    del drops
    for number, chat in enumerate(sample_chats(count, seed=options.seed), start=1):
        said = "\n\n".join(message.content for message in chat.messages)
        yield Piece(as_json(chat) if options.records else said, number, last=True)


_SAMPLES = {"stories": (SAMPLE_STORIES, _story_pieces), "chats": (SAMPLE_CHATS, _chat_pieces)}

# To add a kind of source, add a line: what follows the colon of its name, to its text.
SCHEMES: dict[str, Callable[[str], Part]] = {
    "sample": _sample,
    "hf": hub_dataset,
    "nanogpt": nanogpt_tokens,
}
