"""Byte-level BPE: trained on your own text, and an encoder that is quick on much text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import models

from seedbed.errors import ConfigError
from seedbed.tokenizers.base import SpecialTokens
from seedbed.tokenizers.bpe_training import count_words, learn_merges
from seedbed.tokenizers.splitting import PADDING, word_starts
from seedbed.tokenizers.table import TableTokenizer
from seedbed.tokenizers.tokenizer_json import (
    BYTE_LEVEL_DECODER,
    SPECIAL_TOKENS,
    bpe_model,
    byte_characters,
    byte_level_pre_tokenizer,
    tokenizer_json,
)
from seedbed.tokenizers.utf8 import (
    DOCUMENT_END,
    chunk_documents,
    document_lengths,
)
from seedbed.tokenizers.words import WordTable

_SMALLEST = 256 + len(SPECIAL_TOKENS)

Merges = list[tuple[str, str]]


def train_bpe(texts: Iterable[str], vocab_size: int) -> BpeTokenizer:
    """Return a tokenizer of at most `vocab_size` ids, special tokens included, for such texts.

    The same texts in the same order give the same tokenizer. It is smaller than asked for when the
    texts have no more pairs that occur twice. Raises ConfigError below 260: bytes and specials.

    >>> tokenizer = train_bpe(["so long, so long"], vocab_size=300)
    >>> [tokenizer.token_bytes(i) for i in tokenizer.encode("so long")]
    [b'so', b' long']
    """
    if vocab_size < _SMALLEST:
        raise ConfigError(
            f"`vocab_size` is {vocab_size:,} but must be at least {_SMALLEST}: "
            f"256 bytes and {len(SPECIAL_TOKENS)} special tokens."
        )
    return BpeTokenizer(learn_merges(count_words(texts), vocab_size - _SMALLEST))


class BpeTokenizer(TableTokenizer):
    """Byte-level BPE with GPT-2's split pattern and GPT-2's order of ids.

    Ids: 256 bytes, in the order of the characters that stand for them in `merges`; one for each
    merge; `<|endoftext|>`; the chat tokens. So GPT-2 itself keeps 50256 for `<|endoftext|>`.
    """

    def __init__(self, merges: Merges, *, kind: str = "bpe") -> None:
        self._merges = merges
        self._vocab = vocab_of(merges)
        model = models.BPE(dict(self._vocab), merges)  # copied: special tokens are added below
        self._special = {token: len(self._vocab) + i for i, token in enumerate(SPECIAL_TOKENS)}
        self._vocab |= self._special
        special = SpecialTokens.of(self._special.values())
        super().__init__(kind, special, _bytes_of_tokens(self._vocab, self._special))
        self._words = WordTable(_word_encoder(model, self.special.eos))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any special token."""
        return self.encode_documents([text])[0][:-1].tolist()

    def encode_documents(self, texts: Iterable[str]) -> tuple[NDArray[np.uint32], list[int]]:
        """Return the ids of all texts, each followed by eos, end to end; and how many each has."""
        parts = [self._encode_chunk(chunk) for chunk in chunk_documents(texts)]
        ids = np.concatenate(parts)
        return ids, document_lengths(ids, self.special.eos)

    def _encode_chunk(self, chunk: bytes) -> NDArray[np.uint32]:
        padded = np.frombuffer(chunk + PADDING, np.uint8)
        return self._words.ids_of(padded, word_starts(padded))

    def to_json(self) -> dict[str, Any]:
        """Return the content of the tokenizer.json."""
        return tokenizer_json(
            self._special,
            model=bpe_model(dict(self._vocab), self._merges),
            pre_tokenizer=byte_level_pre_tokenizer(),
            decoder=BYTE_LEVEL_DECODER,
        )


def vocab_of(merges: Merges) -> dict[str, int]:
    """Return the ids of the bytes and of what the merges make, in GPT-2's order."""
    vocab = {character: i for i, character in enumerate(sorted(byte_characters()))}
    for left, right in merges:  # two merges can make one token
        vocab.setdefault(left + right, len(vocab))
    return vocab


def _bytes_of_tokens(vocab: dict[str, int], special: dict[str, int]) -> list[bytes]:
    byte_of = {character: byte for byte, character in enumerate(byte_characters())}
    return [b"" if token in special else bytes(map(byte_of.__getitem__, token)) for token in vocab]


def _word_encoder(model: models.BPE, eos: int) -> Callable[[bytes], list[int]]:
    """Return the function from a word's bytes to its ids; DOCUMENT_END gives `eos`."""
    characters = dict(enumerate(byte_characters()))
    document_end = bytes([DOCUMENT_END])

    def encode_word(word: bytes) -> list[int]:
        if word == document_end:
            return [eos]
        tokens = model.tokenize(word.decode("latin-1").translate(characters))
        return [token.id for token in tokens]

    return encode_word
