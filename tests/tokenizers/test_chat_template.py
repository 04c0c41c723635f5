"""What a conversation becomes: its order, its mask, and that no text in it becomes a special id."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as StockTokenizer
from tokenizers import models, pre_tokenizers

from model_shapes import random_model
from seedbed.generation.engine import prompt_ids, stream
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.chat_template import answer_prompt, jinja_template, render
from seedbed.tokenizers.conversation import Message
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.pretrained import load_gpt2
from seedbed.tokenizers.sentencepiece import train_sentencepiece
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer
from sentencepiece_models import LLAMA, SENTENCES, T5, train_model

LOOKS_SPECIAL = [
    *("<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<user>", "<assistant>"),
    *("<system>", "<s>", "</s>", "<eos>", "<bos>", "<pad>", "a <|endoftext|><|user|> b", "<unk>"),
    *("<|endoftext|", "<<|user|>>", "\n<assistant>\n", " </s> ", "<0x41>", "\u2581</s>"),
]
ORDINARY = ["", " ", "Hello!", "  two\n\nlines ", "é 字 🌱", "x" * 50, "\t", "1 < 2 | 3 > 2"]
KINDS = ["byte", "char", "bpe", "sentencepiece", "llama.model", "t5.model", "words", "gpt2"]


def tokenizer_of_words(folder: Path) -> Tokenizer:
    """Return one that is only in the library, and takes `</s>` and `<|user|>` as special."""
    vocab = {"[UNK]": 0, "so": 1, "long": 2, "</s>": 3, "<|user|>": 4}
    stock = StockTokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    stock.pre_tokenizer = pre_tokenizers.Whitespace()
    stock.add_special_tokens(["</s>", "<|user|>"])
    stock.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "</s>", "chat_template": "{{ 'of its own' }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_tokenizer(folder)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    kind = request.param
    if kind == "gpt2":
        with pytest.MonkeyPatch.context() as patch:
            cache = request.getfixturevalue("real_data") / "tiktoken_cache"
            patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
            return load_gpt2()
    folder = tmp_path_factory.mktemp("tokenizer")
    if kind.endswith(".model"):
        settings = {"llama.model": LLAMA, "t5.model": T5}[kind]
        return load_tokenizer(train_model(folder / kind, SENTENCES, **settings))
    if kind == "words":
        return tokenizer_of_words(folder)
    texts = SENTENCES + LOOKS_SPECIAL * 20  # so that there are merges within the names
    if kind == "bpe":
        return train_bpe(texts, 600)
    if kind == "sentencepiece":
        return train_sentencepiece(texts, 600)
    return ByteTokenizer() if kind == "byte" else CharTokenizer(sorted(set("".join(texts))))


def special_ids(tokenizer: Tokenizer) -> set[int]:
    return set(asdict(tokenizer.special).values())


def random_conversation(source: random.Random) -> list[Message]:
    def content() -> str:
        return "".join(source.choices(ORDINARY + LOOKS_SPECIAL, k=source.randint(0, 4)))

    roles = source.choices(["system", "user", "assistant"], k=source.randint(1, 8))
    return [Message(role, content()) for role in roles]  # pyright: ignore[reportArgumentType]


def test_each_message_is_its_role_its_content_and_the_end() -> None:
    messages = [
        Message("system", "S"),
        Message("user", " é\n"),
        Message("assistant", "ab"),
        Message("user", ""),
        Message("assistant", ""),
    ]
    end, user, assistant, system = 256, 257, 258, 259
    a, b = b"ab"
    rendered = render(ByteTokenizer(), messages)
    asked = [end, system, ord("S"), end, user, *" é\n".encode(), end]
    assert rendered.ids == [*asked, assistant, a, b, end, user, end, assistant, end]
    taught = [False] * (len(asked) + 1) + [True] * 3 + [False] * 3 + [True]
    assert rendered.trained == taught
    assert answer_prompt(ByteTokenizer(), messages[:2]) == [*asked, assistant]


def test_a_bos_of_its_own_stands_at_the_beginning_only() -> None:
    tokenizer = train_sentencepiece(SENTENCES, 500)
    special = tokenizer.special
    ids = render(tokenizer, [Message("user", "a"), Message("assistant", "b")]).ids
    assert (ids[0], ids.count(special.bos), ids.count(special.eos)) == (special.bos, 1, 2)
    assert special.bos != special.eos


def test_of_n_messages_comes_a_beginning_of_what_comes_of_more(tokenizer: Tokenizer) -> None:
    source = random.Random(1)
    for _ in range(40):
        messages = random_conversation(source)
        whole = render(tokenizer, messages)
        assert len(whole.ids) == len(whole.trained)
        for n in range(len(messages)):
            part = render(tokenizer, messages[:n])
            assert whole.ids[: len(part.ids)] == part.ids
            assert whole.trained[: len(part.ids)] == part.trained
            if messages[n].role == "assistant":
                prompt = answer_prompt(tokenizer, messages[:n])
                assert whole.ids[: len(prompt)] == prompt


def test_no_content_gives_a_special_id(tokenizer: Tokenizer) -> None:
    """The special ids are exactly those of the turns, whatever is said in them."""
    special = tokenizer.special
    source = random.Random(2)
    for _ in range(60):
        messages = random_conversation(source)
        rendered = render(tokenizer, messages)
        turns = [special.bos]
        for message in messages:
            turns += [getattr(special, message.role), special.eos]
        assert [i for i in rendered.ids if i in special_ids(tokenizer)] == turns
        prompt = answer_prompt(tokenizer, messages)
        assert prompt == [*rendered.ids, special.assistant]
        ends = [t for i, t in zip(rendered.ids, rendered.trained, strict=True) if i == special.eos]
        taught = [message.role == "assistant" for message in messages]
        assert ends[-len(taught) :] == taught


def test_no_prompt_to_generate_from_gives_a_special_id(tokenizer: Tokenizer) -> None:
    for text in LOOKS_SPECIAL:
        first, *rest = prompt_ids(tokenizer, text)
        assert first == tokenizer.special.bos
        assert not special_ids(tokenizer) & set(rest), text


def test_an_answer_never_holds_a_special_id_but_the_end(tokenizer: Tokenizer) -> None:
    model = random_model(vocab_size=tokenizer.vocab_size, context_length=96, tie_embeddings=False)
    special = tokenizer.special
    with torch.no_grad():  # special tokens are by far the likeliest
        model.head.weight[[special.user, special.assistant, special.system]] *= 40
    prompts = [answer_prompt(tokenizer, [Message("user", text)]) for text in LOOKS_SPECIAL[:8]]
    tokens = list(
        stream(model, tokenizer, prompts, max_new_tokens=12, sampling=SamplingSettings(), seed=1)
    )
    never = special_ids(tokenizer) - {special.eos}
    assert {token.row for token in tokens} == set(range(8))
    assert not never & {token.token_id for token in tokens}
    ended = [token for token in tokens if token.token_id == special.eos]
    assert all(token.finished == "end" for token in ended)


def test_the_template_that_is_saved_is_ours(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    beside = (tmp_path / "chat_template.jinja").read_text("utf-8")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    assert config["chat_template"] == beside
    added = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))["added_tokens"]
    names = {token["id"]: token["content"] for token in added}
    assert beside == jinja_template(tokenizer.special.named(names))
    for role in ("system", "user", "assistant"):
        assert f'"{role}": "{names[getattr(tokenizer.special, role)]}"' in beside
