"""`seedbed mix`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from seedbed.cli.experiment_options import (
    AT_LEAST_ONE,
    announce_plan,
    experiment_layers,
    experiment_options,
    out_option,
    sources_argument,
    stopped,
)
from seedbed.cli.output import print_result


@click.command(
    "mix",
    epilog="Example: seedbed mix stories.txt speeches.txt films.txt --target novel.txt "
    "--minutes 30 --out experiments/mixture",
)
@sources_argument
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="SOURCE",
    help="Text that models should be good at; may be given several times.  [default: the held-out "
    "parts of the sources]",
)
@out_option
@click.option(
    "--runs", type=AT_LEAST_ONE, help="Runs on designed mixtures.  [default: 8 for each source]"
)
@click.option("--seeds", type=AT_LEAST_ONE, help="Runs that confirm each mixture.  [default: 3]")
@click.option(
    "--minutes", type=float, help="For all runs; chooses what is not given.  [default: 20]"
)
@click.option("--budget", help="What each run learns from instead: 2m bytes.")
@click.option("--size", help="Parameters of the model: 1m, 300k.  [default: for the time]")
@click.option(
    "--max-epochs", type=float, help="How often a run may read a source at most.  [default: 4]"
)
@click.option(
    "--for-budget",
    "intended_budget",
    help="What the run learns from that the mixture is for, where limits count: 100m bytes.  "
    "[default: that of the small runs]",
)
@experiment_options
def command(
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    out: Path,
    workers: int | None,
    executor: Any,
    executor_options: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Find the mixture of datasets that is best for a target text.

    Small models are trained on designed mixtures; a model of the loss over all mixtures, chosen by
    cross-validation, is fitted to them; and the mixture that it predicts best is compared, with
    fresh seeds, with the uniform one and the one in proportion to the sizes. The same command goes
    on where it was stopped.
    """
    from seedbed.config import build, parse_overrides
    from seedbed.experiments.mixture_config import MixtureConfig
    from seedbed.experiments.mixture_words import mixture_in_words
    from seedbed.experiments.mixtures import mix

    config = build(MixtureConfig, *experiment_layers(sources, targets, options))
    results = mix(
        config,
        out,
        executor=executor,
        workers=workers,
        options=parse_overrides(executor_options),
        announce=announce_plan,
    )
    if results is None:
        return stopped()
    print_result(results, as_json, partial(mixture_in_words, results))
    return 0
