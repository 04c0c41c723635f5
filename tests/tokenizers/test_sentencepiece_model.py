import random

import numpy as np
import pytest

from seedbed.errors import DataError
from seedbed.tokenizers.base import bytes_before_text
from seedbed.tokenizers.load import load_tokenizer
from sentencepiece_models import LLAMA, SENTENCES, T5, stock, train_model

MAKES = {
    "llama": LLAMA,
    "bpe-without-bytes": {**LLAMA, "byte_fallback": False},
    "bpe-across-words": {**LLAMA, "split_by_whitespace": False, "split_by_unicode_script": False},
    "bpe-that-tidies-spaces": {"model_type": "bpe", "normalization_rule_name": "identity"},
    "unigram": {**LLAMA, "model_type": "unigram"},
    "t5": {**T5, "normalization_rule_name": "identity"},
    "t5-nfkc": T5,
}
ODD = [
    "",
    " ",
    "  so   long  ",
    "\u2581so\u2581 ",
    "Ⅷ ½ ﬁ\u3000é",
    "x\x00\x01y",
    "<0x41>",
    "\tso\nlong\n",
]
SPECIAL_LOOKING = ["<s>", "</s> so", "so<unk>", "<pad>", "<user> so </s>", "<|endoftext|>"]


def are_equally_likely(library, *cuts):
    """Return whether a unigram model likes several ways to cut a text alike.

    The library takes the one that rounding to float32 on the way makes the larger.
    """
    scores = [sum(map(library.get_score, ids)) for ids in cuts]
    is_unigram = any(library.get_score(i) % 1 for i in range(library.vocab_size()))
    same_text = len({library.decode(ids) for ids in cuts}) == 1
    return is_unigram and same_text and np.ptp(scores) < 1e-3


@pytest.mark.parametrize("make", MAKES)
def test_ids_are_those_of_the_library(make, tmp_path):
    path = train_model(tmp_path / "x.model", **MAKES[make])
    library, ours = stock(path), load_tokenizer(path)
    assert ours.kind == "sentencepiece"
    source = random.Random(5)
    parts = ["so", "-", " ", "字", "fo", "x", "👍", "é", "<s>", "long", "\x1c", "\ue000"]
    texts = ["".join(source.choices(parts, k=30)) for _ in range(200)]
    for text in [*ODD, *SPECIAL_LOOKING, *SENTENCES[:30], *texts]:
        ids, expected = ours.encode(text), library.encode(text)
        assert ids == expected or are_equally_likely(library, ids, expected), repr(text)
        decoded = library.decode(library.encode(text))
        if "\u2047" not in decoded and "\u2581" not in text:  # how it shows the unknown, a space
            assert ours.decode(ours.encode(text)) == decoded


@pytest.mark.parametrize("make", MAKES)
def test_saved_model_gives_the_same_ids(make, tmp_path):
    ours = load_tokenizer(train_model(tmp_path / "x.model", **MAKES[make]))
    ours.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert (again.kind, again.special) == (ours.kind, ours.special)
    assert again.fingerprint() == ours.fingerprint()
    for text in [*ODD, *SPECIAL_LOOKING, *SENTENCES[:5]]:
        assert again.encode(text) == ours.encode(text), repr(text)


@pytest.mark.parametrize("make", MAKES)
def test_no_text_gives_a_special_token(make, tmp_path):
    ours = load_tokenizer(train_model(tmp_path / "x.model", **MAKES[make]))
    special = {ours.special.bos, ours.special.eos, ours.special.user, ours.special.system}
    for text in SPECIAL_LOOKING:
        assert not special & set(ours.encode(text)), text


def test_a_document_starts_with_the_bos_of_the_model(tmp_path):
    llama = load_tokenizer(train_model(tmp_path / "llama.model", **LLAMA))
    assert (llama.special.bos, llama.special.eos) == (1, 2)
    ids, lengths = llama.encode_documents(["so long", ""])
    assert ids.tolist() == [1, *llama.encode("so long"), 2, 1, 2]
    assert lengths == [len(ids) - 2, 2]
    t5 = load_tokenizer(train_model(tmp_path / "t5.model", **T5))
    assert t5.special.bos == t5.special.eos == 1
    assert t5.encode_documents([""])[0].tolist() == [1]


def test_the_space_put_before_a_text_is_found_where_letters_are_unknown(tmp_path):
    settings = {**LLAMA, "byte_fallback": False, "vocab_size": 30}
    ours = load_tokenizer(train_model(tmp_path / "x.model", ["xyz xyz zyx " * 50], **settings))
    data = b"".join(map(ours.token_bytes, ours.encode("xyz")))
    assert (data, bytes_before_text(ours)) == (b" xyz", 1)
    without = train_model(tmp_path / "y.model", **{**LLAMA, "add_dummy_prefix": False})
    assert bytes_before_text(load_tokenizer(without)) == 0


def test_chat_tokens_are_those_that_the_model_has_or_are_added(tmp_path):
    without = load_tokenizer(train_model(tmp_path / "a.model", **LLAMA))
    assert without.vocab_size == 603
    assert without.special.user == 600
    names = ["<user>", "<assistant>", "<system>"]
    path = train_model(tmp_path / "b.model", **LLAMA, control_symbols=names)
    special = load_tokenizer(path).special
    assert [special.user, special.assistant, special.system] == [3, 4, 5]


def test_symbols_that_its_maker_defined_are_found_in_text(tmp_path):
    settings = {**LLAMA, "add_dummy_prefix": False, "user_defined_symbols": ["<x>", "so", "<x"]}
    path = train_model(tmp_path / "x.model", **settings)
    library, ours = stock(path), load_tokenizer(path)
    for text in ("<x>so long<x", "a<x>so<xso", "sosoon"):
        assert ours.encode(text) == library.encode(text)


REFUSED = {
    "white space at the end of words": {**LLAMA, "treat_whitespace_as_suffix": True},
    "works on words or characters": {"model_type": "char"},
    "user-defined symbols": {**LLAMA, "user_defined_symbols": ["<x>"]},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_model_that_no_tokenizer_json_stands_for_is_refused(reason, tmp_path):
    path = train_model(tmp_path / "x.model", **REFUSED[reason])
    with pytest.raises(DataError, match=reason):
        load_tokenizer(path)


def test_a_folder_with_a_model_only_is_told_to_name_it(tmp_path):
    path = train_model(tmp_path / "tokenizer.model", **LLAMA)
    with pytest.raises(DataError, match=r"no file .*tokenizer\.json.*name it: .*tokenizer\.model"):
        load_tokenizer(path.parent)


def test_damaged_model_is_told(tmp_path):
    path = train_model(tmp_path / "x.model", **LLAMA)
    whole = path.read_bytes()
    for data in (b"", b"IQ== 0\nIg== 1\n", whole[: len(whole) // 2], whole[:10], whole[1:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"x\.model is not a SentencePiece model"):
            load_tokenizer(path)
