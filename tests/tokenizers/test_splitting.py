"""Words by hand, and against the split pattern as `tokenizers` runs it."""

import itertools
import random

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from seedbed.tokenizers.splitting import PADDING, word_starts
from seedbed.tokenizers.utf8 import chunk_documents

STOCK = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
TRICKY = [
    *"'''   \t\n\r\x0b\x00\x1c\x1f\x85\xa0\u3000\u2028\u200b",
    *"sdmtlvreSDaZ19²½_-!?",
    "é",
    "字",
]
TRICKY += ["'s", "'ll", "'ve", " '", "'re", "  ", "\n\n", " \u3000", "\U0001f600", "\u0301", "Ⅷ"]


def words_of(text):
    data = text.encode()
    starts = word_starts(np.frombuffer(data + PADDING, np.uint8)).tolist()
    return [data[a:b].decode() for a, b in itertools.pairwise(starts)]


def stock_words_of(text):
    return [text[begin:end] for _, (begin, end) in STOCK.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("I'll go", ["I", "'ll", " go"]),
        ("'store", ["'s", "tore"]),
        (" 's", [" '", "s"]),
        ("!'s", ["!'", "s"]),
        ("a  b", ["a", " ", " b"]),
        ("a\n\nb", ["a", "\n", "\n", "b"]),
        ("a \nb", ["a", " ", "\n", "b"]),
        ("a  ", ["a", "  "]),
        ("x2 3,4", ["x", "2", " 3", ",", "4"]),
        ("a\u3000\u3000b", ["a", "\u3000", "\u3000", "b"]),
    ],
)
def test_words_by_hand(text, words):
    assert words_of(text) == words == stock_words_of(text)


def test_random_texts_split_as_the_pattern_says():
    source = random.Random(1)
    for _ in range(5000):
        text = "".join(source.choices(TRICKY, k=source.randint(1, 12)))
        assert words_of(text) == stock_words_of(text), repr(text)


def test_documents_do_not_see_each_other():
    data = b"".join(chunk_documents(["a ", " b", "", "'s'", "s"]))
    starts = word_starts(np.frombuffer(data + PADDING, np.uint8)).tolist()
    words = [data[a:b] for a, b in itertools.pairwise(starts)]
    end = b"\xff"
    assert words == [b"a", b" ", end, b" b", end, end, b"'s", b"'", end, b"s", end]
