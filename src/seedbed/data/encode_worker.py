"""A process that encodes blocks of documents: `python -m seedbed.data.encode_worker TOKENIZER`.

It reads messages from stdin and answers on stdout, until stdin ends; so it cannot outlive the
process that started it. A message is a count, the size of each part, and the parts.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from seedbed.tokenizers.base import Tokenizer


def write_message(stream: BinaryIO, parts: Sequence[bytes | memoryview]) -> None:
    """Write the parts as one message."""
    sizes = [memoryview(part).nbytes for part in parts]
    stream.write(struct.pack(f"<{1 + len(parts)}q", len(parts), *sizes))
    for part in parts:
        stream.write(part)
    stream.flush()


def read_message(stream: BinaryIO) -> list[bytes] | None:
    """Return the parts of the next message, or None where the stream ends, or is cut short."""
    if len(head := stream.read(8)) < 8:
        return None
    count = struct.unpack("<q", head)[0]
    if len(head := stream.read(8 * count)) < 8 * count:
        return None
    sizes = struct.unpack(f"<{count}q", head)
    parts = [stream.read(size) for size in sizes]
    return parts if all(len(p) == s for p, s in zip(parts, sizes, strict=True)) else None


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[bytes]
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
    """Return the ids of UTF-8 texts, each ended by eos, in the token file's dtype; and how many."""
    ids, lengths = tokenizer.encode_documents([text.decode() for text in texts])
    return ids.astype(dtype_for(tokenizer.vocab_size)), np.asarray(lengths, "<i8")


def dtype_for(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """Return the type of a token file: little-endian uint16 where every id fits, else uint32.

    >>> dtype_for(50_260), dtype_for(100_000)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def _main() -> None:
    from seedbed.tokenizers.load import load_tokenizer

    tokenizer = load_tokenizer(Path(sys.argv[1]))
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while message := read_message(questions):
        sizes = np.frombuffer(message[0], "<i8").tolist()
        ends = accumulate(sizes, initial=0)
        texts = [message[1][start:end] for start, end in pairwise(ends)]
        ids, lengths = encode_texts(tokenizer, texts)
        write_message(answers, [ids.dtype.str.encode(), ids.data, lengths.data])


if __name__ == "__main__":
    try:
        _main()
    except BrokenPipeError:  # the process that asked is gone
        sys.stderr.close()
