"""What commands share that write text with a model: options, and what they read."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import click

from seedbed.tokenizers.utf8 import encode_utf8

Command = TypeVar("Command", bound=Callable[..., Any])

_SAMPLING: dict[str, tuple[type, float, str]] = {  # name -> type, default, help
    "--max-new-tokens": (int, 200, "Tokens to draw at most."),
    "--temperature": (float, 0.8, "0 is greedy."),
    "--top-k": (int, 50, "Draw from the K likeliest tokens; 0 keeps all."),
    "--top-p": (float, 1.0, "Draw from the likeliest tokens that add up to this; 1 keeps all."),
    "--min-p": (float, 0.0, "Leave out what is less than this times the likeliest; 0 keeps all."),
    "--repetition-penalty": (float, 1.0, "Above 1, tokens that were there are less likely."),
}

precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Of weights and activations: auto is fp32. On a processor int8 is the quickest, for one "
    "text and for many at once; `seedbed eval --precision` tells what they lose.",
)


def sampling_options(command: Command) -> Command:
    """Return the command with the options of `SamplingSettings`, and --max-new-tokens."""
    for name, (kind, default, words) in reversed(_SAMPLING.items()):
        command = click.option(name, type=kind, default=default, show_default=True, help=words)(
            command
        )
    return command


def sampling_options_if_given(command: Command) -> Command:
    """Return the command with the same options, which are None where they are not given."""
    for name, (kind, default, words) in reversed(_SAMPLING.items()):
        command = click.option(name, type=kind, help=f"{words}  [default: {default}]")(command)
    return command


def as_text(argument: str) -> str:
    r"""Return what was given, with U+FFFD in place of bytes that are no text.

    >>> as_text("caf\udce9")
    'caf�'
    """
    return encode_utf8(argument).decode()


def open_stdin() -> bool:
    """Let stdin give U+FFFD for bytes that are no text; return whether a person types and reads."""
    if isinstance(stdin := cast("object", sys.stdin), io.TextIOWrapper):
        stdin.reconfigure(errors="replace")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    with suppress(ImportError):
        importlib.import_module("readline")  # gives input() editing and a history
    return True
