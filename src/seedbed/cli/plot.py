"""`seedbed plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seedbed.cli.output import json_option, print_result

Y = ["loss", "bits-per-byte", "learning-rate", "grad-norm", "tokens-per-second"]


@click.command("plot", epilog="Example: seedbed plot runs/stories --out curves.html")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .png, .svg or .html file.  [default: curves.png in RUN; here for several]",
)
@click.option(
    "--x",
    type=click.Choice(["steps", "tokens", "seconds"]),
    default="steps",
    show_default=True,
    help="Against what.",
)
@click.option(
    "--y",
    type=click.Choice(Y),
    multiple=True,
    help="What; may be given several times, a panel each.  [default: loss; bits-per-byte where "
    "tokenizers differ]",
)
@click.option("--log-y", is_flag=True, help="A logarithmic y axis.")
@click.option(
    "--smooth",
    type=int,
    metavar="N",
    help="Logged steps in a mean of a training curve; 1 is none.  [default: a 40th of them]",
)
@json_option
def command(runs: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Draw the training and validation curves of runs.

    A run may still be training: what it has measured so far is drawn. For one run, bits-per-byte
    shows beside validation what an n-gram model that counts bytes would reach. The HTML page is one
    file that needs no network.
    """
    from seedbed.plots.curves import plot_runs

    out = plot_runs(runs, **options)
    print_result({"out": out, "runs": list(runs)}, as_json, lambda: [str(out)])
