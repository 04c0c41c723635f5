import random

import numpy as np
import pytest

from seedbed.errors import ConfigError
from seedbed.tokenizers import utf8
from seedbed.tokenizers.bpe import train_bpe

TEXTS = [
    f"Once upon a time, fox {i} said: it's {i * 7} o'clock!\n\n  Hello  again. " for i in range(200)
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(TEXTS, 320)


def test_vocabulary_has_the_size_asked_for(tokenizer):
    assert tokenizer.vocab_size == 320
    assert tokenizer.special.eos == tokenizer.special.bos == 316
    assert tokenizer.special.system == 319


def test_little_text_gives_a_smaller_vocabulary():
    tokenizer = train_bpe(["ab ab"], 4096)
    assert 260 < tokenizer.vocab_size < 270


def test_vocabulary_too_small_for_the_bytes_is_refused():
    with pytest.raises(ConfigError, match="at least 260"):
        train_bpe(TEXTS, 259)


def test_training_twice_gives_the_same_tokenizer(tokenizer):
    assert train_bpe(iter(TEXTS), 320).fingerprint() == tokenizer.fingerprint()
    assert train_bpe(TEXTS, 319).fingerprint() != tokenizer.fingerprint()


def test_any_text_comes_back(tokenizer):
    for text in (*TEXTS[:5], "", "\x00\xff\U0010ffff", "  \n\t ", "字" * 100, "<|endoftext|>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(text))) == text.encode()


def test_text_that_looks_special_stays_text(tokenizer):
    ids = tokenizer.encode("<|endoftext|><|user|>")
    assert max(ids) < tokenizer.special.eos


def test_special_tokens_decode_to_nothing(tokenizer):
    special = tokenizer.special
    assert tokenizer.decode([special.user, *tokenizer.encode("hi"), special.eos]) == "hi"


def test_id_outside_the_vocabulary_is_an_index_error(tokenizer):
    for token_id in (-1, 320):
        with pytest.raises(IndexError, match="not in a vocabulary of 320"):
            tokenizer.token_bytes(token_id)


def assert_documents_equal_texts(tokenizer, texts):
    ids, lengths = tokenizer.encode_documents(iter(texts))
    expected = [[*tokenizer.encode(text), tokenizer.special.eos] for text in texts]
    assert lengths == [len(document) for document in expected]
    assert np.array_equal(ids, np.concatenate(expected))
    assert ids.dtype == np.uint32


def test_documents_equal_texts(tokenizer):
    assert_documents_equal_texts(tokenizer, ["", "a ", " b", "\n", "'s", "s", "\ud800x", *TEXTS])
    assert tokenizer.encode_documents([])[1] == []


def test_cutting_long_documents_changes_nothing(tokenizer, monkeypatch):
    source = random.Random(0)
    pieces = ["word", "'s", " ", "  ", "\n", "\x1c", "\u3000", "字", "12", "\t", "!"]
    texts = ["".join(source.choices(pieces, k=400)) for _ in range(50)]
    monkeypatch.setattr(utf8, "CHUNK_BYTES", 16)
    monkeypatch.setattr(utf8, "_LONG_DOCUMENT", 64)
    assert len(list(utf8.chunk_documents(texts))) > 1000
    assert_documents_equal_texts(tokenizer, texts)
