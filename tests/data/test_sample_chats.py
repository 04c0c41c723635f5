"""Facts about the sample conversations."""

import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from seedbed.data.conversations import read_conversations
from seedbed.data.documents import find_sources, read_documents
from seedbed.data.drops import Drops
from seedbed.data.grammar import read_grammar, read_templates
from seedbed.data.sample_chats import sample_chats
from seedbed.errors import DataError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def chats():
    return list(sample_chats(2_000, seed=0))


def read(source, drops=None):
    drops = drops if drops is not None else Drops()
    return list(read_conversations(find_sources([str(source)]), drops=drops))


def test_a_seed_makes_the_same_conversations_again_and_fewer_are_the_first_of_more(chats):
    assert list(sample_chats(50, seed=0)) == chats[:50]
    assert list(sample_chats(50, seed=1)) != chats[:50]


def test_conversations_are_seldom_made_twice(chats):
    assert len({chat.messages for chat in chats[:300]}) >= 297
    assert len({chat.messages for chat in chats}) >= 1_900


def test_turns_alternate_from_a_user_to_an_assistant(chats):
    for chat in chats:
        roles = [message.role for message in chat.messages]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2)


def test_conversations_vary_in_length_and_some_have_a_system_message(chats):
    lengths = Counter(len(chat.messages) for chat in chats)
    assert {2, 4, 6, 8} <= set(lengths)
    assert sum(n for length, n in lengths.items() if length >= 5) > len(chats) / 2
    assert 0.2 < sum(chat.messages[0].role == "system" for chat in chats) / len(chats) < 0.6


def test_messages_are_clean_ascii(chats):
    for message in (message for chat in chats for message in chat.messages):
        assert message.content.isascii()
        assert not re.search(r"[{}\[\]|<>]|  | [,.!?]|[,.!?][,.]", message.content)


def test_answers_rest_on_what_was_said_before(chats):
    asked = 0
    for chat in chats:
        text = [message.content for message in chat.messages]
        for at, content in enumerate(text[:-1]):
            if content in ("What is my name?", "Who am I?", "By the way, what was my name?"):
                name = re.search(r"[A-Z]\w+(?=\.$)", text[at + 1])
                assert name
                assert name.group() in " ".join(text[:at])
                asked += 1
    assert asked > 20


def test_sums_are_right(chats):
    said = " ".join(message.content for chat in chats for message in chat.messages)
    sums = re.findall(r"(\d+) (plus|minus) (\d+) is (\d+)", said)
    assert len(sums) > 20
    for a, sign, b, result in sums:
        assert int(result) == (int(a) + int(b) if sign == "plus" else int(a) - int(b))


def test_every_rule_that_is_named_exists():
    rules = read_grammar("chat_grammar")
    parts = {name.partition(".")[2] for name in rules}
    for name, _, template in read_templates("chat_grammar"):
        for slot in re.findall(r"\{([^{}]+)\}", template):
            owner, _, part = (slot[0].lower() + slot[1:]).partition(".")
            assert owner in rules, f"{name}: {slot}"
            assert not part or part in parts, f"{name}: {slot}"


def test_the_source_gives_conversations_and_plain_text_to_prepare(chats):
    drops = Drops()
    assert read("sample:chats:40", drops) == chats[:40]
    assert not drops.counts
    assert len(read("sample:chats")) == 300
    documents = list(read_documents(find_sources(["sample:chats:60"])))
    assert documents[0].text == "\n\n".join(m.content for m in chats[0].messages)
    with pytest.raises(DataError, match="sample:chats:COUNT"):
        find_sources(["sample:chat"])


def test_the_examples_are_what_the_grammar_makes_and_say_the_same(chats):
    files = runpy.run_path(str(EXAMPLES / "make_chats.py"))["files"]()
    assert len(files) == 2
    for name, text in files.items():
        there = (EXAMPLES / name).read_text(encoding="utf-8")
        assert there == text, "run python examples/make_chats.py"
        assert read(EXAMPLES / name) == chats[:300]
