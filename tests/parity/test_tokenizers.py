"""Our ids against those of transformers, tokenizers and tiktoken, on random and on real text."""

import json
import random

import numpy as np
import pytest
import tiktoken
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.pretrained import load_gpt2
from seedbed.tokenizers.sentencepiece import SPECIAL, SentencePieceTokenizer, train_sentencepiece
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer
from seedbed.tokenizers.unicode_classes import LETTER, NUMBER, OTHER, SPACE, class_of_code_point
from sentencepiece_models import LLAMA, T5, train_model

PIECES = [
    "'s",
    "'ll",
    "'RE",
    " ",
    "  ",
    "   \n",
    "\t",
    "\r\n",
    "\x00",
    "\x1c",
    "\x7f",
    "\x85",
    "\xa0",
]
PIECES += [
    "the",
    " fox",
    "don't",
    "2024",
    " 3.14",
    "²",
    "Ⅷ",
    "字",
    "é",
    "e\u0301",
    "!!",
    "</",
    "=====",
    "_",
]
PIECES += ["\u0301\u0323", "👨\u200d👩\u200d👧", "👍🏽", "🇬🇧", "\ue000", "\ufffe", "\U0010ffff"]
PIECES += ["\u2581", "\u2585", " " * 40, "<0x41>", "ﬁ", "½", "ｶﾞ", "\u3000", "\x01", "\ufeff"]
SPECIAL_LOOKING = [
    *("<|endoftext|>", "<|user|>hi", "<user>", "<bos>so", "the<eos>", "<s></s>", "a <unk> b"),
    *("<assistant><system>", "<pad>", "<0x0A>", "\u2581</s>", "<s", " <|system|> <s> "),
]
SENTENCES = [
    f'Once upon a time there were {i} foxes; they didn\'t say "é"…\n\n' for i in range(300)
]


def random_character(source):
    while True:
        plane = source.choice([0, 0, 0, 0, 1, 1, 2, 3, source.randrange(17)])
        code_point = source.choice(
            [source.randrange(0x3000), plane << 16 | source.randrange(0x10000)]
        )
        if not 0xD800 <= code_point < 0xE000:
            return chr(code_point)


def random_text(source):
    parts = [
        source.choice(PIECES) if source.random() < 0.6 else random_character(source)
        for _ in range(source.randint(0, 40))
    ]
    return "".join(parts)


@pytest.fixture(scope="module")
def random_texts():
    source = random.Random(42)
    return [random_text(source) for _ in range(500)]


@pytest.fixture(scope="module")
def gpt2(real_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(real_data / "tiktoken_cache"))
        yield load_gpt2(), tiktoken.get_encoding("gpt2")


@pytest.fixture(params=["byte", "char", "bpe", "sentencepiece", "llama.model", "t5.model", "gpt2"])
def tokenizer(request, random_texts, tmp_path_factory):
    if request.param == "byte":
        return ByteTokenizer()
    if request.param == "char":  # half of the texts hold characters that it does not know
        return CharTokenizer(sorted(set("".join(random_texts[::2]))))
    if request.param == "bpe":
        return train_bpe(SENTENCES + random_texts[::2], 1000)
    if request.param == "sentencepiece":
        return train_sentencepiece(SENTENCES * 9 + random_texts[::20], 1000)
    if request.param.endswith(".model"):
        settings = {"llama.model": LLAMA, "t5.model": T5}[request.param]
        path = tmp_path_factory.mktemp("models") / request.param
        return load_tokenizer(train_model(path, SENTENCES, **settings))
    return request.getfixturevalue("gpt2")[0]


def assert_same_ids(tokenizer, stock, texts):
    for text in texts:
        ids = tokenizer.encode(text)
        assert stock.encode(text, add_special_tokens=False) == ids, repr(text)
        assert stock.encode(text) == ids, repr(text)
        ours, theirs = tokenizer.decode(ids), stock.decode(ids, skip_special_tokens=True)
        assert ours == theirs, repr(text)


def test_transformers_gives_the_same_ids_and_text(tokenizer, random_texts, tmp_path):
    tokenizer.save(tmp_path)
    stock = AutoTokenizer.from_pretrained(tmp_path)
    assert_same_ids(tokenizer, stock, random_texts)
    assert len(stock) == tokenizer.vocab_size
    ids, lengths = tokenizer.encode_documents(random_texts)
    own_bos = [stock.bos_token_id] if stock.bos_token_id != stock.eos_token_id else []
    expected = [[*own_bos, *stock.encode(text), stock.eos_token_id] for text in random_texts]
    assert lengths == [len(document) for document in expected]
    assert np.array_equal(ids, np.concatenate(expected))


def test_transformers_knows_the_special_tokens(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    stock = AutoTokenizer.from_pretrained(tmp_path)
    special = tokenizer.special
    assert (stock.bos_token_id, stock.eos_token_id) == (special.bos, special.eos)
    chat = [special.user, special.assistant, special.system]
    trained = isinstance(tokenizer, SentencePieceTokenizer)
    names = ["<user>", "<assistant>", "<system>"]
    names = names if trained else ["<|user|>", "<|assistant|>", "<|system|>"]
    assert stock.convert_tokens_to_ids(names) == chat
    assert {special.bos, special.eos, *chat} <= set(stock.all_special_ids)
    ids = [*chat, special.eos, *tokenizer.encode("the")]
    assert stock.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)


def test_what_transformers_saves_again_loads_as_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "ours")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    loaded = load_tokenizer(tmp_path / "theirs")
    assert loaded.kind == tokenizer.kind
    assert loaded.fingerprint() == tokenizer.fingerprint()


def test_text_that_looks_special_stays_text(tokenizer):
    special = tokenizer.special
    never = {special.bos, special.eos, special.user, special.assistant, special.system}
    for text in SPECIAL_LOOKING:
        assert not never & set(tokenizer.encode(text)), text
        if tokenizer.kind in ("byte", "bpe", "gpt2") or isinstance(
            tokenizer, SentencePieceTokenizer
        ):
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_any_ids_decode_alike(tokenizer, tmp_path):
    """Ids that no text gives, whose bytes are broken UTF-8.

    Not those of bytes in SentencePiece's kind: of a broken run of them, stock software shows a
    U+FFFD for every byte, whole characters too.
    """
    tokenizer.save(tmp_path)
    stock = AutoTokenizer.from_pretrained(tmp_path)
    source = random.Random(7)
    for _ in range(300):
        ids = source.choices(range(tokenizer.vocab_size), k=20)
        if isinstance(tokenizer, SentencePieceTokenizer):
            ids = [i for i in ids if i not in range(len(SPECIAL), len(SPECIAL) + 256)]
        assert stock.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)


def test_classes_are_those_of_the_stock_split_for_every_code_point():
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    assigned = [*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE0200)]
    classes = class_of_code_point()[assigned]
    for value, probe in ((LETTER, "a"), (NUMBER, "1"), (OTHER, "!")):
        text = "".join(f"{probe}{chr(code_point)}\n" for code_point in assigned)
        begins = np.zeros(len(text), bool)
        begins[[begin for _, (begin, _) in split.pre_tokenize_str(text)]] = True
        joins_probe = ~begins[1::3]
        wrong = np.flatnonzero(joins_probe != (classes == value))
        assert not wrong.size, [hex(assigned[i]) for i in wrong[:10]]
    assert (classes == SPACE).sum() == (class_of_code_point() == SPACE).sum() == 25
    assert (np.delete(class_of_code_point(), assigned) == OTHER).all()


def test_gpt2_equals_tiktoken_on_random_text(gpt2, random_texts):
    ours, reference = gpt2
    for text in [*random_texts, "\ud800 lone", "\ud83d\ude00", " " * 3000, "<|endoftext|>"]:
        assert ours.encode(text) == reference.encode_ordinary(text), repr(text)


def real_texts(real_data):
    yield from (
        (real_data / "tinystories" / "train.txt").read_text("utf-8").split("<|endoftext|>")[:800]
    )
    for name in ("web/c4_sample.jsonl", "code/python_stdlib.jsonl"):
        lines = (real_data / name).read_text("utf-8").splitlines()
        yield from (json.loads(line)["text"] for line in lines)
    yield (real_data / "literature" / "frankenstein.txt").read_text("utf-8")


def test_gpt2_equals_tiktoken_on_real_text(gpt2, real_data):
    ours, reference = gpt2
    texts = list(real_texts(real_data))
    ids, lengths = ours.encode_documents(texts)
    expected = [[*reference.encode_ordinary(text), 50256] for text in texts]
    assert lengths == [len(document) for document in expected]
    assert np.array_equal(ids, np.concatenate(expected))


def test_trained_bpe_equals_the_library_on_real_text(real_data, tmp_path):
    texts = list(real_texts(real_data))
    tokenizer = train_bpe(texts[::2], 4096)
    assert tokenizer.vocab_size == 4096
    tokenizer.save(tmp_path)
    stock = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    stock.encode_special_tokens = True
    ids, _ = tokenizer.encode_documents(texts)
    encodings = stock.encode_batch_fast(texts, add_special_tokens=False)
    expected = [[*encoding.ids, tokenizer.special.eos] for encoding in encodings]
    assert np.array_equal(ids, np.concatenate(expected))
