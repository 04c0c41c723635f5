from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from model_shapes import SHAPES, random_model
from seedbed.errors import ConfigError
from seedbed.generation.engine import generate, prompt_ids, stream
from seedbed.generation.sampling import SamplingSettings
from seedbed.model.attention import KVCache
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.base import SpecialTokens
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer

GREEDY = SamplingSettings(temperature=0)
TOKENIZER = ByteTokenizer()


def byte_model(name: str = "qwen3", context_length: int = 64) -> Transformer:
    return random_model(name, vocab_size=TOKENIZER.vocab_size, context_length=context_length)


def only(model: Transformer, *favourites: int) -> Transformer:
    """Return the model made to write `favourites`, in turn, for ever."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.norm.weight.fill_(1.0)
        width = model.config.d_model
        for i, token in enumerate(favourites):
            # The state after a token is its own axis; the head reads which token follows.
            model.embedding.weight[token, i % width] = 1.0
            following = favourites[(i + 1) % len(favourites)]
            model.head.weight[following, i % width] += 50.0
    return model


class Spelling:
    """A tokenizer whose tokens are the given strings, and an end."""

    kind = "spelling"

    def __init__(self, *tokens: str) -> None:
        self._bytes = [token.encode() for token in tokens]
        self.vocab_size = len(tokens) + 1
        self.special = SpecialTokens(*[len(tokens)] * 5)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode(errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id] if token_id < len(self._bytes) else b""


def texts(model: Transformer, tokenizer: ByteTokenizer, *prompts: str, **options: object) -> list:
    return [g.text for g in generate(model, tokenizer, prompts, **options)]  # type: ignore[arg-type]


def in_turn(*tokens: str) -> tuple[Transformer, Spelling, list[list[int]]]:
    """Return a model that writes `tokens` in turn, its tokenizer, and a prompt of the last one."""
    tokenizer = Spelling(*tokens)
    model = random_model(vocab_size=tokenizer.vocab_size, tie_embeddings=False)
    return only(model, *range(len(tokens))), tokenizer, [[len(tokens) - 1]]


def pieces(
    setup: tuple[Transformer, Spelling, list[list[int]]], *stop: str, tokens: int = 20
) -> tuple[list[str], str | None]:
    model, tokenizer, prompt = setup
    made = list(
        stream(model, tokenizer, prompt, max_new_tokens=tokens, sampling=GREEDY, stop=stop)  # type: ignore[arg-type]
    )
    return [t.text for t in made], made[-1].finished


def slowly(model: Transformer, prompt: list[int], count: int) -> Iterator[int]:
    """Yield greedy tokens without a cache."""
    never = [i for i in range(256, TOKENIZER.vocab_size) if i != TOKENIZER.special.eos]
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            logits = model(torch.tensor([ids]))[0, -1]
        logits[never] = -torch.inf
        ids.append(int(logits.argmax()))
        yield ids[-1]


@pytest.mark.parametrize("name", SHAPES)
def test_greedy_with_the_cache_equals_greedy_without(name: str) -> None:
    model, prompt = byte_model(name), prompt_ids(TOKENIZER, "Once")
    cached = [
        t.token_id for t in stream(model, TOKENIZER, [prompt], max_new_tokens=40, sampling=GREEDY)
    ]
    assert cached == list(slowly(model, prompt, len(cached)))
    assert len(set(cached)) > 2  # it says more than one thing


PROMPTS = ("a", "Once upon a time", "", "é" * 11, "x" * 40, "y" * 300)


@pytest.mark.parametrize("name", ["qwen3", "llama-gqa", "gpt2", "gpt2-sinusoidal"])
@pytest.mark.parametrize("max_new_tokens", [12, 150])  # 150: every context fills, several times
def test_rows_of_a_batch_equal_rows_alone(name: str, max_new_tokens: int) -> None:
    model = byte_model(name)
    options = {"max_new_tokens": max_new_tokens, "sampling": GREEDY}
    together = generate(model, TOKENIZER, PROMPTS, **options)  # type: ignore[arg-type]
    alone = [generate(model, TOKENIZER, [p], **options)[0] for p in PROMPTS]  # type: ignore[arg-type]
    assert together == alone


def test_a_finished_row_does_not_disturb_the_others() -> None:
    model = byte_model()
    alone = texts(model, TOKENIZER, "Once", max_new_tokens=100, sampling=GREEDY)
    first = texts(model, TOKENIZER, "stop", max_new_tokens=100, sampling=GREEDY)[0]
    both = generate(
        model, TOKENIZER, ["stop", "Once"], max_new_tokens=100, sampling=GREEDY, stop=[first[3:9]]
    )
    assert both[0].finished == "stop"
    assert both[0].text == first[:3]
    assert [both[1].text] == alone


def test_a_seed_gives_the_same_text() -> None:
    model = byte_model()
    first, again, other = (
        texts(model, TOKENIZER, "a", "b", samples=3, max_new_tokens=30, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(set(first)) == 6  # samples of one prompt differ


@pytest.mark.parametrize("length", [63, 64, 65, 66, 500])
def test_a_prompt_as_long_as_the_context_or_longer_goes_on(length: int) -> None:
    made = generate(
        byte_model(), TOKENIZER, ["x" * (length - 1)], max_new_tokens=7, sampling=GREEDY
    )
    assert made[0].tokens == 7
    assert made[0].finished == "length"


def test_a_long_prompt_is_read_from_its_end() -> None:
    model = byte_model()
    same_end = ["a" * 200 + "and so the fox" * 5, "b" * 100 + "and so the fox" * 5]
    first, second = texts(model, TOKENIZER, *same_end, max_new_tokens=20, sampling=GREEDY)
    assert first == second


def test_generation_goes_on_where_the_context_ends() -> None:
    model = byte_model(context_length=16)
    options = {"max_new_tokens": 100, "sampling": GREEDY}
    [made] = generate(model, TOKENIZER, ["abc"], **options)  # type: ignore[arg-type]
    assert made.tokens == 100
    # After 4 + 13 tokens the newest 8 are read again: from there on, as if they were the prompt.
    ids = [*prompt_ids(TOKENIZER, "abc")]
    ids += [t.token_id for t in stream(model, TOKENIZER, [ids], **options)]  # type: ignore[arg-type]
    again = stream(model, TOKENIZER, [ids[9:17]], max_new_tokens=9, sampling=GREEDY)
    assert [t.token_id for t in again] == ids[17:26]


@pytest.mark.parametrize("count", [1, 2, 65])
def test_max_new_tokens_is_respected(count: int) -> None:
    made = generate(byte_model(), TOKENIZER, ["a", "bcd"], max_new_tokens=count, sampling=GREEDY)
    assert [g.tokens for g in made] == [count, count]
    assert {g.finished for g in made} == {"length"}


def test_many_texts_are_written_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, shown = byte_model(), list[tuple[int, int]]()
    options = {"max_new_tokens": 8, "sampling": SamplingSettings(temperature=2.0)}
    first = texts(model, TOKENIZER, "a", "b", seed=3, **options)
    last = texts(model, TOKENIZER, "c", seed=4, **options)
    monkeypatch.setattr("seedbed.generation.engine._MOST_ROWS", 2)
    progress = lambda *facts: shown.append(facts)  # noqa: E731
    assert texts(model, TOKENIZER, *"abc", seed=3, progress=progress, **options) == first + last
    assert shown == [(0, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("max_new_tokens", [1, 8, 100])
def test_the_cache_has_room_for_what_is_asked_and_no_more(
    max_new_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sizes = byte_model(), list[int]()

    class Measured(KVCache):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            sizes.append(self.keys[0].shape[2])

    monkeypatch.setattr("seedbed.generation.engine.KVCache", Measured)
    texts(model, TOKENIZER, "abc", max_new_tokens=max_new_tokens, sampling=GREEDY)
    assert sizes[0] == min(64, 4 + max_new_tokens)


def test_the_document_end_ends_a_text() -> None:
    model = random_model(vocab_size=TOKENIZER.vocab_size, tie_embeddings=False)
    model = only(model, ord("o"), ord("k"), TOKENIZER.special.eos)
    [made] = generate(model, TOKENIZER, [""], max_new_tokens=9, sampling=GREEDY)
    assert (made.text, made.tokens, made.finished) == ("ok", 3, "end")


def test_an_empty_prompt_begins_a_document() -> None:
    model = byte_model()
    assert prompt_ids(TOKENIZER, "") == [TOKENIZER.special.bos]
    ids = [t.token_id for t in stream(model, TOKENIZER, [[]], max_new_tokens=9, sampling=GREEDY)]
    assert ids == list(slowly(model, [TOKENIZER.special.bos], 9))


def test_no_prompts_give_no_text() -> None:
    assert generate(byte_model(), TOKENIZER, []) == []


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), CharTokenizer("abc")])
def test_only_text_and_the_end_are_drawn(tokenizer: ByteTokenizer | CharTokenizer) -> None:
    padded = tokenizer.vocab_size + 8  # a vocabulary may be padded to a round number
    model = random_model(vocab_size=padded)
    with torch.no_grad():
        model.embedding.weight.mul_(0.01)
    drawn = {
        token.token_id
        for token in stream(
            model,
            tokenizer,
            [[tokenizer.special.bos]] * 64,
            max_new_tokens=60,
            sampling=SamplingSettings(temperature=1.0, top_k=0),
        )
    }
    silent = {i for i in drawn if i >= tokenizer.vocab_size or not tokenizer.token_bytes(i)}
    assert silent == {tokenizer.special.eos}
    assert len(drawn) > 3


# --- streaming and stop texts


def test_pieces_never_break_a_character() -> None:
    setup = in_turn("naïve ", "🌱", "é", " 👩‍🚀")
    emoji = "🌱é naïve 👩‍🚀 "
    encoded = TOKENIZER.encode(emoji)
    model = random_model(
        vocab_size=TOKENIZER.vocab_size, d_model=64, head_dim=16, tie_embeddings=False
    )
    order = list(dict.fromkeys(encoded))  # bytes repeat: let each be followed by the next new one
    made = list(
        stream(
            only(model, *order),
            TOKENIZER,
            [[order[-1]]],
            max_new_tokens=3 * len(order),
            sampling=GREEDY,
        )
    )
    data = bytes(t.token_id for t in made)
    assert "".join(t.text for t in made) == data.decode(errors="replace")
    whole, _ = pieces(setup)
    assert "".join(whole) == "naïve 🌱é 👩‍🚀" * 5


def test_an_emoji_of_four_bytes_comes_in_one_piece() -> None:
    model = random_model(vocab_size=TOKENIZER.vocab_size, tie_embeddings=False)
    seed = "🌱".encode()
    made = list(
        stream(only(model, *seed), TOKENIZER, [[seed[-1]]], max_new_tokens=10, sampling=GREEDY)
    )
    assert [t.text for t in made] == ["", "", "", "🌱"] * 2 + ["", "\N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [
        (("four",), "one two three "),
        (("e f",), "one two thre"),  # straddles two tokens
        (("o three four o",), "one tw"),  # straddles four
        (("three", "two"), "one "),  # the earliest
        (("hre", "three"), "one two "),
        (("one",), ""),
    ],
)
def test_text_ends_before_a_stop_text(stop: tuple[str, ...], wanted: str) -> None:
    texts, finished = pieces(in_turn("one ", "two ", "three ", "four "), *stop)
    assert "".join(texts) == wanted
    assert finished == "stop"


def test_what_only_begins_like_a_stop_text_is_kept() -> None:
    texts, finished = pieces(in_turn("one ", "two "), "one tXo", "two one two X", tokens=5)
    assert "".join(texts) == "one two one two one "
    assert finished == "length"


def test_text_is_held_back_no_longer_than_needed() -> None:
    texts, _ = pieces(in_turn("ab", "cd", "ef"), "cdX", tokens=4)
    assert texts == ["ab", "", "cdef", "ab"]


def test_a_stop_text_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="`stop`"):
        texts(byte_model(), TOKENIZER, "a", stop=[""])


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"max_new_tokens": 0}, {"max_new_tokens": -1}])
def test_nothing_to_do_is_refused(wrong: dict[str, int]) -> None:
    [name] = wrong
    with pytest.raises(ConfigError, match=name):
        texts(byte_model(), TOKENIZER, "a", **wrong)


def test_streaming_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_new_tokens"):
        stream(byte_model(), TOKENIZER, [[1]], max_new_tokens=0)
