"""Our ids and mask of conversations against those of transformers, by the template we save."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import pytest

from seedbed.data.conversations import read_conversations
from seedbed.data.documents import find_sources
from seedbed.data.drops import Drops
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.chat_template import answer_prompt, render
from seedbed.tokenizers.conversation import Conversation, Message
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.pretrained import load_gpt2
from seedbed.tokenizers.sentencepiece import train_sentencepiece
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer
from sentencepiece_models import LLAMA, SENTENCES, T5, train_model

transformers = pytest.importorskip("transformers")

Messages = list[Message]
KINDS = ["byte", "char", "bpe", "sentencepiece", "llama.model", "t5.model", "gpt2"]
TEXTS = [
    "Hello!",
    "What is 2 + 2?",
    " x ",
    "two\r\n\nlines\n",
    "é 字 🌱",
    "x" * 50,
    "\t",
    "{{ 1 }}",
]
TEXTS += ["", " ", "{% raw %}", "<b>", "it's, it'll", "<0x41>", "\u2585", "Once upon a time"]
# Of the records every so many: CHAT_EVERY=1 takes all, which takes minutes.
EVERY = int(os.environ.get("CHAT_EVERY", "50"))


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Any]:
    """Return one of our tokenizers and the same as transformers loads it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = make(request.param, folder, request)
    tokenizer.save(folder / "saved")
    return tokenizer, transformers.AutoTokenizer.from_pretrained(folder / "saved")


def make(kind: str, folder: Path, request: pytest.FixtureRequest) -> Tokenizer:
    if kind == "gpt2":
        with pytest.MonkeyPatch.context() as patch:
            cache = request.getfixturevalue("real_data") / "tiktoken_cache"
            patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
            return load_gpt2()
    if kind.endswith(".model"):
        settings = {"llama.model": LLAMA, "t5.model": T5}[kind]
        return load_tokenizer(train_model(folder / kind, SENTENCES, **settings))
    if kind == "bpe":
        return train_bpe(SENTENCES, 600)
    if kind == "sentencepiece":
        return train_sentencepiece(SENTENCES, 600)
    return ByteTokenizer() if kind == "byte" else CharTokenizer(map(chr, range(9, 256)))


def stock_rendering(stock: Any, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    out = stock.apply_chat_template(
        as_dicts(messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return list(out["input_ids"]), [bool(said) for said in out["assistant_masks"]]


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def assert_same(tokenizer: Tokenizer, stock: Any, messages: Sequence[Message]) -> None:
    ours = render(tokenizer, messages)
    ids, mask = stock_rendering(stock, messages)
    assert ids == ours.ids, messages
    assert mask == ours.trained, messages


def random_conversations(number: int) -> Iterator[Messages]:
    source = random.Random(5)
    for _ in range(number):
        roles = source.choices(["system", "user", "assistant"], k=source.randint(1, 6))
        contents = ["".join(source.choices(TEXTS, k=2)) for _ in roles]
        yield [Message(*turn) for turn in zip(roles, contents, strict=True)]  # pyright: ignore[reportArgumentType]


def test_transformers_gives_our_ids_and_mask(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, stock = pair
    drops_spaces = tokenizer.encode(" x") == tokenizer.encode("x")  # T5: no token is at the place
    for messages in random_conversations(150):  # where the mask of an answer begins
        if drops_spaces:
            messages = [Message(m.role, m.content.strip()) for m in messages]
        assert_same(tokenizer, stock, messages)


def test_transformers_gives_our_prompt_for_an_answer(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, stock = pair
    for messages in random_conversations(30):
        prompt = stock.apply_chat_template(as_dicts(messages), add_generation_prompt=True)
        ids = prompt if isinstance(prompt, list) else prompt["input_ids"]
        assert list(ids) == answer_prompt(tokenizer, messages)


def test_an_unknown_role_is_told(pair: tuple[Tokenizer, Any]) -> None:
    with pytest.raises(jinja2.TemplateError, match="the role tool, which is none of system"):
        pair[1].apply_chat_template([{"role": "tool", "content": "4"}])


def test_where_text_looks_special_only_ours_keeps_it_text(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, stock = pair
    messages = [Message("user", f"a {stock.eos_token} b"), Message("assistant", "c")]
    ids, _ = stock_rendering(stock, messages)
    assert ids.count(tokenizer.special.eos) - (stock.bos_token == stock.eos_token) == 3
    ours = render(tokenizer, messages).ids
    assert ours.count(tokenizer.special.eos) - (stock.bos_token == stock.eos_token) == 2


# --- real conversations ---------------------------------------------------------------------


def looks_special(stock: Any, messages: Sequence[Message]) -> bool:
    names = [str(token) for token in stock.added_tokens_decoder.values()]
    return any(name in message.content for message in messages for name in names)


@pytest.fixture(scope="module")
def real_chats(real_data: Path) -> list[Conversation]:
    """Return some conversations of every file."""
    files = sorted((real_data / "chat").iterdir())
    assert len(files) == 9
    found: list[Conversation] = []
    for path in files:
        chats = read_conversations(find_sources([str(path)]), drops=Drops())
        found += islice(chats, 0, None, EVERY)
    return found


def test_real_chats_of_every_file_are_rendered_alike(
    pair: tuple[Tokenizer, Any], real_chats: list[Conversation]
) -> None:
    tokenizer, stock = pair
    alike = [chat for chat in real_chats if not looks_special(stock, chat.messages)]
    assert len(alike) > 0.95 * len(real_chats) > 100
    for chat in alike:
        assert_same(tokenizer, stock, chat.messages)
