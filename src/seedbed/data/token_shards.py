"""Token files: written as a stream that can be resumed, read as memory maps.

    train.bin   token ids, little-endian uint16 (uint32 above 65,535), documents end to end
    train.idx   int64: where each document begins, and after the last one where it ends

    train.mask  of conversations alone: a byte for each token, 1 where it is to be learned

The same for val. While they are written, a state file says how long each file is known to be good.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seedbed.data.encoding import Encoded
from seedbed.errors import DataError
from seedbed.files import read_json, read_manifest, write_json

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")


@dataclass(frozen=True)
class TokenShards:
    """The tokens of a split and where its documents begin: `tokens[offsets[i]:offsets[i + 1]]`.

    Each document ends with the tokenizer's eos.
    """

    tokens: NDArray[np.unsignedinteger]  # (num_tokens,) memory-mapped
    offsets: NDArray[np.int64]  # (num_documents + 1,) memory-mapped
    trained: NDArray[np.bool_] | None = None  # (num_tokens,) of conversations, memory-mapped

    @classmethod
    def open(cls, folder: Path, split: Split) -> TokenShards:
        """Return a split of a prepared dataset, its content unread; `open_dataset` checks it.

        Raises DataError when the folder is not a prepared dataset.
        """
        manifest = read_manifest(folder, error=DataError)
        try:
            tokens = np.memmap(
                folder / f"{split}.bin", np.dtype(manifest["dtype"]).newbyteorder("<"), "r"
            )
            offsets = np.memmap(folder / f"{split}.idx", "<i8", "r")
            mask = folder / f"{split}.mask"
            trained = np.memmap(mask, np.bool_, "r") if mask.is_file() else None
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} is not a whole prepared dataset: {error}") from error
        return cls(tokens, offsets, trained)

    @property
    def num_tokens(self) -> int:
        """How many tokens there are, ends of documents counted."""
        return self.tokens.size

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return self.offsets.size - 1

    def document(self, number: int) -> NDArray[np.unsignedinteger]:
        """Return the tokens of a document, its eos included."""
        return self.tokens[self.offsets[number] : self.offsets[number + 1]]

    def trained_of(self, number: int) -> NDArray[np.bool_]:
        """Return for each token of a conversation whether it is to be learned."""
        assert self.trained is not None
        return self.trained[self.offsets[number] : self.offsets[number + 1]]

    def documents(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """Yield the tokens of each document."""
        return (self.document(number) for number in range(self.num_documents))


@dataclass
class SplitTotals:
    """What a split holds."""

    tokens: int = 0
    documents: int = 0
    bytes: int = 0  # of UTF-8 text


@dataclass
class Written:
    """How far the token files are known to have reached the disk."""

    documents_read: int = 0  # dropped ones counted
    token_size: int = 2
    train: SplitTotals = field(default_factory=SplitTotals)
    val: SplitTotals = field(default_factory=SplitTotals)

    @property
    def bytes(self) -> int:
        """How much text has been written, in UTF-8 bytes."""
        return self.train.bytes + self.val.bytes

    @classmethod
    def read(cls, path: Path) -> Written:
        """Return the state that was saved at `path`, or that of a beginning."""
        if not path.exists():
            return cls()
        state: dict[str, Any] = read_json(path)
        return cls(
            state["documents_read"],
            state["token_size"],
            SplitTotals(**state["train"]),
            SplitTotals(**state["val"]),
        )

    def totals(self, split: Split) -> SplitTotals:
        """Return the totals of a split."""
        return self.train if split == "train" else self.val


class ShardWriter:
    """Appends encoded blocks to the token files of a folder, from where the state says.

    Whatever a killed process wrote beyond the saved state is cut off first.
    """

    def __init__(self, folder: Path, state_file: Path, *, token_size: int) -> None:
        self.written = Written.read(state_file)
        self.written.token_size = token_size
        self._state_file = state_file
        self._files = {split: self._open(folder, split) for split in SPLITS}

    def _open(self, folder: Path, split: Split) -> tuple[io.BufferedRandom, io.BufferedRandom]:
        totals = self.written.totals(split)
        sizes = {"bin": totals.tokens * self.written.token_size, "idx": 8 * totals.documents + 8}
        opened = {suffix: _open_to_append(folder / f"{split}.{suffix}") for suffix in sizes}
        for suffix, size in sizes.items():
            if totals.documents and opened[suffix].seek(0, io.SEEK_END) < size:
                raise DataError(f"{folder.parent} is damaged. Remove it and run this again.")
            opened[suffix].truncate(size)  # a new index becomes one zero: where the first begins
            opened[suffix].seek(size)
        return opened["bin"], opened["idx"]

    def append(self, encoded: Encoded) -> None:
        """Write a block's tokens and documents, each to its split."""
        for_validation = np.array(encoded.block.for_validation, bool)
        self._append("val", encoded, for_validation)
        self._append("train", encoded, ~for_validation)
        self.written.documents_read = encoded.block.documents_read

    def _append(self, split: Split, encoded: Encoded, chosen: NDArray[np.bool_]) -> None:
        totals = self.written.totals(split)
        tokens, index = self._files[split]
        ids = encoded.ids[np.repeat(chosen, encoded.lengths)]
        lengths = encoded.lengths[chosen]
        tokens.write(ids.tobytes())
        index.write((totals.tokens + np.cumsum(lengths)).astype("<i8").tobytes())
        totals.tokens += ids.size
        totals.documents += lengths.size
        sizes = np.array([len(text) for text in encoded.block.texts], np.int64)
        totals.bytes += int(sizes[chosen].sum())

    def save_state(self) -> None:
        """Wait until all that was appended is on the disk, then write down how far it goes."""
        for file in (file for pair in self._files.values() for file in pair):
            file.flush()
            os.fsync(file.fileno())
        write_json(self._state_file, asdict(self.written))

    def close(self) -> None:
        """Close the files, without a word about what did not reach the disk."""
        for file in (file for pair in self._files.values() for file in pair):
            with suppress(OSError):  # a full disk: what the state says is whole, is whole
                file.close()


def _open_to_append(path: Path) -> io.BufferedRandom:
    path.touch()
    return path.open("r+b")
