"""Which rows of a model's vocabulary stay when its tokenizer gains tokens, or is another one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from seedbed.errors import CheckpointError, ConfigError
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.tokenizer_json import read_tokenizer_files


@dataclass(frozen=True)
class KeptRows:
    """Where each row of a new vocabulary comes from."""

    rows: tuple[int | None, ...]  # by new id: the old id that means the same, None if there is none
    real: int  # how many rows of the old model stand for tokens; those after them are padding

    @property
    def count(self) -> int:
        """How many rows were kept."""
        return sum(row is not None for row in self.rows)

    def __str__(self) -> str:
        return f"{self.count:,} of {len(self.rows):,} rows kept from {self.real:,}"


def kept_rows(
    old: Tokenizer, new: Tokenizer, *, num_rows: int, declared: int | None = None
) -> KeptRows:
    """Return for each token of `new` the row of the token of `old` that means the same.

    Special tokens mean the same by role, all others by their bytes; those without either (`<unk>`)
    by their order. `num_rows` is how many rows the model has. `declared` is how many ids its
    tokenizer's own files tell (`declared_ids`): from there on `old` holds chat tokens that loading
    added, and rows, where the model has any, are padding.

    Raises CheckpointError when the model has no rows for text that `old` gives ids to, ConfigError
    when not one token of text is kept.

    >>> from seedbed.tokenizers.simple import CharTokenizer
    >>> old, new = CharTokenizer("abc"), CharTokenizer("bcd")
    >>> kept_rows(old, new, num_rows=8).rows
    (1, 2, None, 3, 4, 5, 6, 7)
    """
    real = min(num_rows, old.vocab_size if declared is None else declared)
    for token_id in range(num_rows, old.vocab_size):
        if text := old.token_bytes(token_id):
            raise CheckpointError(
                f"The checkpoint has {num_rows:,} rows, but its tokenizer has {old.vocab_size:,} "
                f"ids, and id {token_id:,} stands for the text {text!r}. They do not belong "
                "together: put the tokenizer that the model was trained with into its folder."
            )
    found = _same_meanings(old, new)
    rows = tuple(row if row is not None and row < real else None for row in found)
    if not any(new.token_bytes(i) for i, row in enumerate(rows) if row is not None):
        raise ConfigError(
            f"The checkpoint's tokenizer ({old.kind}, {old.vocab_size:,} tokens) and the new one "
            f"({new.kind}, {new.vocab_size:,} tokens) have not one token of text in common, so "
            "nothing of its vocabulary can be kept. Choose another tokenizer, or train anew."
        )
    return KeptRows(rows, real)


def declared_ids(path: Path) -> int:
    """Return how many ids the tokenizer.json of a folder tells, up to its last one.

    A loaded tokenizer can have more: chat tokens that the file lacks are added after these. Raises
    DataError when the file is missing or damaged.
    """
    content, _ = read_tokenizer_files(path)
    vocab: dict[str, int] | list[object] = content["model"]["vocab"]
    ids = range(len(vocab)) if isinstance(vocab, list) else vocab.values()
    added: list[dict[str, int]] = content.get("added_tokens") or []
    return 1 + max([*ids, *(token["id"] for token in added)], default=-1)


def _same_meanings(old: Tokenizer, new: Tokenizer) -> list[int | None]:
    """Return for each id of `new` the id of `old` that means the same, if any.

    Several tokens can mean the same: in SentencePiece's kind a byte and a character. They are
    matched from the last backwards, as it is the last, the character, that text gives.
    """
    olds, news = _ids_by_meaning(old), _ids_by_meaning(new)
    found: list[int | None] = [None] * new.vocab_size
    for meaning, ids in news.items():
        if same := olds.get(meaning):
            for place, token_id in enumerate(reversed(ids)):
                found[token_id] = same[max(0, len(same) - 1 - place)]
    for role, token_id in asdict(new.special).items():  # eos after bos, where they are the same
        found[token_id] = getattr(old.special, role)
    return found


def _ids_by_meaning(tokenizer: Tokenizer) -> dict[bytes, list[int]]:
    """Return the ids of the tokens without a role, by their bytes."""
    special = set(asdict(tokenizer.special).values())
    found: dict[bytes, list[int]] = defaultdict(list)
    for token_id in range(tokenizer.vocab_size):
        if token_id not in special:
            found[tokenizer.token_bytes(token_id)].append(token_id)
    return found
