"""`seedbed generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import json_option, print_result

if TYPE_CHECKING:
    from seedbed.checkpoints import Checkpoint
    from seedbed.generation.engine import Generation


@click.command(
    "generate",
    epilog='Example: seedbed generate runs/stories --prompt "Once upon a time" --samples 3',
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--prompt", multiple=True, help="Text to go on from; may be given several times.")
@click.option("--max-new-tokens", type=int, default=200, show_default=True)
@click.option("--temperature", type=float, default=0.8, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=int, default=50, show_default=True, help="0 keeps all tokens.")
@click.option("--top-p", type=float, default=1.0, show_default=True)
@click.option("--min-p", type=float, default=0.0, show_default=True)
@click.option("--repetition-penalty", type=float, default=1.0, show_default=True)
@click.option("--greedy", is_flag=True, help="Always the likeliest token.")
@click.option("--samples", type=int, default=1, show_default=True, help="Texts for each prompt.")
@click.option("--seed", type=int, help="The same seed writes the same text.  [default: random]")
@click.option("--stop", multiple=True, help="End before this text; may be given several times.")
@json_option
def command(
    checkpoint: Path,
    prompt: tuple[str, ...],
    max_new_tokens: int,
    samples: int,
    seed: int | None,
    stop: tuple[str, ...],
    greedy: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write text with a model.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). Without --prompt, asks for one after
    another until the input ends (Ctrl-D).
    """
    import secrets

    from seedbed.checkpoints import load_checkpoint
    from seedbed.config import build
    from seedbed.generation.engine import generate
    from seedbed.generation.sampling import SamplingSettings

    sampling = build(SamplingSettings, options, {"temperature": 0.0} if greedy else {})
    loaded = load_checkpoint(checkpoint)
    seed = secrets.randbelow(2**31) if seed is None else seed
    common: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "sampling": sampling,
        "seed": seed,
        "stop": stop,
    }
    if not prompt:
        _converse(loaded, common)
    elif len(prompt) * samples == 1 and not as_json:
        _write_live(loaded, prompt[0], common)
    else:
        made = generate(loaded.model, loaded.tokenizer, prompt, samples=samples, **common)
        print_result([vars(g) for g in made], as_json, lambda: _lines(made))


def _write_live(loaded: Checkpoint, prompt: str, common: dict[str, Any]) -> None:
    """Print the text as it comes."""
    from seedbed.generation.engine import prompt_ids, stream

    click.echo(prompt, nl=False)
    ids = prompt_ids(loaded.tokenizer, prompt)
    for token in stream(loaded.model, loaded.tokenizer, [ids], **common):
        click.echo(token.text, nl=False)
    click.echo()


def _converse(loaded: Checkpoint, common: dict[str, Any]) -> None:
    """Go on from each line of input; Ctrl-C ends a text, Ctrl-D or an empty input the program."""
    click.echo("Write how a text begins; Ctrl-C ends a text, Ctrl-D ends.", err=True)
    number = 0
    while True:
        try:
            prompt = input("> ")
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        try:
            _write_live(loaded, prompt, {**common, "seed": common["seed"] + number})
        except KeyboardInterrupt:
            click.echo()
        number += 1


def _lines(made: list[Generation]) -> list[str]:
    texts = [generation.prompt + generation.text for generation in made]
    return "\n\n---\n\n".join(texts).split("\n")
