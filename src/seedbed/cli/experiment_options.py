"""What commands share that run experiments on several datasets: options, and settings of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seedbed.cli.output import document_separator_option, json_option, text_field_option

if TYPE_CHECKING:
    from seedbed.config import Tree
    from seedbed.experiments.plan import Plan

Command = TypeVar("Command", bound=Callable[..., Any])

AT_LEAST_ONE = click.IntRange(min=1)

sources_argument = click.argument(
    "sources", nargs=-1, required=True, metavar="EXPERIMENT.yaml|SOURCE..."
)
evals_option = click.option(
    "--eval",
    "evals",
    multiple=True,
    metavar="SOURCE",
    help="Text to judge by; may be given several times.  [default: the held-out parts of the "
    "other datasets]",
)
out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the experiments."
)

alpha_option = click.option(
    "--alpha", type=float, help="Chance of a false verdict, over all.  [default: 0.05]"
)
margin_option = click.option(
    "--margin", type=float, help="Bits per byte: less does not matter.  [default: 0.01]"
)

_EXPERIMENT = (
    click.option("--tokenizer", metavar="KIND|PATH", help="As for prepare.  [default: bpe]"),
    click.option("--vocab-size", type=AT_LEAST_ONE, help="[default: 1024]"),
    click.option("--seed", type=int, help="What all random choices follow from.  [default: 0]"),
    text_field_option,
    document_separator_option,
    click.option("--workers", type=AT_LEAST_ONE, help="Runs at once.  [default: one a core]"),
    click.option(
        "--executor",
        type=click.Choice(["local", "slurm", "ray"]),
        default="local",
        show_default=True,
        help="Where the runs are made.",
    ),
    click.option(
        "--executor-option",
        "executor_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Of slurm (slurm_partition=short) or ray (address=auto); may be given several times.",
    ),
    json_option,
)


def experiment_options(command: Command) -> Command:
    """Return the command with the options of its text, its seed and where it runs."""
    for option in reversed(_EXPERIMENT):
        command = option(command)
    return command


def experiment_layers(
    sources: tuple[str, ...], evals: tuple[str, ...], options: dict[str, Any]
) -> list[Tree]:
    """Return the settings of EXPERIMENT.yaml or the sources, and of the options that are given.

    Raises ConfigError where there is a file and other sources.
    """
    from seedbed.config import read_yaml
    from seedbed.errors import ConfigError
    from seedbed.experiments.config import settings_of_sources

    given: Tree = {key: value for key, value in options.items() if value is not None}
    if "size" in given:
        given["model"] = {"size": given.pop("size")}
    files = [source for source in sources if source.endswith((".yaml", ".yml"))]
    if not files:
        return [settings_of_sources(sources, evals), given]
    if len(sources) > 1:
        raise ConfigError(
            f"{files[0]} names the datasets of an experiment: leave out other sources."
        )
    texts: Tree = {"evals": settings_of_sources((), evals)["evals"]}
    return [read_yaml(Path(files[0])), texts, given]


def announce_plan(plan: Plan) -> None:
    """Say on stderr what is going to be done."""
    from seedbed.experiments.wording import plan_in_words

    for line in plan_in_words(plan):
        click.echo(line, err=True)


def stopped() -> int:
    """Say on stderr that the runs were stopped on request, and return the exit code for that."""
    from seedbed.training.stopping import STOPPED

    click.echo("stopped; the same command goes on from there", err=True)
    return STOPPED
