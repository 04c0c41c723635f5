"""`seedbed doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import json_option, print_result
from seedbed.cli.train import layers, settings_options

if TYPE_CHECKING:
    from seedbed.doctor.cost import RunCost
    from seedbed.doctor.diagnosis import Diagnosis
    from seedbed.doctor.machine import MachineReport


@click.command("doctor", epilog="Example: seedbed doctor --data data/stories --size 3m")
@settings_options
@click.option(
    "--timed/--not-timed",
    default=True,
    show_default=True,
    help="With --data: do some steps of the run to learn what they take.",
)
@json_option
@click.argument("words", nargs=-1, metavar="[RUN] | [KEY.PATH=VALUE]...")
def command(words: tuple[str, ...], timed: bool, as_json: bool, **options: Any) -> int:
    """Say what this machine can do, what a run would cost, or what is wrong with a run.

    With nothing: this machine. With --data, and settings as for `train`: the memory, time and disk
    that the run would take. With the folder of a RUN: what is wrong with it and what to do.
    """
    given = any(value is not None for value in options.values())
    runs = [word for word in words if "=" not in word or Path(word).is_dir()]
    if runs and (given or len(words) > 1):
        raise click.UsageError("Give the folder of one run, or --data and settings: not both.")
    if runs:
        return _diagnose(Path(runs[0]), as_json)
    if given or words:
        return _estimate(layers(words, options), timed, as_json)
    return _examine(as_json)


def _examine(as_json: bool) -> int:
    from seedbed.doctor.machine import examine_machine

    report = examine_machine(note=lambda text: click.echo(text, err=True))
    print_result(report, as_json, lambda: _machine_lines(report))
    return 0


def _estimate(tree: list[dict[str, Any]], timed: bool, as_json: bool) -> int:
    from seedbed.config import build
    from seedbed.doctor.cost import estimate_cost
    from seedbed.training.config import TrainConfig

    if timed:
        click.echo("doing some steps of this run in another process", err=True)
    cost = estimate_cost(build(TrainConfig, *tree), timed=timed)
    print_result(cost, as_json, lambda: _cost_lines(cost))
    return 0


def _diagnose(run: Path, as_json: bool) -> int:
    from seedbed.doctor.diagnosis import diagnose

    diagnosis = diagnose(run, note=lambda text: click.echo(text, err=True))
    print_result(diagnosis, as_json, lambda: _diagnosis_lines(diagnosis))
    return 0


def _machine_lines(report: MachineReport) -> list[str]:
    from seedbed.doctor.machine import EXTRAS
    from seedbed.errors import how_to_install

    lines = [
        f"processor  {report.processor}, {report.cores} cores, {report.threads} threads",
        f"memory     {report.memory_available / 1e9:.1f} GB free of {report.memory / 1e9:.1f}",
        f"disk       {report.disk_free / 1e9:.1f} GB free of {report.disk / 1e9:.1f}",
        f"GPU        {'; '.join(report.gpus) or 'none'}",
        f"software   Python {report.python}, torch {report.torch}",
        f"compile    {'yes' if report.can_compile else 'no'}",
        f"auto takes {report.device}, {report.precision}",
        "products   "
        + ", ".join(
            f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in report.matmul_flops.items()
        ),
        "training   "
        + ", ".join(f"{size} {rate:,.0f}" for size, rate in report.tokens_per_second.items())
        + " tokens/s, roughly; --data DIR tells a run's own",
    ]
    for name, (_modules, gives) in EXTRAS.items():
        missing = report.extras[name]
        state = f"missing: {', '.join(missing)}; {how_to_install(name)}"
        lines.append(f"extra      {name} ({gives}): {state if missing else 'there'}")
    for problem in report.problems:
        lines += [f"problem    {problem.what}", f"           {problem.remedy}"]
    return lines if report.problems else [*lines, "no problems found"]


def _cost_lines(cost: RunCost) -> list[str]:
    parts = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in cost.memory_parts.items())
    lines = [
        f"model      {cost.parameters:,} parameters ({cost.parameters_in_embeddings:,} "
        f"embeddings); {cost.shape}",
        f"computing  {cost.precision} on {cost.device}{', compiled' if cost.compiled else ''}; "
        f"{cost.batch_tokens:,} tokens a step",
        f"memory     {cost.memory / 1e9:.2f} GB ({parts} MB); "
        f"{cost.memory_available / 1e9:.1f} GB are free",
        f"steps      {cost.steps:,}: {cost.tokens:,} tokens, {cost.epochs:.2f} epochs",
        f"time       {_duration(cost.seconds)}: {cost.seconds_per_step:.3g} s a step, "
        f"{cost.tokens_per_second:,.0f} tokens/s",
        f"           ({cost.how_timed})",
        f"disk       {cost.disk / 1e6:,.0f} MB at most, {cost.checkpoint / 1e6:,.0f} MB a "
        f"checkpoint; {cost.disk_free / 1e9:.1f} GB are free",
    ]
    return [*lines, *(f"warning    {warning}" for warning in cost.warnings)]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    lines = [f"{diagnosis.run}: {diagnosis.state}"]
    for finding in diagnosis.findings:
        lines += [
            f"{finding.severity}: {finding.name}",
            f"  seen  {finding.evidence}",
            f"  do    {finding.advice}",
        ]
    if not diagnosis.findings:
        lines.append("nothing wrong found")
    lines.append(f"checked: {', '.join(diagnosis.checked) or 'nothing'}")
    lines += [f"not checked: {name}: {why}" for name, why in diagnosis.not_checked.items()]
    return lines
