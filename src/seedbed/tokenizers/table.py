"""What the tokenizers of this package have in common: each id stands for fixed bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedbed.tokenizers.base import SpecialTokens
from seedbed.tokenizers.tokenizer_json import fingerprint_of, write_tokenizer_files
from seedbed.tokenizers.utf8 import bytes_of_token, decode_tokens


class TableTokenizer:
    """The half of a tokenizer that turns ids back into text, and saves.

    Kinds add how text is encoded, and the content of their tokenizer.json.
    """

    def __init__(
        self, kind: str, special: SpecialTokens, tokens: Sequence[bytes], *, unk: str | None = None
    ) -> None:
        self.kind = kind
        self.special = special
        self.vocab_size = len(tokens)
        self._bytes = tokens
        self._unk = unk

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; special tokens give nothing, broken UTF-8 gives U+FFFD."""
        return decode_tokens(self._bytes, ids)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of a token, b"" for a special one. Raises IndexError beyond them."""
        return bytes_of_token(self._bytes, token_id)

    def fingerprint(self) -> str:
        """Return the SHA-256 of what decides ids."""
        return fingerprint_of(self.to_json())

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which stock software loads."""
        content = self.to_json()
        names = {token["id"]: token["content"] for token in content["added_tokens"]}
        write_tokenizer_files(folder, content, self.special.named(names), unk=self._unk)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the tokenizer.json."""
        raise NotImplementedError
