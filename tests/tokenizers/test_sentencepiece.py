import random

import numpy as np
import pytest
from sentencepiece import SentencePieceTrainer

from seedbed.errors import ConfigError
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.sentencepiece import (
    BYTES,
    SPECIAL,
    SentencePieceTokenizer,
    train_sentencepiece,
)
from sentencepiece_models import LLAMA, SENTENCES, stock, train_model

ODD = [
    "",
    " ",
    "  lead and trail  ",
    "a\x00b\x01",
    "\u2581",
    "a \u2581 b\u2581\u2581",
    "\u2585",
    "\u0301",
    "👨\u200d👩\u200d👧",
    "\ue000\ufffe\U0010ffff",
    "\r\n\t\n \n",
    " " * 3000,
    "<s></s><bos><eos><user><unk><0x41>",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(SENTENCES, 600)


def test_vocabulary_has_the_size_asked_for(tokenizer):
    assert tokenizer.vocab_size == 600
    special = tokenizer.special
    assert (special.bos, special.eos) == (1, 2)
    assert (special.user, special.assistant, special.system) == (3, 4, 5)


def test_little_text_gives_a_smaller_vocabulary():
    tokenizer = train_sentencepiece(["ab ab"], 4096)
    assert 262 < tokenizer.vocab_size < 270
    assert train_sentencepiece([], 4096).vocab_size == 263


def test_smallest_vocabulary_is_told_and_works():
    with pytest.raises(ConfigError, match=r"262 but must be at least 263"):
        train_sentencepiece(SENTENCES, 262)
    with pytest.raises(ConfigError, match=r"270 but must be at least (\d+)") as caught:
        train_sentencepiece(SENTENCES, 270)
    smallest = int(str(caught.value).split("at least ")[1].split(":")[0])
    assert train_sentencepiece(SENTENCES, smallest).vocab_size == smallest


def test_training_twice_gives_the_same_tokenizer(tokenizer):
    assert train_sentencepiece(iter(SENTENCES), 600).fingerprint() == tokenizer.fingerprint()
    assert train_sentencepiece(SENTENCES, 599).fingerprint() != tokenizer.fingerprint()


@pytest.mark.parametrize("text", [*ODD, *SENTENCES[:3]])
def test_text_comes_back_exactly(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_lone_surrogate_is_the_replacement_character(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


def test_no_text_gives_a_special_token():
    texts = ["<user> <bos> <eos> <assistant> <system> <unk> <0x41> </s> \u2585 \u2581"] * 50
    tokenizer = train_sentencepiece(texts, 400)
    for text in [*texts[:1], *SPECIAL, *BYTES]:
        ids = tokenizer.encode(text)
        assert min(ids) >= len(SPECIAL)
        assert tokenizer.decode(ids) == text


def test_documents_stand_between_bos_and_eos(tokenizer):
    texts = ["so long", "", "fox\n\nfox"]
    ids, lengths = tokenizer.encode_documents(texts)
    expected = [[1, *tokenizer.encode(text), 2] for text in texts]
    assert ids.tolist() == [i for document in expected for i in document]
    assert ids.dtype == np.uint32
    assert lengths == [len(document) for document in expected]
    none, no_lengths = tokenizer.encode_documents([])
    assert (none.tolist(), no_lengths) == ([], [])


def test_cut_documents_have_the_ids_of_whole_ones(tokenizer, monkeypatch):
    source = random.Random(3)
    text = "".join(source.choice([*SENTENCES, "\n", "  ", " .", "字字"]) for _ in range(200))
    whole = tokenizer.encode(text)
    monkeypatch.setattr("seedbed.tokenizers.utf8.CHUNK_BYTES", 100)
    monkeypatch.setattr("seedbed.tokenizers.utf8._LONG_DOCUMENT", 200)
    assert tokenizer.encode(text) == whole


def test_ids_are_those_of_the_library(tmp_path):
    """On all kinds of text but U+2581, which the library cannot tell from a space."""
    settings = {**LLAMA, "add_dummy_prefix": False}
    library = stock(train_model(tmp_path / "x.model", **settings))
    pieces = [library.id_to_piece(i) for i in range(3 + 256, library.vocab_size())]
    ours = SentencePieceTokenizer([piece.replace("\u2581", " ") for piece in pieces])
    shift = len(SPECIAL) - 3
    source = random.Random(4)
    texts = [*ODD, *SENTENCES[:20]]
    parts = ["so", "-", " ", "字", "\n", "fo", "x"]
    texts += ["".join(source.choices(parts, k=40)) for _ in range(300)]
    for text in texts:
        if "\u2581" not in text:
            assert [i - shift for i in ours.encode(text)] == library.encode(text), repr(text)


def test_words_of_any_length_are_trained_on():
    tokenizer = train_sentencepiece(["ab" * 100_000, "字" * 70_000], 300)
    ids = tokenizer.encode("ab" * 100_000)
    assert len(ids) < 20_000
    assert tokenizer.decode(ids) == "ab" * 100_000


def test_runs_of_spaces_become_tokens_of_their_own(tokenizer):
    assert len(tokenizer.encode(" " * 8)) < 4


def test_no_token_reaches_from_a_word_into_the_next(tokenizer):
    tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
    assert any(token.startswith(b" ") and len(token) > 2 for token in tokens)
    assert not [token for token in tokens if b" " in token.lstrip(b" ")]


def test_saved_tokenizer_loads_as_what_it_was(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    names = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert {path.name for path in tmp_path.iterdir()} == names
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, SentencePieceTokenizer)
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.special == tokenizer.special


def test_errors_of_the_library_other_than_size_are_not_hidden(monkeypatch):
    def fail(**_settings):
        raise RuntimeError("something else")

    monkeypatch.setattr(SentencePieceTrainer, "train", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train_sentencepiece(SENTENCES, 600)
