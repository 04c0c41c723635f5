"""Tokenizers that need no training: a token for each byte, or for each character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.tokenizers.base import SpecialTokens
from seedbed.tokenizers.table import TableTokenizer
from seedbed.tokenizers.tokenizer_json import (
    BYTE_LEVEL_DECODER,
    SPECIAL_TOKENS,
    bpe_model,
    byte_characters,
    byte_level_pre_tokenizer,
    tokenizer_json,
)
from seedbed.tokenizers.unicode_classes import CODE_POINTS
from seedbed.tokenizers.utf8 import encode_utf8

UNKNOWN = "<unk>"


class ByteTokenizer(TableTokenizer):
    """Ids 0 to 255 are the bytes of UTF-8, then come `<|endoftext|>` and the chat tokens.

    >>> ByteTokenizer().encode("é!")
    [195, 169, 33]
    """

    def __init__(self) -> None:
        self._special = {token: 256 + i for i, token in enumerate(SPECIAL_TOKENS)}
        tokens = [bytes([byte]) for byte in range(256)] + [b""] * len(SPECIAL_TOKENS)
        super().__init__("byte", SpecialTokens.of(self._special.values()), tokens)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any special token."""
        return list(encode_utf8(text))

    def encode_documents(self, texts: Iterable[str]) -> tuple[NDArray[np.uint32], list[int]]:
        """Return the ids of all texts, each followed by eos, end to end; and how many each has."""
        parts = [np.frombuffer(encode_utf8(text), np.uint8) for text in texts]
        return _join_documents(parts, self.special.eos)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the tokenizer.json: a byte-level BPE without merges."""
        vocab = {character: byte for byte, character in enumerate(byte_characters())}
        return tokenizer_json(
            self._special,
            model=bpe_model(vocab | self._special, []),
            pre_tokenizer=byte_level_pre_tokenizer(),
            decoder=BYTE_LEVEL_DECODER,
        )


class CharTokenizer(TableTokenizer):
    """An id for each of `characters`, in order; then `<unk>` for all others, and special tokens.

    >>> CharTokenizer("abc").encode("cab!")
    [2, 0, 1, 3]
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = "".join(dict.fromkeys(characters))
        self._unknown = len(self.characters)
        self._special = {token: self._unknown + 1 + i for i, token in enumerate(SPECIAL_TOKENS)}
        tokens = [encode_utf8(c) for c in self.characters] + [b""] * (1 + len(SPECIAL_TOKENS))
        super().__init__("char", SpecialTokens.of(self._special.values()), tokens, unk=UNKNOWN)
        self._id_of_code_point = np.full(CODE_POINTS, self._unknown, np.uint32)
        self._id_of_code_point[_code_points(self.characters)] = np.arange(self._unknown)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any special token but `<unk>`."""
        return self._id_of_code_point[_code_points(text)].tolist()

    def encode_documents(self, texts: Iterable[str]) -> tuple[NDArray[np.uint32], list[int]]:
        """Return the ids of all texts, each followed by eos, end to end; and how many each has."""
        parts = [self._id_of_code_point[_code_points(text)] for text in texts]
        return _join_documents(parts, self.special.eos)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the tokenizer.json: a model of one-character words."""
        ids = {character: i for i, character in enumerate(self.characters)}
        special = {UNKNOWN: self._unknown, **self._special}
        return tokenizer_json(
            special,
            model={"type": "WordLevel", "vocab": ids | special, "unk_token": UNKNOWN},
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": r"[\s\S]"},
                "behavior": "Isolated",
                "invert": False,
            },
            decoder={"type": "Fuse"},
        )


def _code_points(text: str) -> NDArray[np.uint32]:
    """Return the code points of `text`, U+FFFD for a lone surrogate."""
    try:
        data = text.encode("utf-32-le")
    except UnicodeEncodeError:
        data = encode_utf8(text).decode().encode("utf-32-le")
    return np.frombuffer(data, np.dtype("<u4"))


def _join_documents(
    documents: Sequence[NDArray[np.unsignedinteger[Any]]], eos: int
) -> tuple[NDArray[np.uint32], list[int]]:
    """Return the ids of all documents, each followed by `eos`, and how many each has with it."""
    lengths = [document.size + 1 for document in documents]
    ids = np.full(sum(lengths), eos, np.uint32)
    begin = 0
    for document, length in zip(documents, lengths, strict=True):
        ids[begin : begin + length - 1] = document
        begin += length
    return ids, lengths
