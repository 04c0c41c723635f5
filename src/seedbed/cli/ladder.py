"""`seedbed ladder`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.experiment_options import (
    AT_LEAST_ONE,
    alpha_option,
    announce_plan,
    evals_option,
    experiment_layers,
    experiment_options,
    margin_option,
    out_option,
    sources_argument,
    stopped,
)
from seedbed.cli.output import print_result

if TYPE_CHECKING:
    from seedbed.experiments.ladder import Rung
    from seedbed.experiments.plan import Plan


@click.command(
    "ladder",
    epilog="Example: seedbed ladder stories.txt films.txt --eval novel.txt "
    '--sizes 100k,200k,400k --budgets "500k bytes,1m bytes,2m bytes" --out experiments/ladder',
)
@sources_argument
@evals_option
@out_option
@click.option("--sizes", help="Parameters of the models, three or more: 100k,200k,400k.")
@click.option(
    "--budgets",
    help="What runs learn from, two or more: 1m bytes,2m bytes.  [default: for --minutes]",
)
@click.option("--minutes", type=float, help="For all runs, about.  [default: 20]")
@click.option("--seeds", type=AT_LEAST_ONE, help="Runs of each cell.  [default: 3]")
@click.option("--to-size", help="Parameters to foretell.  [default: four times the largest]")
@click.option("--to-budget", help="Budget to foretell.  [default: four times the largest]")
@alpha_option
@margin_option
@experiment_options
def command(
    sources: tuple[str, ...],
    evals: tuple[str, ...],
    out: Path,
    workers: int | None,
    executor: Any,
    executor_options: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Compare datasets at several sizes, and foretell what larger ones would say.

    Every dataset is compared at every size of the model and every budget; a law of the loss,
    E + A / N^alpha + B / D^beta, is fitted to each dataset's runs and carried on to a larger size,
    with its interval and with what it says of the order of the datasets. The verdict stays that of
    the largest size and budget that were run. The same command goes on where it was stopped.
    """
    from seedbed.config import build, parse_overrides
    from seedbed.experiments.ladder import LadderConfig, climb
    from seedbed.experiments.ladder_words import ladder_in_words

    config = build(LadderConfig, *experiment_layers(sources, evals, options))
    results = climb(
        config,
        out,
        executor=executor,
        workers=workers,
        options=parse_overrides(executor_options),
        announce=_announce,
    )
    if results is None:
        return stopped()
    print_result(results, as_json, partial(ladder_in_words, results))
    return 0


def _announce(rungs: Sequence[Rung], top: Plan) -> None:
    from seedbed.experiments.wording import aligned

    click.echo(f"{len(rungs)} rungs of {len(top.jobs)} runs each:", err=True)
    rows = [[rung.name, rung.size, f"{rung.budget:,.0f} bytes"] for rung in rungs]
    for line in [*aligned(rows), "the largest:"]:
        click.echo(line, err=True)
    announce_plan(top)
