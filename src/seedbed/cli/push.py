"""`seedbed push`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import json_option, print_result

if TYPE_CHECKING:
    from seedbed.evaluation.evaluate import EvalReport
    from seedbed.export.hub import Push


@click.command("push", epilog="Example: seedbed push runs/stories ada/stories-3m --dry-run")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("repo")
@click.option("--private", is_flag=True, help="A new repository is private.  [default: public]")
@click.option(
    "--token",
    help="That may write.  [default: HF_TOKEN, or what `hf auth login` stored]",
)
@click.option("--message", help="Of the commit.  [default: Upload, and the checkpoint's name]")
@click.option("--revision", help="Branch to write to, made if it is not there.  [default: main]")
@click.option(
    "--license",
    "license_name",
    default="unknown",
    show_default=True,
    help="For the model card: an identifier such as apache-2.0.",
)
@click.option("--card", type=click.Path(path_type=Path), help="A README.md of your own.")
@click.option(
    "--evaluate",
    "measure",
    is_flag=True,
    help="Measure on the whole validation split for the card.",
)
@click.option(
    "--with-training",
    is_flag=True,
    help="Also the optimizer's state and the manifest, for Seedbed to go on from.",
)
@click.option("--dry-run", is_flag=True, help="Send nothing: print the model card.")
@json_option
def command(
    checkpoint: Path, repo: str, measure: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Upload a model to the Hugging Face Hub.

    CHECKPOINT is a checkpoint or a run (its best checkpoint); REPO is OWNER/NAME. What is sent is
    the model folder that `transformers` loads, and a README.md that says what is known of the
    model: look at it with --dry-run first. A README.md that stands there is replaced.
    """
    from seedbed.export.hub import check_name, push

    check_name(repo)  # before minutes of measuring
    report = _measure(checkpoint) if measure else None
    pushed = push(
        checkpoint,
        repo,
        report=report,
        dry_run=dry_run,
        note=lambda text: click.echo(text, err=True),
        **options,
    )
    print_result(pushed, as_json, lambda: _lines(pushed))


def _measure(checkpoint: Path) -> EvalReport:
    from seedbed.evaluation.evaluate import evaluate
    from seedbed.progress import Progress

    with Progress("evaluating", None, unit="tokens") as progress:

        def show(done: int, total: int) -> None:
            progress.total = total
            progress.update(done)

        return evaluate(checkpoint, progress=show, note=progress.note)


def _lines(pushed: Push) -> list[str]:
    return [pushed.card.rstrip()] if pushed.url is None else [pushed.url]
