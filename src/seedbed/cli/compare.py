"""`seedbed compare`."""

from __future__ import annotations

import math
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
    sources_argument,
    stopped,
)
from seedbed.cli.output import print_result

if TYPE_CHECKING:
    from seedbed.config import Tree
    from seedbed.experiments.results import Results


@click.command(
    "compare",
    epilog="Example: seedbed compare stories.txt speeches.txt films.txt --eval novel.txt "
    "--minutes 20 --out experiments/which",
)
@sources_argument
@evals_option
@click.option(
    "--name",
    "names",
    multiple=True,
    help="A dataset's name, in the order of the SOURCEs.  [default: the file's]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder.  [default: experiments/NAMES]"
)
@click.option(
    "--minutes", type=float, help="For all runs; chooses what is not given.  [default: 20]"
)
@click.option(
    "--budget",
    help="What each run learns from instead: 2m bytes, 500k tokens, 1e13 flops, 3 epochs.",
)
@click.option("--seeds", type=AT_LEAST_ONE, help="Runs of each dataset.  [default: for the time]")
@click.option("--size", help="Parameters of the model: 1m, 300k.  [default: for the time]")
@alpha_option
@margin_option
@click.option(
    "--rates",
    help="Multiples of the learning rates that check the ranking; none for no check.  "
    "[default: 0.5,2]",
)
@click.option("--tasks", help="Tasks made of the evaluation texts, or folders of tasks: a,b.")
@click.option(
    "--race", is_flag=True, default=None, help="Stop datasets that cannot be the best any more."
)
@click.option("--plan-only", is_flag=True, help="Say what would be done, and stop.")
@experiment_options
def command(
    sources: tuple[str, ...],
    evals: tuple[str, ...],
    names: tuple[str, ...],
    out: Path | None,
    workers: int | None,
    executor: Any,
    executor_options: tuple[str, ...],
    plan_only: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Find out which dataset is best, and how sure that is.

    Small models are trained on each dataset: the same model, the same bytes of text, one tokenizer
    for all; each run with its own weights, order and, where there is enough, its own part of the
    documents. The verdict on each pair is better, equivalent or unresolved, corrected for their
    number. The same command goes on where it was stopped.

    EXPERIMENT.yaml has the settings of an experiment; options add to it.
    """
    from seedbed.config import build, parse_overrides
    from seedbed.experiments.compare import compare, plan_comparison
    from seedbed.experiments.config import ExperimentConfig
    from seedbed.experiments.wording import plan_in_words

    config = build(ExperimentConfig, *_layers(sources, evals, names, options))
    folder = out or Path("experiments") / _folder_name(config.datasets, sources)
    if plan_only:
        plan = plan_comparison(config, folder, workers=workers)
        print_result(plan.model_dump(mode="json"), as_json, partial(plan_in_words, plan))
        return 0
    results = compare(
        config,
        folder,
        executor=executor,
        workers=workers,
        options=parse_overrides(executor_options),
        announce=announce_plan,
    )
    if results is None:
        return stopped()
    from seedbed.experiments.results import to_json

    print_result(to_json(results), as_json, partial(_lines, results, folder))
    return 0


def _layers(
    sources: tuple[str, ...],
    evals: tuple[str, ...],
    names: tuple[str, ...],
    options: dict[str, Any],
) -> list[Tree]:
    """Return the settings of the file or the sources, and of the options."""
    from seedbed.errors import ConfigError

    read = {"rates": _rates, "tasks": _words}
    given = {k: read[k](v) if k in read and v is not None else v for k, v in options.items()}
    first, *others = experiment_layers(sources, evals, given)
    if not names:
        return [first, *others]
    if sources[0].endswith((".yaml", ".yml")):
        raise ConfigError(f"{sources[0]} names the datasets of an experiment: leave out --name.")
    return [{**first, "datasets": _named(first["datasets"], names)}, *others]


def _named(datasets: Tree, names: tuple[str, ...]) -> Tree:
    from seedbed.errors import ConfigError

    if len(names) != len(datasets) or len(set(names)) < len(names):
        raise ConfigError(
            f"`--name` is given {len(names)} times for {len(datasets)} sources: give each its own."
        )
    return dict(zip(names, datasets.values(), strict=True))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _rates(text: str) -> list[float]:
    from seedbed.errors import ConfigError

    try:
        return [] if text.strip() == "none" else [float(word) for word in _words(text)]
    except ValueError:
        raise ConfigError(f"`--rates` is {text!r}. Write numbers, as in 0.5,2; or none.") from None


def _folder_name(datasets: Any, sources: tuple[str, ...]) -> str:
    """Return what to call an experiment's folder."""
    return Path(sources[0]).stem if len(sources) == 1 else "-".join(datasets)[:60]


def _lines(results: Results, folder: Path) -> list[str]:
    """Return the verdict, the tables behind it, and where to read on."""
    from seedbed.experiments.wording import next_run_in_words

    race = results.race
    saved = f"The race saved {race.runs_saved} runs ({race.share_saved:.0%}).\n" if race else ""
    return [
        *_wrapped(results.verdict),
        "",
        *_ranking(results),
        "",
        *_pairs(results),
        "",
        *_matrix(results),
        "",
        *_wrapped(results.judged_on["explanation"]),
        *(_wrapped(next_run_in_words(results.next_run)) if results.next_run else ()),
        *saved.splitlines(),
        *(line for warning in results.warnings for line in _wrapped(f"Warning: {warning}")),
        f"The report is {folder / 'report.html'}",
    ]


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 100)


def _ranking(results: Results) -> list[str]:
    from seedbed.experiments.wording import aligned

    sure = f"{100 * (1 - results.alpha):g} % interval"
    rows = [["RANKING", "bits per byte", sure, "rank", "P(best)", "seeds"]]
    for dataset in results.datasets:
        best, worst = dataset.best_rank, dataset.worst_rank
        rows.append(
            [
                dataset.name,
                f"{dataset.score:.4f}",
                _interval(dataset.low, dataset.high),
                f"{best}" if best == worst else f"{best}-{worst}",
                "-" if math.isnan(dataset.p_best) else f"{dataset.p_best:.3f}",
                f"{dataset.seeds}",
            ]
        )
    return aligned(rows)


def _pairs(results: Results) -> list[str]:
    from seedbed.experiments.wording import aligned

    sure = f"{100 * (1 - results.alpha):g} % interval"
    rows = [["PAIRS", "difference", sure, "p adjusted", "verdict"]]
    rows += [
        [
            f"{pair.a} - {pair.b}",
            f"{pair.difference:+.4f}",
            _interval(pair.low, pair.high),
            _probability(pair.p_adjusted),
            pair.verdict,
        ]
        for pair in results.pairs
    ]
    return aligned(rows)


def _probability(p: float) -> str:
    if math.isnan(p):
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _interval(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}"


def _matrix(results: Results) -> list[str]:
    from seedbed.experiments.wording import aligned

    evals = list(next(iter(results.matrix.values())))
    rows = [["TRAINED ON \\ SCORED ON", *evals]]
    rows += [
        [name, *(f"{results.matrix[name][e].bits_per_byte:.4f}" for e in evals)]
        for name in results.ranking
    ]
    return aligned(rows)
