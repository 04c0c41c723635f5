"""What every tokenizer offers, and the decoder that streams text out of token ids."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that no text can produce: they are put in by us alone.

    `eos` ends a document, and a chat turn. `bos` is what stands before a document in the token
    files, so what a model has learnt to begin from: the `eos` of the document before, which is the
    same token. Only kind "sentencepiece" has a `bos` of its own, written before each document.
    """

    bos: int
    eos: int
    user: int
    assistant: int
    system: int

    @classmethod
    def of(cls, ids: Iterable[int]) -> Self:
        """Return the special tokens whose ids come in this order: eos, user, assistant, system."""
        eos, user, assistant, system = ids
        return cls(bos=eos, eos=eos, user=user, assistant=assistant, system=system)

    @property
    def before_document(self) -> list[int]:
        """What is written before each document in the token files: `bos` where it is not `eos`."""
        return [] if self.bos == self.eos else [self.bos]

    def inside(self, document: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """Return a document of the token files without the special tokens around it.

        >>> special = SpecialTokens(bos=1, eos=2, user=3, assistant=4, system=5)
        >>> special.inside(np.array([1, 7, 8, 2], np.uint16)).tolist()
        [7, 8]
        """
        return document[len(self.before_document) : -1]

    def named(self, names: Mapping[int, str]) -> dict[str, str]:
        """Return the name of each special token by its role."""
        return {role: names[token_id] for role, token_id in asdict(self).items()}


class Tokenizer(Protocol):
    """Text to token ids and back. Text that looks like a special token stays text."""

    kind: str  # "byte", "char", "bpe", "gpt2", "sentencepiece", "huggingface"
    vocab_size: int  # ids are below this; special tokens included
    special: SpecialTokens

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without any special token."""
        ...

    def encode_documents(self, texts: Iterable[str]) -> tuple[NDArray[np.uint32], list[int]]:
        """Return the ids of all texts, each as in the token files, end to end; and each length.

        That is `special.before_document`, the text, `special.eos`; the lengths count them all. This
        is the fast path that `prepare` uses.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; special tokens give nothing, broken UTF-8 gives U+FFFD."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """Return the UTF-8 bytes that the token stands for; b"" for a special token.

        Raises IndexError for an id outside the vocabulary.
        """
        ...

    def fingerprint(self) -> str:
        """Return a hash that is equal for two tokenizers that give equal ids."""
        ...

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which stock software loads."""
        ...


def bytes_before_text(tokenizer: Tokenizer) -> int:
    """Return how many bytes the tokens of a text have before it: SentencePiece may put a space.

    >>> from seedbed.tokenizers.simple import ByteTokenizer
    >>> bytes_before_text(ByteTokenizer())
    0
    """
    data = b"".join(map(tokenizer.token_bytes, tokenizer.encode("a")))  # b"" for "a" if unknown
    return len(data) - len(data.lstrip(b" "))


class StreamDecoder:
    """Turns token ids, one at a time, into text that never ends inside a character.

    >>> from seedbed.tokenizers.simple import ByteTokenizer
    >>> tokenizer = ByteTokenizer()
    >>> decoder = StreamDecoder(tokenizer)
    >>> [decoder.push(i) for i in tokenizer.encode("é!")]
    ['', 'é', '!']
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Return the characters that `token_id` completes."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """Return what is left, with U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)
