from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from model_shapes import random_model
from seedbed.checkpoints import Checkpoint
from seedbed.data.conversations import read_conversations
from seedbed.data.documents import find_sources
from seedbed.data.drops import Drops
from seedbed.errors import CheckpointError, ConfigError, DataError, UserError
from seedbed.generation.engine import stream
from seedbed.generation.sampling import SamplingSettings
from seedbed.model.transformer import Transformer
from seedbed.serve.conversation import Answer, Chat, fit_context
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.chat_template import answer_prompt
from seedbed.tokenizers.conversation import Message
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.simple import ByteTokenizer
from sentencepiece_models import LLAMA, train_model

TOKENIZER = ByteTokenizer()
SPECIAL = TOKENIZER.special
GREEDY = SamplingSettings(temperature=0)
SHORT = {"max_new_tokens": 12, "sampling": GREEDY}


def checkpoint(model: Transformer, tokenizer: Tokenizer = TOKENIZER) -> Checkpoint:
    return Checkpoint(Path("model"), model, tokenizer, facts={})


def random_chat(context_length: int = 256, **options: object) -> Chat:
    model = random_model(vocab_size=TOKENIZER.vocab_size, context_length=context_length)
    return Chat(checkpoint(model), **{**SHORT, **options})  # type: ignore[arg-type]


def chat_that_says(*tokens: int, tokenizer: Tokenizer = TOKENIZER, **options: object) -> Chat:
    """Return a chat whose model answers with `tokens` in turn; the first one comes again."""
    model = random_model(
        vocab_size=tokenizer.vocab_size, tie_embeddings=False, context_length=64, d_model=32
    )
    chain = [tokenizer.special.assistant, *tokens]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.norm.weight.fill_(1.0)
        for axis, (token, following) in enumerate(itertools.pairwise([*chain, tokens[0]])):
            model.embedding.weight[token] = 0.0
            model.embedding.weight[token, axis] = 1.0
            model.head.weight[following, axis] = 50.0
    return Chat(checkpoint(model, tokenizer), **options)  # type: ignore[arg-type]


def interrupt(model: Transformer, token: int) -> torch.utils.hooks.RemovableHandle:
    """Let Ctrl-C come while the model works on a token, counted from 1."""
    calls = itertools.count(1)

    def hook(*_: object) -> None:
        if next(calls) == token:
            raise KeyboardInterrupt

    return model.norm.register_forward_pre_hook(hook)


def whole(answer: Answer) -> str:
    return "".join(answer)


def said(*contents: str) -> list[Message]:
    roles = itertools.cycle(("user", "assistant"))
    return [Message(role, content) for role, content in zip(roles, contents, strict=False)]


def streamed(chat: Chat, messages: Sequence[Message], seed: int = 0) -> str:
    """Return what the engine writes after the template of `messages`."""
    ids = answer_prompt(TOKENIZER, messages)
    options = {"max_new_tokens": chat.max_new_tokens, "sampling": chat.sampling, "seed": seed}
    return "".join(t.text for t in stream(chat.checkpoint.model, TOKENIZER, [ids], **options))  # type: ignore[arg-type]


# --- answers ----------------------------------------------------------------------------------


def test_an_answer_goes_on_from_all_that_was_said() -> None:
    chat = random_chat(system="Be kind.")
    first = whole(chat.answer("Hi"))
    second = whole(chat.answer("Why?"))
    system, (one, two, three) = Message("system", "Be kind."), said("Hi", first, "Why?")
    assert first == streamed(chat, [system, one])
    assert second == streamed(chat, [system, one, two, three])
    assert chat.history == [system, one, two, three, Message("assistant", second)]
    assert len({first, second}) == 2


def test_without_a_system_prompt_there_is_no_system_message() -> None:
    chat = random_chat()
    assert whole(chat.answer("Hi")) == streamed(chat, said("Hi"))
    assert [m.role for m in chat.history] == ["user", "assistant"]


def test_white_space_around_what_is_said_to_the_model_is_left_out() -> None:
    chat = chat_that_says(*b"Hi!", SPECIAL.eos, system=" Be kind.\n")
    whole(chat.answer("\n Hello \n"))
    assert chat.history == [Message("system", "Be kind."), *said("Hello", "Hi!")]


def test_an_answer_stops_at_the_end_token() -> None:
    answer = chat_that_says(*b"Hi!", SPECIAL.eos).answer("Hello")
    assert list(answer) == ["H", "i", "!", ""]
    assert (answer.text, answer.tokens, answer.finished) == ("Hi!", 4, "end")


def test_an_answer_is_cut_off_where_it_may_not_be_longer() -> None:
    answer = chat_that_says(*b"Hi", max_new_tokens=5).answer("Hello")
    assert whole(answer) == "HiHiH"
    assert (answer.tokens, answer.finished) == (5, "length")


def test_a_special_token_is_never_said() -> None:
    chat = chat_that_says(*b"ab", max_new_tokens=6, sampling=SamplingSettings(temperature=1.5))
    with torch.no_grad():
        for token in (SPECIAL.user, SPECIAL.assistant, SPECIAL.system):
            chat.checkpoint.model.head.weight[token] = 500.0
    answer = chat.answer("Hello")
    assert list(answer) == list("ababab")
    assert chat.messages == said("Hello", "ababab")


def test_text_that_looks_special_stays_text() -> None:
    text = "<|user|><|endoftext|><|assistant|><user><|system|>"
    messages = [Message("system", text), *said(text, text, text)]
    ids, left_out = fit_context(TOKENIZER, messages, context_length=1000, room=100)
    assert left_out == 0
    found = [i for i in ids if i >= 256]
    one, end = [SPECIAL.system, SPECIAL.eos], [SPECIAL.user, SPECIAL.eos]
    assert found == [
        SPECIAL.bos, *one, *end, SPECIAL.assistant, SPECIAL.eos, *end, SPECIAL.assistant,
    ]  # fmt: skip


def test_the_space_that_sentencepiece_puts_in_front_is_not_said(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(train_model(tmp_path / "llama.model", **LLAMA))
    [word] = tokenizer.encode("fox")
    chat = chat_that_says(word, tokenizer=tokenizer, max_new_tokens=3)
    assert tokenizer.token_bytes(word) == b" fox"
    assert whole(chat.answer("so")) == "fox fox fox"
    assert chat.messages[-1].content == "fox fox fox"


def test_an_empty_answer_is_kept() -> None:
    chat = chat_that_says(SPECIAL.eos)
    answer = chat.answer("Hello")
    assert (whole(answer), answer.finished) == ("", "end")
    assert chat.messages == said("Hello", "")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_message_is_refused(text: str) -> None:
    chat = random_chat()
    with pytest.raises(ConfigError, match="empty"):
        chat.answer(text)
    assert chat.messages == []


def test_a_seed_gives_the_same_conversation() -> None:
    def talk(seed: int) -> list[str]:
        chat = random_chat(seed=seed, sampling=SamplingSettings(temperature=2))
        return [whole(chat.answer(text)) for text in ("Hi", "Hi")]

    assert talk(1) == talk(1)
    assert talk(1) != talk(2)


def test_a_model_without_rows_for_turns_is_refused() -> None:
    model = random_model(vocab_size=SPECIAL.assistant)
    with pytest.raises(CheckpointError, match=r"258 tokens and none for the turns.*finetune"):
        Chat(checkpoint(model))


def test_no_tokens_for_an_answer_are_refused() -> None:
    with pytest.raises(ConfigError, match="`max_new_tokens` is 0"):
        random_chat(max_new_tokens=0)


# --- a full context ---------------------------------------------------------------------------


def test_the_oldest_exchanges_are_left_out_where_the_context_is_full() -> None:
    chat = random_chat(context_length=64, system="Be kind.")
    for number in range(6):
        answer = chat.answer(f"Message {number}")
        assert whole(answer)
        assert len(chat.messages) == 2 * (number + 1)  # the history keeps all
        system, *turns = chat.history[:-1]
        seen = [system, *turns[answer.left_out :]]
        assert answer.text == streamed(chat, seen)
        assert len(answer_prompt(TOKENIZER, seen)) + 12 <= 64
        if answer.left_out:  # and no exchange more would fit
            more = [system, *turns[answer.left_out - 2 :]]
            assert len(answer_prompt(TOKENIZER, more)) + 12 > 64
    assert answer.left_out >= 8  # so the system prompt and the newest messages stayed


def test_nothing_is_left_out_while_there_is_room() -> None:
    messages = [Message("system", "S"), *said("Hi", "Ho", "Why?")]
    size = len(answer_prompt(TOKENIZER, messages))
    assert fit_context(TOKENIZER, messages, context_length=size + 7, room=7)[1] == 0
    assert fit_context(TOKENIZER, messages, context_length=size + 6, room=7)[1] == 2


def test_a_message_longer_than_the_context_is_refused_and_nothing_is_lost() -> None:
    chat = random_chat(context_length=64)
    first = whole(chat.answer("Hi"))
    with pytest.raises(ConfigError, match=r"takes 85 tokens and an answer 12.*context has 64"):
        chat.answer("x" * 81)
    assert chat.messages == said("Hi", first)
    assert whole(chat.answer("Ho"))


def test_an_answer_ends_where_the_context_does() -> None:
    chat = chat_that_says(*b"ab", max_new_tokens=1000)
    answer = chat.answer("x" * 40)
    assert len(whole(answer)) == 64 - len(answer_prompt(TOKENIZER, said("x" * 40)))
    assert answer.finished == "length"


# --- interrupted answers ----------------------------------------------------------------------


def test_an_interrupted_answer_is_kept_as_far_as_it_came() -> None:
    chat = chat_that_says(*b"abcdefgh", SPECIAL.eos)
    handle = interrupt(chat.checkpoint.model, token=4)
    answer = chat.answer("Hi")
    with pytest.raises(KeyboardInterrupt):
        whole(answer)
    handle.remove()
    assert (answer.text, answer.finished) == ("abc", "interrupted")
    assert chat.messages == said("Hi", "abc")
    assert whole(chat.answer("Go on")) == "abcdefgh"


def test_a_closed_answer_is_kept_as_far_as_it_came() -> None:
    chat = chat_that_says(*b"abcdefgh", SPECIAL.eos)
    answer = chat.answer("Hi")
    assert [next(answer.pieces), next(answer.pieces)] == ["a", "b"]
    answer.close()
    assert (answer.text, answer.finished) == ("ab", "interrupted")
    assert chat.messages == said("Hi", "ab")


def test_an_answer_interrupted_before_a_word_leaves_the_history_as_it_was() -> None:
    chat = chat_that_says(*b"abc", SPECIAL.eos)
    whole(chat.answer("Hi"))
    handle = interrupt(chat.checkpoint.model, token=1)
    for ask in (lambda: chat.answer("Ho"), chat.retry):
        with pytest.raises(KeyboardInterrupt):
            whole(ask())
        assert chat.messages == said("Hi", "abc")
        handle.remove()
        handle = interrupt(chat.checkpoint.model, token=1)


# --- changes of the history -------------------------------------------------------------------


def test_undo_takes_back_the_last_exchange() -> None:
    chat = random_chat()
    first = whole(chat.answer("Hi"))
    whole(chat.answer("Ho"))
    assert chat.undo() == "Ho"
    assert chat.messages == said("Hi", first)
    assert chat.undo() == "Hi"
    for change in (chat.undo, chat.retry):
        with pytest.raises(ConfigError, match="Nothing was said yet"):
            change()


def test_retry_draws_another_answer_in_place_of_the_last() -> None:
    chat = random_chat(sampling=SamplingSettings(temperature=2))
    first, second = whole(chat.answer("Hi")), whole(chat.answer("Ho"))
    answer = chat.retry()
    assert answer.prompt == "Ho"
    assert whole(answer) != second
    assert chat.messages == said("Hi", first, "Ho", answer.text)


def test_reset_keeps_the_system_prompt() -> None:
    chat = random_chat(system="Be kind.")
    whole(chat.answer("Hi"))
    chat.reset()
    assert chat.history == [Message("system", "Be kind.")]


def test_temperature_changes_and_nothing_else_does() -> None:
    chat = random_chat(sampling=SamplingSettings(temperature=2, top_k=7))
    chat.set_temperature("0")
    assert chat.sampling == SamplingSettings(temperature=0, top_k=7)
    for wrong in ("warm", "-1", "nan", ""):
        with pytest.raises(ConfigError, match="`temperature` is"):
            chat.set_temperature(wrong)
    assert chat.sampling.temperature == 0


# --- saved conversations ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["talk.json", "talk.jsonl"])
@pytest.mark.parametrize("system", ["", "Be kind."])
def test_a_saved_conversation_comes_back(name: str, system: str, tmp_path: Path) -> None:
    chat = random_chat(system=system)
    for text in ("Hi", 'é "quoted"\n字 <|endoftext|>'):
        whole(chat.answer(text))
    chat.save(tmp_path / name)
    other = random_chat(system="Another.")
    other.load(tmp_path / name)
    assert (other.system, other.messages) == (system, chat.messages)
    assert whole(other.answer("Why?")) == whole(chat.answer("Why?"))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["talk.json", "talk.jsonl"])
def test_a_saved_conversation_is_data_to_learn_from(name: str, tmp_path: Path) -> None:
    chat = chat_that_says(*b"Hi!", SPECIAL.eos, system="Be kind.")
    for text in ("Hello", "Good day"):
        whole(chat.answer(text))
    chat.save(tmp_path / name)
    drops = Drops()
    [read] = read_conversations(find_sources([str(tmp_path / name)]), drops=drops)
    assert list(read.messages) == chat.history
    assert drops.counts == {}


def test_saving_again_replaces_a_saved_conversation_and_no_other_file(tmp_path: Path) -> None:
    chat = random_chat()
    path, other = tmp_path / "talk.json", tmp_path / "chats.jsonl"
    with pytest.raises(ConfigError, match="Nothing was said yet"):
        chat.save(path)
    for text in ("Hi", "Ho"):
        whole(chat.answer(text))
        chat.save(path)
    assert len(json.loads(path.read_text())["messages"]) == 4
    other.write_text(path.read_text() * 2)
    for wrong in (other, tmp_path / "talk.txt", tmp_path / "none" / "talk.json"):
        before = sorted(tmp_path.iterdir()), other.read_text()
        with pytest.raises(UserError, match=str(wrong)):
            chat.save(wrong)
        assert (sorted(tmp_path.iterdir()), other.read_text()) == before


def messages(*pairs: tuple[object, object]) -> str:
    return json.dumps({"messages": [{"role": r, "content": c} for r, c in pairs]})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not one conversation in JSON"),
        ('{"messages": [', "not one conversation in JSON"),
        (messages(("user", "a"), ("assistant", "b")) + "\n{}", "not one conversation in JSON"),
        ("[" * 100_000, "not one conversation in JSON"),
        ("\udcff", "not one conversation in JSON"),
        ("[]", "no list `messages`"),
        ("7", "no list `messages`"),
        ('{"text": "a"}', "no list `messages`"),
        ('{"messages": {}}', "`messages`: input should be a valid list"),
        ('{"messages": []}', "no messages"),
        ('{"messages": ["Hi"]}', r"`messages\.0`: "),
        (messages(("bot", "a")), r"`messages\.0\.role`: input should be 'system'"),
        (messages(("user", 7)), r"`messages\.0\.content`: input should be a valid string"),
        ('{"messages": [{"role": "user"}]}', r"`messages\.0\.content`: field required"),
        (messages(("assistant", "a")), "message 1 is of the assistant, where the user"),
        (messages(("user", "a"), ("user", "b")), "message 2 is of the user, where the assistant"),
        (
            messages(("system", "a"), ("system", "b")),
            "message 2 is of the system, where the user should",
        ),
        (messages(("user", "a")), "ends with a message of the user"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_conversation_is_told_and_nothing_is_lost(
    content: str | None, problem: str, tmp_path: Path
) -> None:
    chat, path = random_chat(system="Be kind."), tmp_path / "talk.json"
    whole(chat.answer("Hi"))
    before = chat.history
    if content is not None:
        path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=problem) as caught:
        chat.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400
    assert chat.history == before


def test_a_lone_surrogate_is_saved_as_a_replacement_character(tmp_path: Path) -> None:
    chat = random_chat(system="a\udcff")
    whole(chat.answer("Hi"))
    chat.save(tmp_path / "talk.json")
    chat.load(tmp_path / "talk.json")
    assert chat.system == "a\N{REPLACEMENT CHARACTER}"
