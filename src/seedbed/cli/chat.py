"""`seedbed chat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.generation_options import (
    as_text,
    open_stdin,
    precision_option,
    sampling_options,
)
from seedbed.cli.imports import import_at_once
from seedbed.cli.output import device_option, json_option
from seedbed.errors import ConfigError, UserError, did_you_mean

if TYPE_CHECKING:
    from seedbed.serve.conversation import Answer, Chat

_BLOCK = '"""'  # a line that begins or ends a message of several lines
_COMMANDS = {  # name -> what follows it, what it does
    "/reset": ("", "forget all but the system prompt"),
    "/undo": ("", "take back the last message and its answer"),
    "/retry": ("", "draw another answer to the last message"),
    "/save": ("FILE", "write the conversation to a .json or .jsonl file"),
    "/load": ("FILE", "go on from a saved conversation"),
    "/system": ("[TEXT]", "set the system prompt; without TEXT there is none"),
    "/temperature": ("X", "0 always takes the likeliest token, 1 draws as the model believes"),
    "/help": ("", "this list"),
    "/quit": ("", "end; so does Ctrl-D"),
}
_NOTES = (
    f"A message of several lines stands between two lines of {_BLOCK}.",
    "A message that begins with a slash is written with two.",
    "Ctrl-C stops an answer.",
)


@click.command(
    "chat",
    epilog='Example: seedbed chat runs/chat --system "You are a friendly storyteller."',
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--system", type=as_text, metavar="TEXT", default="", help="The system prompt.")
@click.option(
    "--prompt",
    multiple=True,
    type=as_text,
    metavar="TEXT",
    help="Print the answer to this, and end; several are the turns of one conversation.",
)
@click.option(
    "--transcript",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take each line of FILE as typed, and print what a user would see.",
)
@sampling_options
@click.option("--seed", type=int, help="The same seed gives the same answers.  [default: random]")
@device_option
@precision_option
@json_option
def command(
    checkpoint: Path,
    system: str,
    prompt: tuple[str, ...],
    transcript: Path | None,
    max_new_tokens: int,
    seed: int | None,
    device: str,
    precision: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Talk with a model that was fine-tuned on conversations.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). A model that was not fine-tuned on
    conversations (`seedbed finetune`) answers nonsense.

    Without --prompt, answers what is typed, or each line that is piped in. /help lists commands:
    /reset, /undo, /retry, /save FILE, /load FILE, /system TEXT, /temperature X, /quit. Ctrl-C stops
    an answer, Ctrl-D ends. What the context has no room for, the model does not see: the oldest
    turns go first, and that is said. Answers go to stdout, all else to stderr.

    --json prints an object a line for each answer: prompt, text, tokens (how many were drawn),
    finished ("end" of the turn, "length" or "interrupted") and left_out (how many of the oldest
    messages the model did not see).
    """
    import secrets

    import_at_once("seedbed.checkpoints", "seedbed.generation.engine")
    from seedbed.checkpoints import load_checkpoint
    from seedbed.config import build
    from seedbed.distributed import join_world
    from seedbed.generation.sampling import SamplingSettings
    from seedbed.serve.conversation import Chat

    if prompt and transcript:
        raise click.UsageError("Give --prompt or --transcript, not both.")
    chat = Chat(
        load_checkpoint(checkpoint, join_world(device).device, precision),
        system=system,
        sampling=build(SamplingSettings, options),
        max_new_tokens=max_new_tokens,
        seed=secrets.randbelow(2**31) if seed is None else seed,
    )
    if not chat.checkpoint.facts.get("chat"):
        click.echo(
            "note: nothing in this checkpoint says that it was fine-tuned on conversations. If it "
            "was not, its answers are nonsense.",
            err=True,
        )
    terminal = _Terminal(chat, as_json, scripted=bool(prompt or transcript))
    if prompt:
        for text in prompt:
            terminal.say(chat.answer(text))
    elif transcript:
        terminal.notices_to_stderr = as_json
        terminal.converse(_lines_of(transcript, echo=not as_json))
    else:
        _converse(terminal)


def _converse(terminal: _Terminal) -> None:
    """Answer what comes from stdin, which may be a person."""
    terminal.at_terminal = open_stdin()
    if not terminal.at_terminal:
        terminal.converse(lambda _: input())
        return
    terminal.notice("/help lists commands; Ctrl-C stops an answer, Ctrl-D ends")
    terminal.converse(input)


class _Terminal:
    """Prints answers as they come, and does what is typed."""

    def __init__(self, chat: Chat, as_json: bool, *, scripted: bool) -> None:
        self.chat = chat
        self.as_json = as_json
        self.scripted = scripted  # nobody types: Ctrl-C is for the program
        self.at_terminal = False
        self.notices_to_stderr = True

    def converse(self, read: Callable[[str], str]) -> None:
        """Take one input after another, from a function that shows a prompt, until they end."""
        warned = False  # that Ctrl-C was pressed, and ends if it is pressed again
        while True:
            try:
                text = _read_input(read)
            except (EOFError, KeyboardInterrupt) as end:
                if self.at_terminal:
                    click.echo(err=True)
                if isinstance(end, EOFError) or warned or not self.at_terminal:
                    return
                self.notice("Ctrl-C again ends, as do Ctrl-D and /quit")
                warned = True
                continue
            warned = False
            try:
                if not self.take(text):
                    return
            except UserError as error:
                click.echo(f"error: {error}", err=self.notices_to_stderr)
            except KeyboardInterrupt:
                if self.scripted:
                    raise

    def take(self, text: str) -> bool:
        """Answer a message or obey a command; return whether to go on."""
        if not text.startswith("/") or text.startswith("//"):
            if text:
                self.say(self.chat.answer(text[1:] if text.startswith("//") else text))
            return True
        name, *rest = text.split(maxsplit=1)
        words = rest[0] if rest else ""
        _check_command(name, words)
        if name == "/help":
            for line in _help_lines():
                click.echo(line, err=self.notices_to_stderr)
        elif name == "/retry":
            self.say(self.chat.retry())
        elif name != "/quit":
            self.notice(_change(self.chat, name, words))
        return name != "/quit"

    def say(self, answer: Answer) -> None:
        """Print an answer as it comes, and what there is to know about it."""
        if answer.left_out:
            length = self.chat.checkpoint.model.config.context_length
            self.notice(
                f"the context of {length:,} tokens is full: the model does not see the oldest "
                f"{answer.left_out} messages"
            )
        try:
            for piece in answer:
                if not self.as_json:
                    click.echo(piece, nl=False)
        finally:
            answer.close()
            self._end(answer)

    def _end(self, answer: Answer) -> None:
        if self.as_json:
            names = ("prompt", "text", "tokens", "finished", "left_out")
            record = {name: getattr(answer, name) for name in names}
            click.echo(json.dumps(record, ensure_ascii=False))
        else:
            click.echo()
        if answer.finished == "length":
            self.notice(f"cut off after {answer.tokens:,} tokens")
        elif answer.finished == "interrupted":
            kept = "what was said is kept" if answer.text else "the message is not kept"
            self.notice(f"stopped; {kept}")
        elif not answer.text:
            self.notice("the model ended its turn without a word")

    def notice(self, text: str) -> None:
        """Print what neither of the two has said."""
        click.echo(f"({text})", err=self.notices_to_stderr)


def _change(chat: Chat, name: str, words: str) -> str:
    """Do what a command asks for; return what was done."""
    if name == "/reset":
        chat.reset()
        return "all is forgotten but the system prompt" if chat.system else "all is forgotten"
    if name == "/undo":
        return f"taken back: {chat.undo()}"
    if name == "/temperature":
        chat.set_temperature(words)
        return f"temperature {chat.sampling.temperature:g}"
    if name == "/system":
        chat.system = words
        return "system prompt set" if words else "no system prompt"
    path = Path(words).expanduser()
    if name == "/save":
        chat.save(path)
        return f"saved to {path}"
    chat.load(path)
    return f"loaded {path}: {len(chat.messages)} messages"


def _check_command(name: str, words: str) -> None:
    """Raise ConfigError for a command that is unknown, or has too many words or too few."""
    if name not in _COMMANDS:
        hint = did_you_mean(name, _COMMANDS) or " /help lists all."
        raise ConfigError(
            f"`{name}` is not a command.{hint} A message that begins with a slash is written with "
            "two."
        )
    wanted, _ = _COMMANDS[name]
    if words and not wanted:
        raise ConfigError(f"`{name}` takes nothing after it.")
    if wanted and not words and not wanted.startswith("["):
        raise ConfigError(f"Write `{name} {wanted}`.")


def _help_lines() -> list[str]:
    shown = {f"{name} {words}": what for name, (words, what) in _COMMANDS.items()}
    width = max(map(len, shown))
    return [*(f"{head.ljust(width)}  {what}" for head, what in shown.items()), *_NOTES]


def _read_input(read: Callable[[str], str]) -> str:
    """Return the next line without outer white space, or the lines of a block."""
    first = read("> ").strip()
    return first if first != _BLOCK else _as_message("\n".join(_block_lines(read)))


def _block_lines(read: Callable[[str], str]) -> Iterator[str]:
    """Yield lines until one ends the block, or there are no more."""
    with suppress(EOFError):
        while (line := read("... ")).strip() != _BLOCK:
            yield line


def _as_message(text: str) -> str:
    """Return a text, which is no command, as it would be typed."""
    text = text.strip()
    return f"/{text}" if text.startswith("/") else text


def _lines_of(path: Path, *, echo: bool) -> Callable[[str], str]:
    """Return a function that gives the next line of a file each time, like `input`."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = iter(text.removesuffix("\n").split("\n"))

    def read(prompt: str) -> str:
        line = next(lines, None)
        if line is None:
            raise EOFError
        if echo:
            click.echo(prompt + line)
        return line

    return read
