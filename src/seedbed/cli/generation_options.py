"""What commands share that write text with a model: options of sampling and precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_SAMPLING = (
    click.option("--max-new-tokens", type=int, default=200, show_default=True),
    click.option("--temperature", type=float, default=0.8, show_default=True, help="0 is greedy."),
    click.option("--top-k", type=int, default=50, show_default=True, help="0 keeps all tokens."),
    click.option("--top-p", type=float, default=1.0, show_default=True),
    click.option("--min-p", type=float, default=0.0, show_default=True),
    click.option("--repetition-penalty", type=float, default=1.0, show_default=True),
)

precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Of weights and activations: auto is fp32. On a processor int8 is the quickest for one "
    "text, bf16 for many at once; `seedbed eval --precision` tells what they lose.",
)


def sampling_options(command: Command) -> Command:
    """Return the command with the options of `SamplingSettings`, and --max-new-tokens."""
    for option in reversed(_SAMPLING):
        command = option(command)
    return command
