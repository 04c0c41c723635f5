"""The `seedbed` command: finds the subcommand, runs it, turns errors into messages and exit codes.

Exit codes: 0 done, 2 bad input or config, 75 stopped on request with its state saved, 130
interrupted with nothing to save, 1 anything else. Command modules load only when they are used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from seedbed import __version__
from seedbed.errors import UserError, did_you_mean, is_out_of_memory
from seedbed.files import is_full_disk

INTERRUPTED = 130

# Name -> first line of its help. The module is seedbed.cli.NAME, and holds `command`.
COMMANDS = {
    "demo": "Sample text, tokenizer, training, evaluation, stories: all in a few minutes.",
    "prepare": "Turn text into a dataset of tokens.",
    "describe": "Say what datasets are like, side by side.",
    "tokenizer": "Compare tokenizers on a text.",
    "train": "Train a model on a prepared dataset.",
    "finetune": "Teach a model to answer, from conversations.",
    "recipes": "List ready settings for `train`, or print one.",
    "eval": "Measure how well a model predicts a text, or what it writes.",
    "generate": "Write text with a model.",
    "chat": "Talk with a model that was fine-tuned on conversations.",
    "compare": "Find out which dataset is best, and how sure that is.",
    "mix": "Find the mixture of datasets that is best for a target text.",
    "ladder": "Compare datasets at several sizes, and foretell what larger ones would say.",
    "push": "Upload a model to the Hugging Face Hub.",
    "plot": "Draw the training and validation curves of runs.",
    "runs": "List runs: their state, size, data, and best score.",
    "doctor": "Say what this machine can do, what a run would cost, or what is wrong with a run.",
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"seedbed.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS) or f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"`{args[0]}` is not a command.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: seedbed demo",
)
@click.version_option(__version__, prog_name="seedbed")
def cli() -> None:
    """Grow small language models from text, and tell which text grows the best one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; messages go to stderr."""
    try:
        code = cli.main(args=arguments, prog_name="seedbed", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        click.echo(f"error: {_no_memory(error)}", err=True)
        return 2
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        click.echo(f"error: {error.filename}: {error.strerror}.", err=True)
        return 2
    except OSError as error:
        if not is_full_disk(error):
            raise
        click.echo(
            f"error: the disk is full ({error}). Free some space and run it again.", err=True
        )
        return 2
    return code if isinstance(code, int) else 0


def _no_memory(error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0] or "the system has no more"
    return (
        f"There is not enough memory for this: {reason.rstrip('.')}. Close what else takes memory, "
        "or ask for less: a smaller --size or checkpoint, a shorter model.context_length or "
        "window, fewer sequences at a time (micro_batch_size) or fewer workers."
    )
