"""`seedbed eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import (
    device_option,
    document_separator_option,
    json_option,
    print_result,
    text_field_option,
)

if TYPE_CHECKING:
    from seedbed.evaluation.evaluate import EvalReport


@click.command("eval", epilog="Example: seedbed eval runs/stories --json")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Prepared dataset.")
@click.option("--text", metavar="SOURCE", help="Any text instead: a file, a folder, a glob.")
@click.option(
    "--split",
    type=click.Choice(["val", "train"]),
    default="val",
    show_default=True,
    help="Which part of the dataset.",
)
@text_field_option
@document_separator_option
@device_option
@json_option
def command(checkpoint: Path, as_json: bool, **options: Any) -> None:
    """Measure how well a model predicts a text.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). Without --data and --text, the
    dataset that the run was trained on. Bits per byte compare models with any tokenizers; loss and
    perplexity are per token. The n-gram baseline says what counting bytes alone would reach.
    """
    from seedbed.evaluation.evaluate import evaluate
    from seedbed.progress import Progress

    with Progress("evaluating", None, unit="tokens") as progress:

        def show(done: int, total: int) -> None:
            progress.total = total
            progress.update(done)

        report = evaluate(checkpoint, progress=show, note=progress.note, **options)
    print_result(report, as_json, lambda: _lines(report))


def _lines(report: EvalReport) -> list[str]:
    error = "" if report.standard_error is None else f" +- {report.standard_error:.4f}"
    lines = [
        f"bits per byte  {report.bits_per_byte:.4f}{error}",
        f"loss           {report.loss:.4f} nats per token",
        f"perplexity     {report.perplexity:.2f} per token",
        f"on             {report.documents:,} documents, {report.bytes:,} bytes, "
        f"{report.tokens:,} tokens",
    ]
    if report.baseline_bits_per_byte is not None:
        lines.append(f"baseline       {report.baseline_bits_per_byte:.4f} (byte n-grams)")
    return lines
