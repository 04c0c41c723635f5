from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from model_shapes import random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.cli.chat import _COMMANDS
from seedbed.generation.engine import GeneratedToken
from seedbed.generation.sampling import SamplingSettings
from seedbed.serve import conversation
from seedbed.serve.conversation import Chat
from seedbed.tokenizers.simple import ByteTokenizer

SETTINGS = ("--seed", 1, "--max-new-tokens", 12, "--temperature", 2)
NOTE = (
    "note: nothing in this checkpoint says that it was fine-tuned on conversations. If it was not, "
    "its answers are nonsense.\n"
)


def save(folder: Path, model: torch.nn.Module, **facts: object) -> Path:
    save_checkpoint(folder, model, ByteTokenizer(), facts=facts)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a random byte model, said to be fine-tuned on conversations."""
    model = random_model(vocab_size=ByteTokenizer().vocab_size, context_length=512)
    return save(tmp_path_factory.mktemp("chat") / "talker", model, chat=True)


@pytest.fixture
def typed(seedbed: Callable, monkeypatch: pytest.MonkeyPatch, talker: Path) -> Callable:
    """Return a function that pipes lines into a conversation."""

    def call(*lines: str, options: tuple[object, ...] = SETTINGS) -> object:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
        return seedbed("chat", talker, *options)

    return call


@pytest.fixture
def chat(talker: Path) -> Chat:
    """Return the conversation that a command with SETTINGS has."""
    sampling = SamplingSettings(temperature=2)
    loaded = load_checkpoint(talker, "cpu", "auto")
    return Chat(loaded, seed=1, max_new_tokens=12, sampling=sampling)


def answers(chat: Chat, *texts: str) -> list[str]:
    return ["".join(chat.answer(text)) for text in texts]


# --- one-shot ---------------------------------------------------------------------------------


def test_a_prompt_is_answered_and_nothing_else_goes_to_stdout(
    talker: Path, chat: Chat, seedbed: Callable
) -> None:
    shown = seedbed("chat", talker, "--prompt", "Hi", "--system", "Be kind.", *SETTINGS)
    chat.system = "Be kind."
    [answer] = answers(chat, "Hi")
    assert (shown.code, shown.out) == (0, f"{answer}\n")
    assert shown.err == "(cut off after 12 tokens)\n"


def test_prompts_are_the_turns_of_one_conversation(
    talker: Path, chat: Chat, seedbed: Callable
) -> None:
    words = ("--prompt", "Hi", "--prompt", "/reset")  # a prompt is never a command
    shown = seedbed("chat", talker, *words, *SETTINGS)
    assert shown.out == "".join(f"{answer}\n" for answer in answers(chat, "Hi", "/reset"))


def test_json_is_an_object_a_line_for_each_answer(
    talker: Path, chat: Chat, seedbed: Callable
) -> None:
    shown = seedbed("chat", talker, "--prompt", "Hi", "--prompt", "Ho", "--json", *SETTINGS)
    made = [json.loads(line) for line in shown.out.splitlines()]
    assert made == [
        {"prompt": prompt, "text": text, "tokens": 12, "finished": "length", "left_out": 0}
        for prompt, text in zip(("Hi", "Ho"), answers(chat, "Hi", "Ho"), strict=True)
    ]


def test_bytes_that_are_no_text_are_replaced(talker: Path, seedbed: Callable) -> None:
    broken = ("--prompt", "caf\udce9", "--system", "\udce9")  # as Python gives them
    shown = seedbed("chat", talker, *broken, "--json", *SETTINGS)
    assert json.loads(shown.out)["prompt"] == "caf\N{REPLACEMENT CHARACTER}"


def test_help_says_what_a_model_must_be_and_documents_the_json(seedbed: Callable) -> None:
    text = " ".join(seedbed("chat", "--help").out.split())
    assert "was not fine-tuned on conversations (`seedbed finetune`) answers nonsense" in text
    for word in ("prompt", "text", "tokens", "finished", '"end"', '"length"', '"interrupted"'):
        assert word in text
    assert "left_out" in text
    assert all(name in text for name in _COMMANDS)


def test_a_model_that_was_not_made_for_conversations_is_told(
    talker: Path, model: Path, seedbed: Callable
) -> None:
    words = ("--prompt", "Hi", "--max-new-tokens", 1, "--json")
    assert NOTE in seedbed("chat", model, *words).err
    assert NOTE not in seedbed("chat", talker, *words).err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--prompt", "x" * 600), "takes 604 tokens and an answer 128"),
        (("--prompt", ""), "message is empty"),
        (("--prompt", "Hi", "--max-new-tokens", 0), "`max_new_tokens` is 0"),
        (("--prompt", "Hi", "--top-p", 2), "`top_p` is 2"),
        (("--prompt", "Hi", "--transcript", __file__), "Give --prompt or --transcript, not both"),
        (("--transcript", "/none"), "'/none' does not exist"),
    ],
)
def test_what_cannot_be_is_refused(
    words: tuple[object, ...], problem: str, talker: Path, seedbed: Callable
) -> None:
    shown = seedbed("chat", talker, *words)
    assert (shown.code, shown.out) == (2, "")
    assert problem in shown.err


# --- lines and commands -----------------------------------------------------------------------


def test_piped_lines_are_answered_in_turn(typed: Callable, chat: Chat) -> None:
    shown = typed("Hi", "", "  Ho ")
    assert (shown.code, shown.err) == (0, "(cut off after 12 tokens)\n" * 2)
    assert shown.out == "".join(f"{answer}\n" for answer in answers(chat, "Hi", "Ho"))


def test_no_input_says_nothing(typed: Callable) -> None:
    shown = typed()
    assert (shown.code, shown.out, shown.err) == (0, "", "")


def test_quit_ends(typed: Callable, chat: Chat) -> None:
    shown = typed("Hi", "/quit", "Ho")
    assert (shown.code, shown.out) == (0, f"{answers(chat, 'Hi')[0]}\n")


def test_a_message_of_several_lines_stands_between_lines_of_quotes(
    typed: Callable, chat: Chat
) -> None:
    shown = typed('"""', "/one", "", "two", '"""', "Hi", '"""', "open")
    expected = answers(chat, "/one\n\ntwo", "Hi", "open")
    assert shown.out == "".join(f"{answer}\n" for answer in expected)


def test_a_message_with_a_slash_is_written_with_two(typed: Callable, chat: Chat) -> None:
    assert typed("//help me").out == f"{answers(chat, '/help me')[0]}\n"


def test_commands_change_the_conversation(typed: Callable, chat: Chat, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    shown = typed(
        "/system Be kind.", "Hi", "/retry", "Ho", "/undo", "/temperature 0", f"/save {path}",
        "/system", "/reset", "Why?", f"/load {path}", "Why?",
    )  # fmt: skip
    chat.system = "Be kind."
    first = answers(chat, "Hi")
    first += ["".join(chat.retry()), *answers(chat, "Ho")]
    chat.undo()
    chat.set_temperature(0)
    kept = list(chat.messages)
    chat.system, chat.messages = "", []
    second = answers(chat, "Why?")
    chat.system, chat.messages = "Be kind.", kept
    second += answers(chat, "Why?")
    assert shown.out == "".join(f"{answer}\n" for answer in first + second)
    assert [line for line in shown.err.splitlines() if "cut off" not in line] == [
        "(system prompt set)", "(taken back: Ho)", "(temperature 0)", f"(saved to {path})",
        "(no system prompt)", "(all is forgotten)", f"(loaded {path}: 2 messages)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/rest", "`/rest` is not a command. Did you mean `/reset`?"),
        ("/", "`/` is not a command. /help lists all."),
        ("/undo 3", "`/undo` takes nothing after it."),
        ("/save", "Write `/save FILE`."),
        ("/temperature", "Write `/temperature X`."),
        ("/temperature hot", "`temperature` is 'hot'"),
        ("/load /none/talk.json", "/none/talk.json cannot be read"),
        ("/retry", "Nothing was said yet."),
        ("x" * 600, "takes 604 tokens"),
    ],
)
def test_a_mistake_is_told_and_the_conversation_goes_on(
    line: str, problem: str, typed: Callable, chat: Chat
) -> None:
    shown = typed(line, "Hi")
    assert shown.code == 0
    assert shown.err.startswith("error: ")
    assert problem in shown.err
    assert shown.out == f"{answers(chat, 'Hi')[0]}\n"


def test_help_lists_every_command(typed: Callable) -> None:
    shown = typed("/help")
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert [line.split()[0] for line in lines[: len(_COMMANDS)]] == list(_COMMANDS)
    assert any('"""' in line for line in lines)


def test_a_full_context_is_told(seedbed: Callable, model: Path) -> None:
    words = [word for _ in range(4) for word in ("--prompt", "A message")]
    shown = seedbed("chat", model, *words, *SETTINGS)
    notices = [line for line in shown.err.splitlines() if "context" in line]
    full = r"\(the context of 64 tokens is full: the model does not see the oldest [46] messages\)"
    assert re.fullmatch(full, notices[-1])


# --- transcripts ------------------------------------------------------------------------------


def test_a_transcript_shows_inputs_and_what_a_user_would_see(
    talker: Path, chat: Chat, seedbed: Callable, tmp_path: Path
) -> None:
    file = tmp_path / "inputs.txt"
    file.write_text('Hi\n/temperature 0\n"""\nHo\n"""\n/rest\n/quit\nnever read\n')
    shown = seedbed("chat", talker, "--transcript", file, *SETTINGS)
    first = answers(chat, "Hi")[0]
    chat.set_temperature(0)
    second = answers(chat, "Ho")[0]
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        f"> Hi\n{first}\n(cut off after 12 tokens)\n"
        "> /temperature 0\n(temperature 0)\n"
        f'> """\n... Ho\n... """\n{second}\n(cut off after 12 tokens)\n'
        "> /rest\nerror: `/rest` is not a command. Did you mean `/reset`? A message that begins "
        "with a slash is written with two.\n"
        "> /quit\n"
    )


def test_a_transcript_is_decided_by_its_seed(
    talker: Path, seedbed: Callable, tmp_path: Path
) -> None:
    file = tmp_path / "inputs.txt"
    file.write_text("Hi\nHo\n/retry\n")
    words = ("chat", talker, "--transcript", file, "--max-new-tokens", 12, "--temperature", 2)
    first, again, other = (seedbed(*words, "--seed", seed).out for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_transcript_in_json_holds_the_answers_alone(
    talker: Path, chat: Chat, seedbed: Callable, tmp_path: Path
) -> None:
    file = tmp_path / "inputs.txt"
    file.write_text("Hi\n/rest\nHo\n")
    shown = seedbed("chat", talker, "--transcript", file, "--json", *SETTINGS)
    made = [json.loads(line)["text"] for line in shown.out.splitlines()]
    assert made == answers(chat, "Hi", "Ho")


# --- Ctrl-C -----------------------------------------------------------------------------------


@pytest.fixture
def interrupted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come after three tokens of the first answer."""
    whole, pending = conversation.stream, [True]

    def stream(*words: object, **options: object) -> Iterator[GeneratedToken]:
        for number, token in enumerate(whole(*words, **options)):  # type: ignore[arg-type]
            if number == 3 and pending:
                pending.clear()
                raise KeyboardInterrupt
            yield token

    monkeypatch.setattr(conversation, "stream", stream)


@pytest.mark.usefixtures("interrupted_once")
def test_ctrl_c_stops_an_answer_and_not_the_conversation(typed: Callable, chat: Chat) -> None:
    shown = typed("Hi", "Ho")
    first = chat.answer("Hi")
    beginning = "".join(islice(first, 3))
    first.close()
    assert shown.code == 0
    assert shown.out == f"{beginning}\n{answers(chat, 'Ho')[0]}\n"
    assert shown.err == "(stopped; what was said is kept)\n(cut off after 12 tokens)\n"


@pytest.mark.usefixtures("interrupted_once")
@pytest.mark.parametrize("kind", ["--prompt", "--transcript"])
def test_ctrl_c_ends_what_is_scripted(
    kind: str, talker: Path, seedbed: Callable, tmp_path: Path
) -> None:
    file = tmp_path / "inputs.txt"
    file.write_text("Hi\nHo\n")
    words = ("Hi", "--prompt", "Ho") if kind == "--prompt" else (file,)
    shown = seedbed("chat", talker, kind, *words, "--json", *SETTINGS)
    assert shown.code == 130
    [made] = [json.loads(line) for line in shown.out.splitlines()]
    assert (made["tokens"], made["finished"]) == (3, "interrupted")
    assert shown.err == "(stopped; what was said is kept)\n\ninterrupted\n"


class Screen:
    """What a program writes to a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._unread = descriptor, b""

    def wait_for(self, *texts: bytes) -> None:
        """Read on to the end of the texts, one after the other."""
        for text in texts:
            while text not in self._unread:
                ready, _, _ = select.select([self._descriptor], [], [], 60)
                assert ready, f"{text!r} did not come after {self._unread!r}"
                self._unread += os.read(self._descriptor, 4096)
            self._unread = self._unread.partition(text)[2]


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a model that says "a" for ever."""
    vocab_size = ByteTokenizer().vocab_size
    model = random_model(vocab_size=vocab_size, tie_embeddings=False, context_length=20_000)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.norm.weight.fill_(1.0)
        model.embedding.weight[:, 0] = 1.0
        model.head.weight[ord("a"), 0] = 50.0
    return save(tmp_path_factory.mktemp("chat") / "endless", model, chat=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
def test_ctrl_c_at_a_terminal_stops_an_answer_then_twice_ends(endless: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "seedbed", "chat", str(endless), "--max-new-tokens", "99999"]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as program:

        def ctrl_c_at_prompt() -> None:
            time.sleep(0.3)  # readline shows its prompt before it looks for signals
            program.send_signal(signal.SIGINT)

        try:
            screen = Screen(ours)
            screen.wait_for(b"Ctrl-D ends)", b"> ")
            os.write(ours, b"Hi\n")
            screen.wait_for(b"aaaa")
            program.send_signal(signal.SIGINT)
            screen.wait_for(b"(stopped; what was said is kept)", b"> ")
            ctrl_c_at_prompt()
            screen.wait_for(b"(Ctrl-C again ends, as do Ctrl-D and /quit)", b"> ")
            os.write(ours, b"/undo\n")
            screen.wait_for(b"(taken back: Hi)", b"> ")
            ctrl_c_at_prompt()
            screen.wait_for(b"(Ctrl-C again ends, as do Ctrl-D and /quit)", b"> ")
            ctrl_c_at_prompt()
            assert program.wait(timeout=60) == 0
        finally:
            program.kill()
            os.close(ours)
            os.close(theirs)
