import numpy as np
import pytest

from seedbed.tokenizers.base import StreamDecoder
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer


def test_byte_ids_are_the_bytes():
    assert ByteTokenizer().encode("aé") == [97, 195, 169]
    assert ByteTokenizer().vocab_size == 260


def test_documents_are_each_followed_by_eos():
    tokenizer = ByteTokenizer()
    ids, lengths = tokenizer.encode_documents(["ab", "", "c"])
    eos = tokenizer.special.eos
    assert ids.tolist() == [97, 98, eos, eos, 99, eos]
    assert ids.dtype == np.uint32
    assert lengths == [3, 1, 2]


def test_no_documents_give_no_ids():
    for tokenizer in (ByteTokenizer(), CharTokenizer("ab")):
        ids, lengths = tokenizer.encode_documents([])
        assert ids.tolist() == lengths == []


def test_character_never_seen_is_unknown_and_decodes_to_nothing():
    tokenizer = CharTokenizer("ab")
    assert tokenizer.encode("axb") == [0, 2, 1]
    assert tokenizer.decode([0, 2, 1]) == "ab"
    assert tokenizer.token_bytes(2) == b""


def test_char_documents_equal_char_texts():
    tokenizer = CharTokenizer("aé\U0001f600 ")
    texts = ["a é", "\U0001f600\U0001f600", "zzz"]
    ids, lengths = tokenizer.encode_documents(texts)
    expected = [[*tokenizer.encode(text), tokenizer.special.eos] for text in texts]
    assert ids.tolist() == [i for document in expected for i in document]
    assert lengths == [len(document) for document in expected]


def test_repeated_characters_count_once():
    assert CharTokenizer("abab").characters == "ab"


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), CharTokenizer("a")])
@pytest.mark.parametrize("past_end", [False, True])
def test_id_outside_the_vocabulary_is_an_index_error(tokenizer, past_end):
    with pytest.raises(IndexError, match="not in a vocabulary"):
        tokenizer.token_bytes(tokenizer.vocab_size if past_end else -1)


def test_lone_surrogate_becomes_the_replacement_character():
    assert ByteTokenizer().encode("\ud800") == list("\ufffd".encode())
    assert CharTokenizer("\ufffd").encode("\ud800") == [0]


def test_text_that_looks_special_stays_text():
    for tokenizer in (ByteTokenizer(), CharTokenizer("<|endoftx>")):
        ids = tokenizer.encode("<|endoftext|>")
        assert tokenizer.decode(ids) == "<|endoftext|>"
        assert tokenizer.special.eos not in ids


def test_streamed_text_never_ends_inside_a_character():
    tokenizer = ByteTokenizer()
    decoder = StreamDecoder(tokenizer)
    pieces = [decoder.push(i) for i in tokenizer.encode("a\U0001f600b")]
    assert pieces == ["a", "", "", "", "\U0001f600", "b"]
    decoder.push(0xC3)
    assert decoder.finish() == "\ufffd"


def test_fingerprint_tells_vocabularies_apart():
    assert CharTokenizer("ab").fingerprint() == CharTokenizer("ab").fingerprint()
    assert CharTokenizer("ab").fingerprint() != CharTokenizer("ba").fingerprint()
    assert CharTokenizer("ab").fingerprint() != ByteTokenizer().fingerprint()
