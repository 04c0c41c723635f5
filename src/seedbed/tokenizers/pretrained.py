"""Tokenizers that others trained: GPT-2's, and whatever a tokenizer.json holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken
from tokenizers import Tokenizer as StockTokenizer

from seedbed.errors import DataError
from seedbed.tokenizers.base import SpecialTokens
from seedbed.tokenizers.bpe import BpeTokenizer, Merges
from seedbed.tokenizers.sentencepiece import SPACE, SPECIAL
from seedbed.tokenizers.tokenizer_json import (
    CHAT_TOKENS,
    EOS,
    byte_characters,
    fingerprint_of,
    write_tokenizer_files,
)
from seedbed.tokenizers.utf8 import bytes_of_token, encode_utf8

# The file and the checksum that tiktoken itself asks for.
_GPT2_MERGES = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe"
_GPT2_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
_KNOWN_EOS = (EOS, "</s>", "<eos>", "<|end_of_text|>", "[SEP]")
_CHAT_NAMES = tuple(zip(CHAT_TOKENS, SPECIAL[3:], strict=True))  # ours, then SentencePiece's
_ROLES = ("bos", "eos", "user", "assistant", "system")
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_BATCH = 256  # documents given to the library at a time: it holds offsets of every token


def load_gpt2() -> BpeTokenizer:
    """Return GPT-2's tokenizer: `<|endoftext|>` is 50256, the chat tokens are 50257 to 50259.

    The merges come from tiktoken's cache, or from the internet into it. Raises DataError when
    they can be had from neither.
    """
    from tiktoken.load import read_file_cached  # not for every process that encodes

    try:
        merges = read_file_cached(_GPT2_MERGES, _GPT2_SHA256).decode()
    except (OSError, ValueError) as error:
        raise DataError(
            "The GPT-2 tokenizer is not in tiktoken's cache and could not be downloaded "
            f"({type(error).__name__}). Set TIKTOKEN_CACHE_DIR to a folder that has it, "
            "or connect to the internet once."
        ) from error
    pairs = [line.split() for line in merges.split("\n")[1:] if line]
    return BpeTokenizer([(left, right) for left, right in pairs], kind="gpt2")


def are_gpt2_merges(merges: Merges) -> bool:
    """Return whether these are the merges of GPT-2, which decide all of its ids."""
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    return hashlib.sha256(f"#version: 0.2\n{lines}".encode()).hexdigest() == _GPT2_SHA256


class HuggingFaceTokenizer:
    """Any tokenizer.json, run by the `tokenizers` library; text that looks special stays text.

    Eos and the chat tokens are those that its tokenizer_config.json or their usual names tell;
    those that are missing are added after its last id. What it puts around a text for other models
    is taken off. One of SentencePiece's kind keeps the bos that its config names; for any other,
    eos is what precedes each document.
    """

    def __init__(self, content: dict[str, Any], config: dict[str, Any]) -> None:
        self._stock = _stock_tokenizer(content)
        known = self._stock.get_vocab()
        self.kind = "sentencepiece" if SPACE in known else "huggingface"
        eos = token_in(config, "eos_token") or _first_known(_KNOWN_EOS, known) or EOS
        bos = token_in(config, "bos_token") if self.kind == "sentencepiece" else None
        declared = {t.content for t in self._stock.get_added_tokens_decoder().values() if t.special}
        chat = [_first_known(names, declared) or names[0] for names in _CHAT_NAMES]
        self._names: dict[str, str] = dict(zip(_ROLES, (bos or eos, eos, *chat), strict=True))
        self._stock.add_special_tokens(  # pyright: ignore[reportUnknownMemberType] (its stub)
            [AddedToken(name, special=True) for name in self._names.values()]
        )
        ids = self._stock.get_vocab()
        self.vocab_size = max(ids.values()) + 1
        self.special = SpecialTokens(**{role: ids[name] for role, name in self._names.items()})
        self._bytes = _bytes_of_tokens(self._stock, self.vocab_size)
        self._encoder = _blind_to_special(self._stock)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any special token."""
        return self._encoder.encode(_whole(text), add_special_tokens=False).ids

    def encode_documents(self, texts: Iterable[str]) -> tuple[NDArray[np.uint32], list[int]]:
        """Return the ids of all texts as in the token files, end to end; and how many each has."""
        before = self.special.before_document
        parts: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        lengths: list[int] = []
        for batch in _batches(texts, _BATCH):
            for encoding in self._encoder.encode_batch_fast(batch, add_special_tokens=False):
                parts.append(np.array([*before, *encoding.ids, self.special.eos], np.uint32))
                lengths.append(parts[-1].size)
        return np.concatenate(parts), lengths

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; special tokens give nothing, broken UTF-8 gives U+FFFD."""
        for token_id in ids:
            bytes_of_token(self._bytes, token_id)
        return self._stock.decode(list(ids), skip_special_tokens=True)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of a token, b"" for a special one. Raises IndexError beyond them."""
        return bytes_of_token(self._bytes, token_id)

    def fingerprint(self) -> str:
        """Return the SHA-256 of what decides ids."""
        return fingerprint_of(json.loads(self._stock.to_str()))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which stock software loads."""
        content = json.loads(self._stock.to_str())
        write_tokenizer_files(folder, content, self._names)


def _blind_to_special(stock: StockTokenizer) -> StockTokenizer:
    """Return `stock`, or one that gives its ids but does not find special tokens in text.

    A Unigram model takes the name of any of its tokens for that token: here special ones are called
    by names with a space, which no text has once spaces are U+2581.
    """
    content = json.loads(stock.to_str())
    if content["model"]["type"] != "Unigram":
        return stock
    special = [token for token in content["added_tokens"] if token["special"]]
    vocab = content["model"]["vocab"]
    for token in special:
        if token["id"] < len(vocab):
            vocab[token["id"]][0] = f" {token['content']}"
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["special"]]
    return _stock_tokenizer(content)


def _stock_tokenizer(content: dict[str, Any]) -> StockTokenizer:
    try:
        stock = StockTokenizer.from_str(json.dumps({**content, "post_processor": None}))
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"The tokenizer.json is damaged or of an unknown kind: {error}.") from error
    stock.no_truncation()
    stock.no_padding()
    stock.encode_special_tokens = True
    return stock


def token_in(config: dict[str, Any], role: str) -> str | None:
    """Return the token that a tokenizer_config.json gives a role: text, or an object with it."""
    value = config.get(role)
    return cast("dict[str, str]", value)["content"] if isinstance(value, dict) else value


def _first_known(names: Iterable[str], known: Container[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _whole(text: str) -> str:
    """Return `text`, where lone surrogates, which the library refuses, are U+FFFD."""
    return encode_utf8(text).decode()


def _batches(texts: Iterable[str], size: int) -> Iterable[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(_whole(text))
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _bytes_of_tokens(stock: StockTokenizer, vocab_size: int) -> list[bytes]:
    """Return the bytes of each id, by the alphabet that the tokenizer's decoder reads.

    Raises DataError for decoders whose tokens are other bytes inside a word than at its beginning.
    """
    special = {i for i, token in stock.get_added_tokens_decoder().items() if token.special}
    decoder = json.dumps(json.loads(stock.to_str())["decoder"])
    if '"WordPiece"' in decoder or '"BPEDecoder"' in decoder:
        raise DataError(
            "The tokenizer marks where words begin or end in its tokens (WordPiece, or BPE with a "
            "suffix), so they stand for no fixed bytes. Use one of bytes or SentencePiece's kind."
        )
    byte_of = {character: bytes([i]) for i, character in enumerate(byte_characters())}
    found: list[bytes] = []
    for token_id in range(vocab_size):
        token = stock.id_to_token(token_id)
        if token is None or token_id in special:
            found.append(b"")
        elif '"ByteLevel"' in decoder:
            found.append(b"".join(byte_of.get(c, c.encode()) for c in token))
        elif '"ByteFallback"' in decoder and _BYTE.fullmatch(token):
            found.append(bytes([int(token[3:5], 16)]))
        else:
            found.append(token.replace(SPACE, " ").encode())
    return found
