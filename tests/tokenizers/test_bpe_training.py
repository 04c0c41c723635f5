import json
import random
from collections import Counter

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from seedbed.tokenizers import utf8, words
from seedbed.tokenizers.bpe_training import count_words, learn_merges
from seedbed.tokenizers.tokenizer_json import byte_characters

SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False)
SENTENCES = [f"They didn't say {i * 7} foxes; so long, so long!\n\n  字é {i}" for i in range(60)]


def merges_of_the_library(texts, number):
    stock = Tokenizer(models.BPE())
    stock.pre_tokenizer = SPLIT
    trainer = trainers.BpeTrainer(
        vocab_size=256 + number,
        min_frequency=2,
        initial_alphabet=byte_characters(),
        show_progress=False,
    )
    stock.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(stock.to_str())["model"]["merges"]]


def words_of_the_library(texts):
    characters = byte_characters()
    found = Counter(word for text in texts for word, _ in SPLIT.pre_tokenize_str(text))
    return {bytes(map(characters.index, word)): count for word, count in found.items()}


def random_texts(source, alphabet):
    lengths = [source.randint(0, 80) for _ in range(source.randint(1, 30))]
    return ["".join(source.choices(alphabet, k=length)) for length in lengths]


@pytest.mark.parametrize("alphabet", ["ab", "aaab", "aa ", "abcd ", "a字é ", "ab12'st \n"])
def test_merges_are_those_of_the_library(alphabet):
    source = random.Random(alphabet)
    for _ in range(20):
        texts = random_texts(source, alphabet)
        assert learn_merges(count_words(texts), 70) == merges_of_the_library(texts, 70), texts


def test_merges_of_sentences_are_those_of_the_library():
    merges = learn_merges(count_words(SENTENCES), 200)
    assert 50 < len(merges) < 200  # as far as there are pairs
    assert merges == merges_of_the_library(SENTENCES, 200)


def test_merges_of_real_text_are_those_of_the_library(real_data):
    texts = (real_data / "tinystories" / "valid.txt").read_text("utf-8").split("<|endoftext|>")
    merges = learn_merges(count_words(texts), 2000)
    assert merges == merges_of_the_library(texts, 2000)


def test_most_frequent_pair_comes_first_and_then_the_lower_ids():
    assert learn_merges({b"cd": 2, b"ab": 2, b"xy": 3, b"ac": 2}, 9) == [
        ("x", "y"),
        ("a", "b"),
        ("a", "c"),
        ("c", "d"),
    ]


def test_pair_that_others_took_the_letters_of_comes_later():
    # "bc" occurs 5 times, until "ab" takes the b of 3 of them; then "de" comes before it.
    merges = learn_merges({b"abc": 3, b"ab": 3, b"bc": 2, b"de": 3, b"d": 9}, 4)
    assert merges == [("a", "b"), ("d", "e"), ("ab", "c"), ("b", "c")]


def test_runs_are_merged_from_the_left():
    assert learn_merges({b"aaaaa": 2}, 9) == [("a", "a"), ("aa", "a"), ("aa", "aaa")]


def test_pair_that_occurs_once_is_not_merged():
    assert learn_merges({b"ab": 1, b"cd": 2}, 9) == [("c", "d")]
    assert learn_merges({}, 9) == learn_merges({b"a": 7}, 9) == []


def test_order_of_the_words_does_not_matter():
    found = list(count_words(SENTENCES).items())
    expected = learn_merges(dict(found), 100)
    random.Random(5).shuffle(found)
    assert learn_merges(dict(found), 100) == expected


def test_word_counts_are_those_of_the_stock_split():
    assert count_words(SENTENCES) == words_of_the_library(SENTENCES) | {b"\xff": len(SENTENCES)}
    assert count_words([]) == {}


def test_words_are_counted_right_over_many_chunks_and_full_tables(monkeypatch):
    texts = [f"{i} " + "long" * 5 + f" number{i * i} " for i in range(300)] * 2
    monkeypatch.setattr(utf8, "CHUNK_BYTES", 256)
    monkeypatch.setattr(words, "_MOST_WORDS", 20)
    monkeypatch.setattr(words, "_MOST_LONG_WORDS", 5)
    assert count_words(texts) == words_of_the_library(texts) | {b"\xff": len(texts)}
