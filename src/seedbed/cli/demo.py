"""`seedbed demo`."""

from __future__ import annotations

from pathlib import Path

import click

PROMPTS = ("Once upon a time", "One day", "There was once")


@click.command("demo", epilog="Example: seedbed demo --minutes 2")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Folder for the data and the run.",
)
@click.option("--minutes", type=float, default=3.0, show_default=True, help="Of training, at most.")
@click.option("--stories", type=int, default=12_000, show_default=True, help="To learn from.")
def command(out: Path, minutes: float, stories: int) -> int:
    """Sample text, tokenizer, training, evaluation, stories: all in a few minutes.

    It does what you would do with text of your own, and shows the commands.
    """
    from seedbed.cli import eval as evaluate
    from seedbed.cli import generate, prepare, train

    data, run = out / "data", out / "run"
    steps = (
        (
            prepare.command,
            [f"sample:stories:{stories}", "--val-fraction", "0.03", "--out", str(data)],
        ),
        (train.command, ["--data", str(data), "--out", str(run), "--minutes", f"{minutes:g}"]),
        (evaluate.command, [str(run)]),
        (
            generate.command,
            [str(run), *(word for p in PROMPTS for word in ("--prompt", p)), "--seed", "1"],
        ),
    )
    for command_, arguments in steps:
        shown = " ".join(f'"{a}"' if " " in a else a for a in arguments)
        click.secho(f"\n$ seedbed {command_.name} {shown}", bold=True)
        code = command_.main(arguments, prog_name=f"seedbed {command_.name}", standalone_mode=False)
        if code:
            return int(code)
    return 0
