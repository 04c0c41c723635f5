"""`seedbed finetune`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.imports import import_at_once
from seedbed.cli.output import json_option, print_result
from seedbed.cli.train import SETTING_OF_OPTION, result_lines, tree_of

if TYPE_CHECKING:
    from seedbed.config import Tree

_SETTING_OF_OPTION = {
    **SETTING_OF_OPTION,
    "data": "finetune.sources",
    "val": "finetune.val",
    "val_fraction": "finetune.val_fraction",
    "method": "finetune.method",
    "lora_rank": "finetune.lora.rank",
    "lora_alpha": "finetune.lora.alpha",
    "beta": "finetune.beta",
    "tokenizer": "finetune.tokenizer",
    "replay": "finetune.replay",
    "replay_share": "finetune.replay_share",
    "learning_rate": "optimizer.learning_rate",
}


@click.command(
    "finetune",
    epilog="Example: seedbed finetune runs/stories --data chats.jsonl --out runs/chat --epochs 3",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="SOURCE",
    help="Conversations (with --method dpo, pairs of answers); may be given several times.",
)
@click.option("--out", type=click.Path(), help="Run folder.  [default: runs/CHECKPOINT-chat]")
@click.option("--val", multiple=True, metavar="SOURCE", help="Conversations held out.")
@click.option("--val-fraction", type=float, help="Held out without --val.  [default: by size]")
@click.option(
    "--method", type=click.Choice(["sft", "dpo"]), help="Answers (default), or preferences."
)
@click.option("--lora-rank", type=int, help="Train a change of this rank, not every weight.")
@click.option("--lora-alpha", type=float, help="The change counts ALPHA / RANK.  [default: 2 RANK]")
@click.option(
    "--beta", type=float, help="Of dpo: how closely to keep to the start.  [default: 0.1]"
)
@click.option("--tokenizer", help="Another tokenizer: rows of tokens with equal bytes are kept.")
@click.option(
    "--replay",
    metavar="DIR",
    help="Prepared dataset to go on learning from beside, against forgetting.",
)
@click.option("--replay-share", type=float, help="Its share of each step.  [default: 0.2]")
@click.option("--steps", type=int, help="Train for so many steps.")
@click.option("--epochs", type=float, help="See each conversation so often.  [default: 3]")
@click.option("--minutes", type=float, help="Train for at most so long.")
@click.option("--learning-rate", type=float, help="At the peak.  [default: by rule]")
@click.option("--precision", help="auto (default), fp32, tf32, bf16 or fp16.")
@click.option("--compile", "compile_", help="auto (default), on or off.")
@click.option("--seed", type=int, help="Of order, adapter and dropout.  [default: 1337]")
@click.option("--checkpoint-every", type=int, help="Steps between checkpoints.")
@click.option("--eval-every", type=int, help="Steps between evaluations.")
@click.option(
    "--resume",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="auto: go on where the run in --out stopped.",
)
@json_option
@click.argument("settings", nargs=-1, metavar="[KEY.PATH=VALUE]...")
def command(
    checkpoint: Path, settings: tuple[str, ...], resume: Any, as_json: bool, **options: Any
) -> int:
    """Teach a model to answer, from conversations.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). SOURCE is a file, folder or hf:NAME
    with conversations: messages, ShareGPT, Alpaca, prompt and completion, or text with <user> and
    <assistant>; or sample:chats. Only what the assistant says is learned; one conversation is shown
    before it starts, what is learned marked. Pairs of answers (prompt, chosen, rejected) are for
    --method dpo. Other settings of `seedbed train` can be given as KEY.PATH=VALUE. Ctrl-C saves the
    state and stops (exit code 75); the same command goes on from there.
    """
    started = time.perf_counter()  # importing torch counts too

    from seedbed.config import build, merge, parse_overrides
    from seedbed.errors import ConfigError
    from seedbed.training.config import TrainConfig

    given = {key: value for key, value in options.items() if value not in (None, ())}
    tree: Tree = {
        "out": str(Path("runs") / f"{_name_of(checkpoint)}-chat"),
        "finetune": {"checkpoint": str(checkpoint)},
    }
    overrides = parse_overrides(settings)
    for name in {"data", "from_checkpoint"} & overrides.keys():
        raise ConfigError(
            f"`{name}` is a folder that fine-tuning makes in the run. --data says what to learn, "
            "and CHECKPOINT what to start from."
        )
    config = build(TrainConfig, merge(tree, tree_of(given, _SETTING_OF_OPTION), overrides))
    import_at_once("seedbed.training.finetune")
    from seedbed.training.finetune import finetune
    from seedbed.training.loop import DivergedError
    from seedbed.training.stopping import STOPPED

    def note(text: str) -> None:
        click.echo(text, err=True)

    try:
        result = finetune(config, resume=resume, started=started, note=note)
    except DivergedError as error:
        raise click.ClickException(str(error)) from None
    print_result(result, as_json, lambda: result_lines(result))
    return STOPPED if result.state == "stopped" else 0


def _name_of(checkpoint: Path) -> str:
    """Return the name of the run that a checkpoint is of."""
    folder = checkpoint.resolve()
    return folder.parent.parent.name if folder.parent.name == "checkpoints" else folder.name
