"""Write docs/commands.md from the commands themselves.

python docs/make_commands.py            writes the file
python docs/make_commands.py --check    fails when the file says something else
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from seedbed.cli.main import cli

REFERENCE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands

What `seedbed COMMAND --help` says, for every command. `make docs` writes this page.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 2 bad input or settings,
75 stopped on request with the state saved, 130 interrupted with nothing to save, 1 anything else.
"""


def reference() -> str:
    """Return the whole page."""
    group = click.Context(cli, info_name="seedbed")
    sections = [HEAD]
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=group)
        sections.append(section(context))
        if isinstance(command, click.Group):
            for part, subcommand in command.commands.items():
                inner = click.Context(subcommand, info_name=part, parent=context)
                sections.append(section(inner))
    return "\n".join(sections)


def section(context: click.Context) -> str:
    """Return what there is to say of one command: usage, description, options, example."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [option for option in command.params if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    rows = [f"| `{cell(names)}` | {cell(text)} |" for names, text in records]
    parts = [
        f"## {context.command_path}",
        f"    {usage}",
        inspect.cleandoc(command.help or ""),
        "\n".join(["| Option | |", "|---|---|", *rows]),
    ]
    if command.epilog:
        label, _, example = command.epilog.partition(": ")
        parts.append(f"{label}:\n\n    {example}")
    return "\n\n".join(parts) + "\n"


def cell(text: str) -> str:
    r"""Return the text as it must stand in a Markdown table.

    >>> cell("KIND|PATH")
    'KIND\\|PATH'
    """
    return text.replace("|", "\\|").replace("<", "\\<").replace("  [", " [")


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    page = reference()
    if "--check" not in sys.argv[1:]:
        REFERENCE.write_text(page, encoding="utf-8")
        return 0
    if REFERENCE.is_file() and REFERENCE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/commands.md is not what the commands say. `make docs` writes it.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
