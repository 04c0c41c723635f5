"""The folders that nanoGPT's `prepare.py` leaves, back to text: `nanogpt:FOLDER`.

train.bin and val.bin hold token ids as uint16. Without a meta.pkl they are GPT-2's, and 50256 ends
a document. With one they are characters: the ids of all characters of the text, sorted. meta.pkl
itself is never read, because reading a pickle runs whatever is in it; the characters come from the
text, input.txt, which stays in the folder, and are checked against the bins.
"""

# pyright: strict

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.data.drops import Drops
from seedbed.data.pieces import Part, Piece, ReadOptions
from seedbed.errors import DataError
from seedbed.files import MANIFEST
from seedbed.tokenizers.pretrained import load_gpt2

GPT2_END = 50256
_CHUNK_TOKENS = 1 << 18


def nanogpt_tokens(rest: str) -> Part:
    """Return the text of FOLDER's train.bin, or of its val.bin for `FOLDER:val`.

    With the text of train.bin goes that of val.bin as its validation text. Raises DataError when
    the folder is not nanoGPT's, or its ids cannot be turned into text.
    """
    named = rest.removesuffix(":val")
    folder, split = Path(named).expanduser(), "train" if named == rest else "val"
    file = folder / f"{split}.bin"
    if not file.is_file():
        raise DataError(f"SOURCE `nanogpt:{rest}` has no file {file}.")
    if (folder / MANIFEST).is_file():
        raise DataError(f"{folder} is a dataset of Seedbed, not of nanoGPT: use it as it is.")
    facts = file.stat()
    if facts.st_size % 2:
        raise DataError(f"{file} is damaged or cut short: it has {facts.st_size:,} bytes, not 2n.")
    if (folder / "meta.pkl").exists():
        characters = _characters_of(folder)
        pieces = partial(_character_pieces, file, characters)
    else:
        pieces = partial(_gpt2_pieces, file)
    has_validation = split == "train" and (folder / "val.bin").is_file()
    validation = f"nanogpt:{named}:val" if has_validation else ""
    return Part(str(file), facts.st_size, facts.st_mtime_ns, pieces, validation=validation)


def _ids_of(file: Path) -> Iterator[NDArray[np.uint16]]:
    with file.open("rb") as stream:
        while data := stream.read(2 * _CHUNK_TOKENS):
            yield np.frombuffer(data, "<u2")


# --- GPT-2's tokens -------------------------------------------------------------------------


def _gpt2_pieces(file: Path, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield the documents of GPT-2's tokens, in pieces; their numbers stand for lines."""
    del options, drops
    tokenizer = load_gpt2()
    bytes_of = [tokenizer.token_bytes(i) for i in range(GPT2_END)]
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    number, begun = 1, False
    for ids in _ids_of(file):
        if int(ids.max()) > GPT2_END:
            raise DataError(
                f"{file} has the id {int(ids.max()):,}, which GPT-2 has not: it was made with "
                "another tokenizer. Prepare the text that it was made of."
            )
        ends = np.flatnonzero(ids == GPT2_END).tolist()
        for start, end in zip([0, *(e + 1 for e in ends)], [*ends, ids.size], strict=True):
            data = b"".join(map(bytes_of.__getitem__, ids[start:end].tolist()))
            last = end < ids.size
            if data or last:
                yield Piece(decoder.decode(data, final=last), number, last)
                begun, number = not last, number + last
    if begun:
        yield Piece(decoder.decode(b"", final=True), number, last=True)


# --- characters -----------------------------------------------------------------------------


def _character_pieces(
    file: Path, characters: NDArray[np.uint32], options: ReadOptions, drops: Drops
) -> Iterator[Piece]:
    """Yield the text of character ids as one document, in pieces."""
    del options, drops
    line = 1
    for ids in _ids_of(file):
        text = _decoded(ids, characters)
        yield Piece(text, line, last=False)
        line += text.count("\n")
    yield Piece("", line, last=True)


def _characters_of(folder: Path) -> NDArray[np.uint32]:
    """Return the code point of each id: the characters of input.txt, sorted.

    Raises DataError unless the ids of both files, decoded so, give input.txt again.
    """
    file = folder / "input.txt"
    if not file.is_file():
        raise DataError(
            f"{folder} has a meta.pkl, so its tokens are characters; which ones, is in that file, "
            "and Seedbed reads no pickles. Put the text that it was made of at "
            f"{file}, or prepare that text itself."
        )
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8. Prepare the text itself, as UTF-8.") from None
    characters = np.array(sorted(map(ord, set(text))), "<u4")
    start = 0
    bins = [path for path in (folder / "train.bin", folder / "val.bin") if path.is_file()]
    for ids in (ids for path in bins for ids in _ids_of(path)):
        if int(ids.max()) >= characters.size or not text.startswith(
            _decoded(ids, characters), start
        ):
            raise _other_text(folder)
        start += ids.size
    if start != len(text) and len(bins) == 2:
        raise _other_text(folder)
    return characters


def _decoded(ids: NDArray[np.uint16], characters: NDArray[np.uint32]) -> str:
    return characters[ids].tobytes().decode("utf-32-le", "surrogatepass")


def _other_text(folder: Path) -> DataError:
    return DataError(
        f"The tokens in {folder} are not the characters of its input.txt, numbered in their order. "
        "Prepare the text that they were made of."
    )
