import random

import numpy as np

from seedbed.tokenizers import words
from seedbed.tokenizers.words import WordTable


def ids_of(table, some_words):
    data = np.frombuffer(b"".join(some_words) + bytes(16), np.uint8)
    starts = np.cumsum([0, *map(len, some_words)])
    return table.ids_of(data, starts).tolist()


def random_words(seed, number, alphabet=b"ab\0", longest=20):
    source = random.Random(seed)
    lengths = [source.randint(1, longest) for _ in range(number)]
    return [bytes(source.choices(alphabet, k=length)) for length in lengths]


def test_ids_are_those_of_each_word_in_order():
    table = WordTable(lambda word: [len(word), *word])
    for seed in range(5):
        some_words = random_words(seed, 3000)
        expected = [i for word in some_words for i in [len(word), *word]]
        assert ids_of(table, some_words) == expected


def test_word_is_encoded_once():
    calls = []
    table = WordTable(lambda word: calls.append(word) or list(word))
    some_words = [b"a", b"a\0", b"b" * 15, b"b" * 16, b"b" * 17, b"c" * 300]
    for _ in range(3):
        ids_of(table, some_words + some_words)
    assert sorted(calls)[:-3] == sorted(some_words)[:-1]
    assert calls.count(b"c" * 300) == 3  # too long to be kept: once a chunk


def test_full_table_forgets_and_stays_right(monkeypatch):
    monkeypatch.setattr(words, "_MOST_WORDS", 100)
    monkeypatch.setattr(words, "_MOST_LONG_WORDS", 100)
    table = WordTable(list)
    for seed in range(20):
        some_words = random_words(seed, 200, alphabet=b"abcdefgh")
        assert ids_of(table, some_words) == list(b"".join(some_words))
        assert table._words < 300
        assert len(table._long_words) < 300


def test_more_words_in_one_chunk_than_slots_are_all_right(monkeypatch):
    table = WordTable(list)
    some_words = [i.to_bytes(3, "big") for i in range(words._SLOTS + 1000)]
    assert ids_of(table, some_words) == list(b"".join(some_words))
