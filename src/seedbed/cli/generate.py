"""`seedbed generate`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
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
from seedbed.cli.output import device_option, json_option, print_result

if TYPE_CHECKING:
    import torch

    from seedbed.checkpoints import Checkpoint
    from seedbed.generation.engine import Generation


@click.command(
    "generate",
    epilog='Example: seedbed generate runs/stories --prompt "Once upon a time" --samples 3',
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--prompt",
    multiple=True,
    type=as_text,
    metavar="TEXT",
    help="Text to go on from; may be given several times.",
)
@sampling_options
@click.option("--greedy", is_flag=True, help="Always the likeliest token.")
@click.option("--samples", type=int, default=1, show_default=True, help="Texts for each prompt.")
@click.option("--seed", type=int, help="The same seed writes the same text.  [default: random]")
@click.option("--stop", multiple=True, help="End before this text; may be given several times.")
@device_option
@precision_option
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the model at the second token: 5 to 30 seconds, then quicker: small models "
    "twice and more. For many thousand tokens in one command.",
)
@json_option
def command(
    checkpoint: Path,
    prompt: tuple[str, ...],
    max_new_tokens: int,
    samples: int,
    seed: int | None,
    stop: tuple[str, ...],
    greedy: bool,
    device: str,
    precision: str,
    compiled: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write text with a model.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). Without --prompt, asks for one after
    another until the input ends (Ctrl-D), or takes each line that is piped in.

    --json prints a list of texts, each with prompt, text (what was added), tokens (how many were
    drawn) and finished: "end" (of the document), "stop" (a --stop text came) or "length".
    """
    import secrets

    import_at_once("seedbed.checkpoints", "seedbed.generation.engine")
    from seedbed.checkpoints import load_checkpoint
    from seedbed.config import build
    from seedbed.distributed import join_world
    from seedbed.generation.engine import generate
    from seedbed.generation.sampling import SamplingSettings

    sampling = build(SamplingSettings, options, {"temperature": 0.0} if greedy else {})
    loaded = load_checkpoint(checkpoint, join_world(device).device, precision)
    if compiled:
        _check_compiler(loaded.model.embedding.weight.device)
        # Prompts are read as before, without delay.
        loaded.model.compile(dynamic=True)  # pyright: ignore[reportUnknownMemberType]
    seed = secrets.randbelow(2**31) if seed is None else seed
    common: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "sampling": sampling,
        "stop": stop,
    }

    def write(prompts: tuple[str, ...], seed: int) -> None:
        _tell_of_long_prompts(loaded, prompts)
        if len(prompts) * samples == 1 and not as_json:
            _write_live(loaded, prompts[0], {**common, "seed": seed})
        else:
            made = generate(
                loaded.model, loaded.tokenizer, prompts, samples=samples, seed=seed, **common
            )
            print_result([vars(g) for g in made], as_json, lambda: _lines(made))

    if prompt:
        write(prompt, seed)
    else:
        _converse(write, seed)


def _check_compiler(device: torch.device) -> None:
    from seedbed.errors import ConfigError
    from seedbed.machine import can_compile

    if not can_compile(device):
        raise ConfigError(
            f"--compile finds no compiler for device {device.type}: on a processor it needs a C++ "
            "compiler and Python's headers. Leave it out."
        )


def _tell_of_long_prompts(loaded: Checkpoint, prompts: tuple[str, ...]) -> None:
    from seedbed.generation.engine import prompt_ids

    context_length = loaded.model.config.context_length
    for prompt in prompts:
        size = len(prompt_ids(loaded.tokenizer, prompt))
        if size >= context_length:
            click.echo(
                f"note: the prompt has {size:,} tokens and the model's context {context_length:,}: "
                "the model does not see how it begins.",
                err=True,
            )


def _write_live(loaded: Checkpoint, prompt: str, common: dict[str, Any]) -> None:
    """Print the text as it comes."""
    from seedbed.generation.engine import prompt_ids, stream

    ids = prompt_ids(loaded.tokenizer, prompt)
    tokens = stream(loaded.model, loaded.tokenizer, [ids], **common)
    click.echo(prompt, nl=False)
    for token in tokens:
        click.echo(token.text, nl=False)
    click.echo()


def _converse(write: Callable[[tuple[str, ...], int], None], seed: int) -> None:
    """Go on from each line of input; Ctrl-C ends a text, the end of the input the program."""
    at_terminal = open_stdin()
    if at_terminal:
        click.echo("Write how a text begins; Ctrl-C ends a text, Ctrl-D ends.", err=True)
    for number in itertools.count():
        try:
            prompt = input("> " if at_terminal else "")
        except (EOFError, KeyboardInterrupt):
            if at_terminal:
                click.echo(err=True)
            return
        try:
            write((prompt,), seed + number)
        except KeyboardInterrupt:
            click.echo()


def _lines(made: list[Generation]) -> list[str]:
    texts = [generation.prompt + generation.text for generation in made]
    return "\n\n---\n\n".join(texts).split("\n")
