"""Sources to conversations and preferences: formats told apart by content, rules for turns."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from seedbed.data import conversations as conversations_module
from seedbed.data.conversations import Preference, read_conversations, read_preferences
from seedbed.data.documents import find_sources
from seedbed.data.drops import Drops
from seedbed.errors import DataError
from seedbed.tokenizers.conversation import Conversation, Message

Read = Callable[..., list[str]]

HI = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
U, A, S = "user", "assistant", "system"


def said(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def short(conversation: Conversation) -> str:
    return " / ".join(f"{m.role[0]}: {m.content}" for m in conversation.messages)


def found(source: Path | str, drops: Drops | None = None) -> list[str]:
    drops = drops if drops is not None else Drops()
    return [short(c) for c in read_conversations(find_sources([str(source)]), drops=drops)]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads conversations from records written as JSON lines."""

    def read(*records: object, drops: Drops | None = None) -> list[str]:
        path = tmp_path / "chats.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return found(path, drops)

    return read


def told(source: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        found(source)
    return str(caught.value)


# --- formats --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        HI,
        HI["messages"],
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
        {"conversation": [{"from": "user", "value": "Hi"}, {"from": "chatgpt", "value": "Hello."}]},
        {"conversation": [{"role": "User", "content": "Hi"}, {"role": "bot", "content": "Hello."}]},
        {"instruction": "Hi", "input": "", "output": "Hello."},
        {"instruction": "", "input": "Hi", "output": "Hello."},
        {"prompt": "Hi", "completion": "Hello."},
        {"prompt": "Hi", "response": "Hello."},
        {"question": "Hi", "answer": "Hello."},
        {"prompt": HI["messages"][:1], "completion": HI["messages"][1:]},
        {"instruction": "Hi", "instances": [{"input": "", "output": "Hello."}]},
        {"text": "<user> Hi\n<assistant> Hello."},
        {"prompt": None, "messages": None, "question": "Hi", "answer": "Hello."},
        {"system": "", "prompt": "Hi", "completion": "Hello."},
        said((U, " Hi \n"), (A, "\tHello.\n")),
        {"messages": [{"role": U, "content": [{"type": "text", "text": "Hi"}]}, HI["messages"][1]]},
    ],
)
def test_every_format_gives_the_same_conversation(record: object, read: Read) -> None:
    assert read(record) == ["u: Hi / a: Hello."]


def test_formats_may_be_mixed_in_one_file(read: Read) -> None:
    assert read(HI, {"prompt": "Q", "completion": "A"}, "<user> x\n<assistant> y") == [
        "u: Hi / a: Hello.",
        "u: Q / a: A",
        "u: x / a: y",
    ]


def test_an_input_follows_its_instruction_after_a_blank_line(read: Read) -> None:
    [chat] = read({"instruction": "Add.", "input": "1 and 2", "output": "3", "system": "Be brief."})
    assert chat == "s: Be brief. / u: Add.\n\n1 and 2 / a: 3"


def test_each_instance_of_a_task_is_a_conversation(read: Read) -> None:
    drops = Drops()
    instances = [{"input": n, "output": f"{n}!"} for n in ("a", "b")]
    task = {"instruction": "Shout.", "instances": [*instances, {"input": "c", "output": " "}]}
    assert read(task, drops=drops) == ["u: Shout.\n\na / a: a!", "u: Shout.\n\nb / a: b!"]
    assert drops.counts == {"empty turn left out": 1, "no assistant turn after a user's": 1}


def test_parts_of_text_stand_on_lines_of_their_own(read: Read) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two", "image_url": None}]
    record = {"messages": [{"role": U, "content": parts}, HI["messages"][1]]}
    assert read(record) == ["u: one\ntwo / a: Hello."]


TAGGED = (
    "<system> Be kind.\n<user> Say\n\n<b>two</b> lines, a <user> and <userx>\n"
    "<assistant> one\ntwo\n<|endoftext|>\n"
    "<|user|>\nHi\n<|assistant|> Hello.\n<|endoftext|>\n\n"
)


def test_tagged_messages_hold_line_breaks_and_tags_within_lines(tmp_path: Path) -> None:
    path = tmp_path / "chats.txt"
    for line_end in ("\n", "\r\n"):
        path.write_bytes(TAGGED.replace("\n", line_end).encode())
        assert [chat.replace("\r", "") for chat in found(path)] == [
            "s: Be kind. / u: Say\n\n<b>two</b> lines, a <user> and <userx> / a: one\ntwo",
            "u: Hi / a: Hello.",
        ]


def test_every_kind_of_file_and_compression_is_read(tmp_path: Path) -> None:
    wanted = [f"s: Be brief. / u: Question {n}? / a: 答え {n}\n." for n in range(60)]
    turns = [((S, "Be brief."), (U, f"Question {n}?"), (A, f"答え {n}\n.")) for n in range(60)]
    records = [said(*each) for each in turns]
    tagged = "".join(
        f"<system> Be brief.\n<user> Question {n}?\n<assistant> 答え {n}\n.\n<|endoftext|>\n"
        for n in range(60)
    )
    lines = "".join(json.dumps(record) + "\n" for record in records)
    rows = [{"messages": r["messages"], "id": n, "more": b"\xff"} for n, r in enumerate(records)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=7)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.json").write_text(json.dumps(records, ensure_ascii=False, indent=1))
    (tmp_path / "a.txt").write_text(tagged)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(tagged.encode()))
    for path in tmp_path.iterdir():
        assert found(path) == wanted, path.name
    assert found(tmp_path) == wanted * 6


def test_tables_hold_questions_and_answers_or_messages_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,question,answer\n1,Hi,Hello.\n2,"Two\nlines","Yes, two"\n')
    assert found(path) == ["u: Hi / a: Hello.", "u: Two\nlines / a: Yes, two"]
    cell = json.dumps(HI["messages"]).replace('"', '""')
    path.write_text(f'messages\n"{cell}"\n')
    assert found(path) == ["u: Hi / a: Hello."]


def test_a_dataset_of_the_hub_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set" / "data").mkdir(parents=True)
    table = pa.Table.from_pylist([{"id": n, **HI} for n in range(3)])
    pq.write_table(table, tmp_path / "set" / "data" / "train-00000.parquet")
    assert found(f"hf:{tmp_path / 'set'}") == ["u: Hi / a: Hello."] * 3


def test_the_place_of_a_conversation_is_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "chats.txt"
    path.write_text(TAGGED)
    places = [c.place for c in read_conversations(find_sources([str(path)]), drops=Drops())]
    assert places == [f"{path} line 1", f"{path} line 8"]


# --- rules for turns ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "kept", "counted"),
    [
        ([(U, "a"), (U, "b"), (A, "c"), (A, "d")], "u: a\n\nb / a: c\n\nd", None),
        ([(S, "x"), (S, "y"), (U, "a"), (A, "b")], "s: x\n\ny / u: a / a: b", None),
        ([(S, " "), (U, "a"), (A, "b")], "u: a / a: b", "empty turn left out"),
        ([(U, "a"), (A, ""), (U, "b"), (A, "c")], "u: a\n\nb / a: c", "empty turn left out"),
        (
            [(S, "x"), (A, "Hi"), (U, "a"), (A, "b")],
            "s: x / u: a / a: b",
            "assistant turn before the first user turn left out",
        ),
        (
            [(U, "a"), (A, "b"), (U, "c"), (U, "d")],
            "u: a / a: b",
            "last turn without an answer left out",
        ),
        ([(U, "a"), (S, "x"), (A, "b")], None, "system message that is not first"),
        ([(U, "a")], None, "no assistant turn after a user's"),
        ([(S, "x"), (A, "a")], None, "no assistant turn after a user's"),
        ([], None, "no assistant turn after a user's"),
        ([(U, "a"), ("tool", "b"), (A, "c")], None, "unknown role"),
        ([(U, "a"), ("function", "b"), (A, "c")], None, "unknown role"),
        ([(U, "caf\udce9"), (A, "c")], None, "broken UTF-8"),
    ],
)
def test_a_rule_is_stated_for_each_odd_order_of_turns(
    turns: list[tuple[str, str]], kept: str | None, counted: str | None, read: Read
) -> None:
    drops = Drops()
    chats = read(HI, HI, said(*turns), drops=drops)
    assert chats[2:] == ([kept] if kept else [])
    if counted:
        assert drops.counts[counted] == 1
        assert "chats.jsonl line 3" in drops.first[counted]
    else:
        assert not drops.counts


@pytest.mark.parametrize("content", [None, 7, {"text": "a"}, [{"type": "image_url"}], [1]])
def test_content_that_is_not_text_drops_the_record(content: object, read: Read) -> None:
    drops = Drops()
    record = {"messages": [{"role": U, "content": content}, HI["messages"][1]]}
    assert len(read(HI, record, drops=drops)) == 1
    assert drops.counts == {"content that is not text": 1}


def test_a_malformed_record_is_counted_with_its_line_and_reason(tmp_path: Path) -> None:
    path, drops = tmp_path / "a.jsonl", Drops()
    good = json.dumps(HI)
    odd = ['{"messages": [', '{"messages": 7}', '{"messages": ["Hi"]}', '{"reply": "a", "id": 1}']
    path.write_text("\n".join([good] * 5 + odd + ["7"]))
    assert len(found(path, drops)) == 5
    assert drops.counts == {"malformed JSON": 1, "no conversation": 4}
    assert drops.first["malformed JSON"].startswith(f"{path} line 6: malformed JSON")
    seen = f"{path} line 7: a number instead of a list of messages"
    assert drops.first["no conversation"] == seen


# --- refusals -------------------------------------------------------------------------------


def test_a_file_of_other_records_is_refused_with_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "x", "body": "y"}\n' * 30)
    message = told(path)
    assert f"{path} line 1: no conversation; its fields are `body`, `title`" in message
    assert "`messages` or `conversations`" in message
    assert "10 of the first 10 records of this file cannot be used" in message


def test_plain_text_is_refused_with_what_tags_look_like(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Once upon a time.\n<user> Hi\n<assistant> Hello.\n")
    assert 'begins with "Once upon a time.' in told(path)
    assert "<user> or <assistant>" in told(path)


def test_text_without_an_end_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations_module, "_LONGEST", 1000)
    path = tmp_path / "a.txt"
    path.write_text("<user> Hi\n<assistant> Hello.\n" * 60)
    assert "<|endoftext|>" in told(path)
    path.write_text("<user> Hi\n<assistant> Hello.\n<|endoftext|>\n" * 60)
    assert len(found(path)) == 60


def test_preferences_are_not_read_as_conversations_nor_the_reverse(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "Hi", "chosen": "a", "rejected": "b"}))
    assert "--method dpo" in told(path)
    path.write_text(json.dumps(HI))
    with pytest.raises(DataError, match="`chosen` and `rejected`"):
        preferences(path)


# --- preferences ----------------------------------------------------------------------------


def preferences(path: Path, drops: Drops | None = None) -> list[Preference]:
    drops = drops if drops is not None else Drops()
    return list(read_preferences(find_sources([str(path)]), drops=drops))


def pair(record: object, tmp_path: Path, drops: Drops | None = None) -> list[Preference]:
    path = tmp_path / "pairs.json"
    good = {"prompt": "Good?", "chosen": "yes", "rejected": "no"}
    path.write_text(json.dumps([good, record]))
    return preferences(path, drops)[1:]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": " Hi ", "chosen": "Hello.\n", "rejected": "Go."},
        {"question": "Hi", "chosen": "Hello.", "rejected": "Go.", "system": ""},
        {"prompt": [turn(U, "Hi")], "chosen": [turn(A, "Hello.")], "rejected": [turn(A, "Go.")]},
        {"prompt": [turn(U, "Hi")], "chosen": turn(A, "Hello."), "rejected": turn(A, "Go.")},
        {
            "prompt": "Hi",
            "chosen": [turn(U, "Hi"), turn(A, "Hello.")],
            "rejected": [turn(U, "Hi"), turn(A, "Go.")],
            "messages": [turn(U, "Hi"), turn(A, "Hello.")],
        },
        {
            "chosen": [turn(U, "Hi"), turn(A, "Hello.")],
            "rejected": [turn(U, "Hi"), turn(A, "Go.")],
        },
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Go.",
        },
        {"chosen": "<user> Hi\n<assistant> Hello.", "rejected": "<user> Hi\n<assistant> Go."},
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello."},
            "rejected": {"from": "gpt", "value": "Go."},
        },
    ],
)
def test_every_form_of_a_preference_gives_the_same(record: object, tmp_path: Path) -> None:
    assert pair(record, tmp_path) == [Preference((Message(U, "Hi"),), "Hello.", "Go.")]


def test_what_both_conversations_share_is_the_prompt(tmp_path: Path) -> None:
    shared = [turn(S, "Be kind."), turn(U, "a"), turn(A, "b"), turn(U, "c")]
    record = {"chosen": [*shared, turn(A, "good")], "rejected": [*shared, turn(A, "bad")]}
    [found] = pair(record, tmp_path)
    assert [m.content for m in found.prompt] == ["Be kind.", "a", "b", "c"]
    assert (found.chosen, found.rejected) == ("good", "bad")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"prompt": "Hi", "chosen": "same", "rejected": "same "}, "are the same"),
        ({"prompt": "Hi", "chosen": "", "rejected": "b"}, "one is empty"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "does not end with a user turn"),
        ({"prompt": [], "chosen": [turn(A, "a")], "rejected": [turn(A, "b")]}, "user turn"),
        (
            {
                "chosen": [turn(U, "a"), turn(A, "b"), turn(U, "c"), turn(A, "d")],
                "rejected": [turn(U, "a"), turn(A, "x"), turn(U, "c"), turn(A, "y")],
            },
            "differ before their last answer",
        ),
        ({"prompt": "Hi", "chosen": [turn(U, "a")], "rejected": "b"}, "end with an assistant turn"),
        ({"prompt": "Hi", "chosen": "a"}, "its fields are `chosen`, `prompt`"),
    ],
)
def test_a_pair_that_teaches_nothing_is_dropped_and_counted(
    record: object, problem: str, tmp_path: Path
) -> None:
    drops = Drops()
    assert pair(record, tmp_path, drops) == []
    assert drops.counts["no pair of answers"] == 1
    assert problem in drops.first["no pair of answers"]


# --- real files -----------------------------------------------------------------------------

REAL = {
    "chatterbot_en.messages.jsonl": 1652,
    "fastchat_dummy.sharegpt.json": 500,
    "gpteacher_roleplay.alpaca.json": 1347,
    "gsm8k.messages.jsonl": 900,
    "self_instruct_seed_tasks.jsonl": 175,
    "sgd_train.messages.jsonl": 767,
    "sgd_valid.messages.jsonl": 256,
    "tagged_train.txt": 2352,
    "tagged_valid.txt": 256,
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_whole(name: str, real_data: Path) -> None:
    drops = Drops()
    chats = list(read_conversations(find_sources([str(real_data / "chat" / name)]), drops=drops))
    assert (len(chats), drops.counts) == (REAL[name], {})
    for chat in chats:
        roles = [m.role for m in chat.messages if m.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(m.content == m.content.strip() != "" for m in chat.messages)


def test_tagged_files_say_what_the_files_of_messages_say(real_data: Path) -> None:
    assert found(real_data / "chat" / "tagged_valid.txt") == found(
        real_data / "chat" / "sgd_valid.messages.jsonl"
    )
