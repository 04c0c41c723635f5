"""`seedbed runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import json_option, print_result

if TYPE_CHECKING:
    from seedbed.training.run_details import RunComparison, RunDetails
    from seedbed.training.run_summary import RunSummary


class _Runs(click.Group):
    """A group that says what to do with a folder in the place of a subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(
                f"`{args[0]}` is neither show nor compare. Try `seedbed runs --in {args[0]}` or "
                f"`seedbed runs show {args[0]}`.",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group(
    "runs",
    cls=_Runs,
    invoke_without_command=True,
    epilog="Example: seedbed runs --in runs --sort score",
)
@click.option(
    "--in",
    "folder",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="Folder that holds runs, at any depth.",
)
@click.option(
    "--sort",
    type=click.Choice(["newest", "score"]),
    default="newest",
    show_default=True,
    help="What comes first: the newest, or the fewest bits per byte.",
)
@json_option
@click.pass_context
def command(context: click.Context, folder: Path, sort: Any, as_json: bool) -> None:
    """List runs: their state, size, data, and best score.

    A run that says it is running while no process works on it has crashed; the same `seedbed train`
    goes on with it. `seedbed runs show RUN` tells more of one; `seedbed runs compare RUN RUN` shows
    where runs differ.
    """
    if context.invoked_subcommand is not None:
        return
    from seedbed.training.run_summary import list_runs

    runs = list_runs(folder, sort=sort)
    print_result([vars(run) for run in runs], as_json, lambda: _list(runs, folder))


@command.command("show", epilog="Example: seedbed runs show runs/stories")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def show(run: Path, as_json: bool) -> None:
    """Show one run: settings, data, machine, scores, samples, checkpoints, and what to do next."""
    from seedbed.training.run_details import show_run

    details = show_run(run)
    print_result(details, as_json, lambda: _details(details))


@command.command("compare", epilog="Example: seedbed runs compare runs/stories runs/small")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@json_option
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Show the settings in which runs differ, and their results beside them."""
    from seedbed.training.run_details import compare_runs

    if len(runs) < 2:
        raise click.UsageError("There is nothing to compare one run with: give two or more.")
    comparison = compare_runs(runs)
    print_result(comparison, as_json, lambda: _comparison(comparison))


def _list(runs: list[RunSummary], folder: Path) -> list[str]:
    if not runs:
        return [f"no runs in {folder}"]
    head = ["run", "state", "size", "data", "step", "bits/byte", "val loss", "tokens/s", "age"]
    rows = [
        [
            str(run.run),
            run.state,
            short_count(run.parameters),
            _name_of_data(run),
            _progress(run),
            _figure(run.best_bits_per_byte, 4),
            _figure(run.best_loss, 4),
            _figure(run.tokens_per_second, 0),
            _age(run.updated),
        ]
        for run in runs
    ]
    problems = [f"{run.run}: {run.problem}" for run in runs if run.problem]
    return [*table([head, *rows]), *([""] if problems else []), *problems]


def _details(details: RunDetails) -> list[str]:
    run = details.summary
    lines = [f"{run.run}: {run.state}, step {_progress(run)}, {_age(run.updated)} ago"]
    if run.problem:
        lines.append(run.problem)
    asked = [f"{key}={value}" for key, value in details.settings.items()]
    facts = [
        ["asked for", ", ".join(asked) or "-"],
        ["model", _model(details)],
        ["data", _data(details)],
        ["machine", _machine(details)],
        ["seen", _seen(run)],
        ["best", _best(run)],
    ]
    lines += ["", *table(facts, numbers=False)]
    if details.evaluations:
        head = ["step", "train loss", "val loss", "bits/byte"]
        keys = ("train_loss", "val_loss", "val_bits_per_byte")
        rows = [
            [f"{r['step']:,}", *(_figure(r.get(k), 4) for k in keys)] for r in details.evaluations
        ]
        lines += ["", *table([head, *rows])]
    for sample in details.samples:
        lines += ["", f"sample at step {sample['step']:,}:"]
        lines += [f"  {line}" for line in f"{sample.get('prompt')}{sample.get('text')}".split("\n")]
    if details.checkpoints:
        rows = [
            [str(c.path), f"{c.bytes / 1e6:,.1f} MB", ", ".join(c.names)]
            for c in details.checkpoints
        ]
        lines += ["", *table([["checkpoint", "size", ""], *rows])]
    return [*lines, "", *details.commands]


def _comparison(comparison: RunComparison) -> list[str]:
    runs = comparison.runs
    rows = [["", *(str(run.run) for run in runs)]]
    rows += [[key, *map(_value, values)] for key, values in comparison.settings.items()]
    if not comparison.settings:
        rows.append(["(the same settings)"] + [""] * len(runs))
    rows.append([""] * (len(runs) + 1))
    rows += [
        ["state", *(run.state for run in runs)],
        ["step", *(_progress(run) for run in runs)],
        ["parameters", *(_figure(run.parameters, 0) for run in runs)],
        ["best bits per byte", *(_figure(run.best_bits_per_byte, 4) for run in runs)],
        ["best validation loss", *(_figure(run.best_loss, 4) for run in runs)],
        ["at step", *(_figure(run.best_step, 0) for run in runs)],
        ["last validation loss", *(_figure(run.last_loss, 4) for run in runs)],
        ["last training loss", *(_figure(run.train_loss, 4) for run in runs)],
        ["tokens seen", *(_figure(run.tokens, 0) for run in runs)],
        ["seconds", *(_figure(run.seconds, 0) for run in runs)],
        ["tokens/s", *(_figure(run.tokens_per_second, 0) for run in runs)],
    ]
    return [*table(rows), *(["", *comparison.cautions] if comparison.cautions else [])]


def table(rows: list[list[str]], *, numbers: bool = True) -> list[str]:
    """Return the rows as lines with aligned columns; `numbers` stand at the right of theirs.

    >>> table([["run", "step"], ["runs/a", "9"], ["b", "100"]])
    ['run     step', 'runs/a     9', 'b        100']
    """
    from rich.cells import cell_len  # wide characters take two places

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    right = [numbers and _is_numeric(column) for column in zip(*rows[1:], strict=True)]
    lines: list[str] = []
    for row in rows:
        cells: list[str] = []
        for text, width, to_right in zip(row, widths, right, strict=True):
            space = " " * (width - cell_len(text))
            cells.append(space + text if to_right else text + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def _is_numeric(column: tuple[str, ...]) -> bool:
    return all(text in ("", "-") or text[0].isdecimal() for text in column)


def short_count(number: float | None) -> str:
    """Return a number of parameters in three digits.

    >>> short_count(92_837_376), short_count(498_912)
    ('92.8m', '0.499m')
    """
    return "-" if number is None else f"{number / 1e6:#.3g}m".replace(".m", "m")


def _progress(run: RunSummary) -> str:
    return f"{run.step:,} of {run.steps:,}" if run.steps else f"{run.step:,}"


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _value(value: Any) -> str:
    return "-" if value is None else str(value)


def _age(timestamp: str) -> str:
    """Return how long ago a moment was, in its largest unit."""
    from datetime import UTC, datetime

    seconds = (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def _model(details: RunDetails) -> str:
    shape = details.model
    if not shape:
        return "-"
    return (
        f"{_figure(details.summary.parameters, 0)} parameters, {shape['preset']}: "
        f"{shape['num_layers']} layers, {shape['d_model']} wide, context {shape['context_length']}"
    )


def _name_of_data(run: RunSummary) -> str:
    if run.data is None:
        return "-"
    return "conversations" if run.data == run.run / "data" else run.data.name


def _data(details: RunDetails) -> str:
    data = details.dataset
    if not data:
        return f"{details.summary.data or '-'} (no longer there, or made anew since)"
    text = (
        f"{details.summary.data}: {data['train']['tokens']:,} tokens, tokenizer "
        f"{data['tokenizer']['kind']} of {data['vocab_size']:,}"
    )
    if data.get("baseline"):
        text += f", n-gram baseline {data['baseline']['bits_per_byte']:.3f} bits per byte"
    return text


def _machine(details: RunDetails) -> str:
    machine = details.machine
    if not machine:
        return "-"
    packages = machine.get("packages", {})
    return (
        f"{machine.get('cores') or '?'} cores, {machine.get('platform')}, "
        f"Python {machine.get('python')}, torch {packages.get('torch')}"
    )


def _seen(run: RunSummary) -> str:
    if run.tokens is None or run.seconds is None:
        return "-"
    minutes, seconds = divmod(round(run.seconds), 60)
    return (
        f"{run.tokens:,} tokens in {minutes}:{seconds:02d} min, "
        f"{_figure(run.tokens_per_second, 0)} tokens/s"
    )


def _best(run: RunSummary) -> str:
    if run.best_loss is None:
        return "-"
    return (
        f"{_figure(run.best_bits_per_byte, 4)} bits per byte, validation loss {run.best_loss:.4f}, "
        f"at step {run.best_step:,}; last validation loss {_figure(run.last_loss, 4)}"
    )
