"""Which rows are kept: those of tokens that mean the same, by role or by bytes."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import permutations
from pathlib import Path

import pytest

from seedbed.errors import CheckpointError, ConfigError
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.sentencepiece import BYTES, SPECIAL, train_sentencepiece
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer
from seedbed.tokenizers.vocabulary import declared_ids, kept_rows
from sentencepiece_models import LLAMA, SENTENCES, T5, train_model

BPE = train_bpe(SENTENCES, 400)
OTHERS = [
    ByteTokenizer(),
    CharTokenizer("abcdefgh é"),
    BPE,
    train_bpe(["so long, and so on. " * 20], 290),
    train_sentencepiece(SENTENCES, 500),
    train_sentencepiece(["the fox and the box are on the docks " * 9], 300),
]


def without_chat_tokens(folder: Path) -> Path:
    """Write BPE as others do: with the end of a document, but no chat tokens."""
    content = BPE.to_json()
    for token in content["added_tokens"][1:]:
        del content["model"]["vocab"][token["content"]]
    content["added_tokens"] = content["added_tokens"][:1]
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", ["llama.model", "t5.model", *range(len(OTHERS))])
def test_of_the_same_tokenizer_all_rows_are_kept(name: str | int, tmp_path: Path) -> None:
    if isinstance(name, str):
        settings = {"llama.model": LLAMA, "t5.model": T5}[name]
        tokenizer = load_tokenizer(train_model(tmp_path / name, SENTENCES, **settings))
    else:
        tokenizer = OTHERS[name]
    tokenizer.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    size = tokenizer.vocab_size
    kept = kept_rows(tokenizer, again, num_rows=size, declared=declared_ids(tmp_path / "again"))
    assert kept.rows == tuple(range(size))
    assert (kept.real, kept.count) == (size, size)
    assert str(kept) == f"{size:,} of {size:,} rows kept from {size:,}"


@pytest.mark.parametrize("num_rows", [397, 512])
def test_chat_tokens_that_loading_added_have_no_row(num_rows: int, tmp_path: Path) -> None:
    """Neither where the model ends before them, nor where it has padding there."""
    folder = without_chat_tokens(tmp_path)
    tokenizer, declared = load_tokenizer(folder), declared_ids(folder)
    assert (tokenizer.vocab_size, declared) == (400, 397)
    kept = kept_rows(tokenizer, tokenizer, num_rows=num_rows, declared=declared)
    assert kept.rows == (*range(397), None, None, None)
    assert (kept.real, kept.count) == (397, 397)


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        ({"model": {"vocab": {"a": 0, "b": 7}}, "added_tokens": []}, 8),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 9}, {"id": 3}]}, 10),
        ({"model": {"vocab": [["a", 0.0], ["b", -1.0]]}}, 2),
    ],
)
def test_ids_are_declared_up_to_the_last(
    content: dict[str, object], declared: int, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert declared_ids(tmp_path) == declared


@pytest.mark.parametrize(("old", "new"), list(permutations(OTHERS, 2)), ids=lambda t: t.kind)
def test_a_row_is_kept_for_each_token_of_the_same_bytes_or_role(
    old: Tokenizer, new: Tokenizer
) -> None:
    kept = kept_rows(old, new, num_rows=old.vocab_size)
    assert len(kept.rows) == new.vocab_size
    roles = {token_id: role for role, token_id in asdict(new.special).items()}
    known = {old.token_bytes(i) for i in range(old.vocab_size)} - {b""}
    for token_id, row in enumerate(kept.rows):
        text = new.token_bytes(token_id)
        if token_id in roles:
            assert row == getattr(old.special, roles[token_id])
        elif text:
            assert (row is None) == (text not in known)
            assert row is None or old.token_bytes(row) == text
    assert kept.count == sum(row is not None for row in kept.rows)


def test_a_bos_of_its_own_begins_as_the_end_that_stood_before_documents() -> None:
    own, shared = train_sentencepiece(SENTENCES, 500), ByteTokenizer()
    grown = kept_rows(shared, own, num_rows=shared.vocab_size).rows
    assert grown[own.special.bos] == grown[own.special.eos] == shared.special.eos
    back = kept_rows(own, shared, num_rows=own.vocab_size).rows
    assert back[shared.special.eos] == own.special.eos


def test_a_character_takes_the_row_of_the_character_and_not_of_its_byte() -> None:
    first, second = OTHERS[-2:]
    from_bytes = kept_rows(ByteTokenizer(), first, num_rows=260).rows
    to_bytes = kept_rows(first, ByteTokenizer(), num_rows=first.vocab_size).rows
    across = kept_rows(first, second, num_rows=first.vocab_size).rows
    byte = len(SPECIAL) + ord("o")

    def letter(tokenizer: Tokenizer) -> int:
        pieces = range(len(SPECIAL) + len(BYTES), tokenizer.vocab_size)
        return next(i for i in pieces if tokenizer.token_bytes(i) == b"o")

    assert (from_bytes[byte], from_bytes[letter(first)]) == (ord("o"), ord("o"))
    assert to_bytes[ord("o")] == letter(first)
    assert (across[byte], across[letter(second)]) == (byte, letter(first))


def test_unknown_characters_stay_unknown() -> None:
    old, new = CharTokenizer("abc"), CharTokenizer("bcdef")
    rows = kept_rows(old, new, num_rows=old.vocab_size).rows
    assert rows == (1, 2, None, None, None, 3, 4, 5, 6, 7)
    other = train_sentencepiece(SENTENCES, 500)  # its `<unk>` is the first id, and it has a bos
    assert kept_rows(old, other, num_rows=old.vocab_size).rows[0] == 3
    assert kept_rows(other, old, num_rows=other.vocab_size).rows[3] == 0


def test_text_for_which_there_are_no_rows_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"has 380 rows.*400 ids, and id 380 .* the text b'"):
        kept_rows(BPE, BPE, num_rows=380)


def test_special_tokens_for_which_there_are_no_rows_are_new() -> None:
    assert kept_rows(BPE, BPE, num_rows=396).rows == (*range(396), None, None, None, None)


def test_nothing_in_common_is_refused() -> None:
    old, new = CharTokenizer("abc"), CharTokenizer("xyz")
    with pytest.raises(ConfigError, match=r"char, 8 tokens.*char, 8 tokens.*not one token"):
        kept_rows(old, new, num_rows=8)
