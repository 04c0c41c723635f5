"""BPE by SentencePiece: characters, merged within words, with bytes for rare characters.

SentencePiece trains it. To encode, a text is cut into words that no token reaches across, and each
word met for the first time goes through the same merges.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import models

from seedbed.errors import ConfigError
from seedbed.tokenizers.base import SpecialTokens
from seedbed.tokenizers.table import TableTokenizer
from seedbed.tokenizers.tokenizer_json import bpe_model, tokenizer_json
from seedbed.tokenizers.utf8 import (
    DOCUMENT_END,
    chunk_documents,
    document_lengths,
    encode_utf8,
)
from seedbed.tokenizers.words import WordTable

UNKNOWN = "<unk>"  # SentencePiece wants it; nothing gives it, as there is a token for each byte
SPECIAL = (UNKNOWN, "<bos>", "<eos>", "<user>", "<assistant>", "<system>")  # their ids: 0 to 5
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPACE = "\u2581"  # how SentencePiece writes a space
_SMALLEST = len(SPECIAL) + len(BYTES) + 1
_SKIPPED = "\u2585"  # SentencePiece leaves out a sentence that has it: it is its own unknown mark
_COVERAGE = 0.9995  # of the text's characters; the rest are bytes
_PADDING = bytes(16)  # a word is read sixteen bytes at a time

# Nothing is joined across white space, so that it is cut there for training: SentencePiece counts
# within words only, and has no room for a word of 65,536 characters.
_TRAINING_CUT = re.compile(r"(?s).{1,4000}(?=[ ]|\Z)|.{1,4000}")
_CUT = re.compile(r"(?<=[^ ])(?= )")  # a space after something else always begins a word

Merges = list[tuple[str, str]]


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Return a tokenizer of at most `vocab_size` ids, special tokens included, for such texts.

    The same texts in the same order give the same tokenizer. It is smaller than asked for when the
    texts have no more pairs. Raises ConfigError where not even the characters fit that make up
    99.95 % of the text.

    >>> tokenizer = train_sentencepiece(["so long, so long"], vocab_size=300)
    >>> [tokenizer.token_bytes(i) for i in tokenizer.encode("so long")]
    [b'so', b' long']
    """
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer  # to train only

    if vocab_size < _SMALLEST:
        raise _too_small(vocab_size, _SMALLEST)
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=_COVERAGE,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,  # for indented text
            max_sentence_length=1 << 20,
            num_threads=1,
            unk_piece=SPECIAL[0],
            bos_piece=SPECIAL[1],
            eos_piece=SPECIAL[2],
            control_symbols=SPECIAL[3:],
            minloglevel=3,
        )
    except RuntimeError as error:
        if wanted := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
            raise _too_small(vocab_size, int(wanted[1])) from None
        raise
    read = SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [read.id_to_piece(i) for i in range(read.vocab_size())][_SMALLEST - 1 :]
    return SentencePieceTokenizer([piece.replace(SPACE, " ") for piece in pieces])


def _too_small(vocab_size: int, smallest: int) -> ConfigError:
    characters = smallest - len(SPECIAL) - len(BYTES)
    return ConfigError(
        f"`vocab_size` is {vocab_size:,} but must be at least {smallest:,}: {len(BYTES)} bytes, "
        f"{len(SPECIAL)} special tokens, and {characters:,} for the characters of the text."
    )


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts in pieces that SentencePiece takes; a space, if there are none."""
    yield " "
    for text in texts:
        cleaned = encode_utf8(text).decode().replace(_SKIPPED, "")
        yield from _TRAINING_CUT.findall(cleaned)


class SentencePieceTokenizer(TableTokenizer):
    """BPE over characters: `pieces` are its tokens, those that are merged first come first.

    Ids: `<unk>`, `<bos>`, `<eos>`, the chat tokens, 256 bytes, the pieces. In the token files each
    document begins with `<bos>`. A space is a space here, where SentencePiece writes U+2581: so
    U+2581 in a text stays what it is. All other text has the ids that SentencePiece gives it.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        tokens = [*SPECIAL, *BYTES, *pieces]
        self._vocab = {token: i for i, token in enumerate(tokens)}
        special = SpecialTokens(*(self._vocab[name] for name in SPECIAL[1:]))
        super().__init__("sentencepiece", special, _bytes_of_tokens(pieces), unk=UNKNOWN)
        self._merges = merges_of(pieces)
        model = models.BPE(
            dict(self._vocab), self._merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True
        )
        self._words = WordTable(_word_encoder(model, special))
        self._joined = _joined_bytes(pieces)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any special token."""
        return self.encode_documents([text])[0][1:-1].tolist()

    def encode_documents(self, texts: Iterable[str]) -> tuple[NDArray[np.uint32], list[int]]:
        """Return the ids of all texts, each between bos and eos, end to end; and each length."""
        parts = [self._encode_chunk(chunk) for chunk in chunk_documents(texts, cut=_CUT)]
        first = np.array([self.special.bos], np.uint32)
        ids = np.concatenate([first, *parts])[:-1]  # each end of a document gives eos and bos
        return ids, document_lengths(ids, self.special.eos)

    def _encode_chunk(self, chunk: bytes) -> NDArray[np.uint32]:
        padded = np.frombuffer(chunk + _PADDING, np.uint8)
        data = padded[: len(chunk)]
        pairs = data[:-1].astype(np.uint16) << 8 | data[1:]
        inside = np.flatnonzero(~self._joined[pairs]) + 1
        edges = [0, len(chunk)] if chunk else [0]
        starts = np.concatenate([edges[:1], inside, edges[1:]]).astype(np.intp)
        return self._words.ids_of(padded, starts)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the tokenizer.json."""
        model = bpe_model(dict(self._vocab), ())
        model |= {"unk_token": UNKNOWN, "fuse_unk": True, "byte_fallback": True}
        model["merges"] = [list(pair) for pair in self._merges]  # tokens have spaces in them
        return tokenizer_json(
            {name: self._vocab[name] for name in SPECIAL},
            model=model,
            decoder={"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        )


def merges_of(pieces: Iterable[str]) -> Merges:
    """Return the pairs of pieces that make a piece, in the order of the pieces.

    SentencePiece merges any two neighbours that together are a piece.

    >>> merges_of(["ab", "bab", "abab", "a", "b"])
    [('a', 'b'), ('b', 'ab'), ('a', 'bab'), ('ab', 'ab')]
    """
    known = dict.fromkeys(pieces)
    return [
        (piece[:i], piece[i:])
        for piece in known
        for i in range(1, len(piece))
        if piece[:i] in known and piece[i:] in known
    ]


def _bytes_of_tokens(pieces: Iterable[str]) -> list[bytes]:
    single = [bytes([byte]) for byte in range(256)]
    return [*(b"" for _ in SPECIAL), *single, *(piece.encode() for piece in pieces)]


def _joined_bytes(pieces: Iterable[str]) -> NDArray[np.bool_]:
    """Return of each two bytes, the first times 256, whether a word may hold them side by side.

    A word ends wherever no token has both the byte before and the byte after, and never inside a
    character.
    """
    joined = np.zeros((256, 256), bool)
    joined[:, 0x80:0xC0] = True  # second and further bytes of a character
    for piece in pieces:
        data = piece.encode()
        joined[list(data[:-1]), list(data[1:])] = True
    return joined.ravel()


def _word_encoder(model: models.BPE, special: SpecialTokens) -> Callable[[bytes], list[int]]:
    """Return the function from a word's bytes to its ids; DOCUMENT_END gives eos and bos."""
    document_end = bytes([DOCUMENT_END])

    def encode_word(word: bytes) -> list[int]:
        if word == document_end:
            return [special.eos, special.bos]
        return [token.id for token in model.tokenize(word.decode())]

    return encode_word
