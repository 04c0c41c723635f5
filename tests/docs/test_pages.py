"""What the pages under docs/ tell a reader to type works. Only sizes are made smaller."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from doc_blocks import ROOT, Block, blocks_of
from seedbed.cli.main import COMMANDS, run
from seedbed.data.samples import sample_stories
from seedbed.training.config import TrainConfig

PAGES = [
    "getting-started",
    "chat",
    "comparing-datasets",
    "data-advice",
    "troubleshooting",
    "coming-from",
    "times",
]
SMALLER = {
    r"--minutes [\d.]+": "--steps 2 evaluation.tokens=512 samples.tokens=4",
    r"--steps \d{3,}": "--steps 2 evaluation.tokens=512 samples.tokens=4",
    r"--epochs \d+": "--epochs 0.1 evaluation.tokens=512 samples.tokens=4 batch_size=2",
    r"stories:\d+": "stories:60",
    r"seedbed generate \S+": r"\g<0> --max-new-tokens 8",
    r"seedbed prepare ": r"\g<0>--workers 1 ",
}
BEFORE = {  # what the reader of a page has done
    "troubleshooting": (
        "seedbed prepare my-text --out data/mine",
        "seedbed train --data data/mine --out runs/mine --minutes 10",
    )
}
RECIPES = {path.stem for path in (ROOT / "src" / "seedbed" / "recipes").glob("*.yaml")}
REASONS = re.compile(r"it (installs|needs a network|needs a GPU|trains for minutes|takes minutes)")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with `my-text` in it, as the reader has."""
    (tmp_path / "my-text").mkdir()
    stories = "\n<|endoftext|>\n".join(sample_stories(60, seed=3))
    (tmp_path / "my-text" / "stories.txt").write_text(stories, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def smaller(line: str) -> str:
    for large, small in SMALLER.items():
        line = re.sub(large, small, line)
    return line + " --size 0.5m" if is_new_model(line) else line


def is_new_model(line: str) -> bool:
    """Return whether the line trains a model whose size it leaves open."""
    return " train " in line and not re.search(r" --(size|from|recipe) ", line)


def context_of(line: str) -> click.Context:
    """Return the parsed command line; raises what click finds wrong with it."""
    _, name, *words = shlex.split(line)
    command = importlib.import_module(f"seedbed.cli.{name}").command
    return command.make_context(name, words)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_from_top_to_bottom(
    page: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in blocks_of(ROOT / "docs" / f"{page}.md"):
        assert block.reason or block.language == "bash"
    lines = [line for block in run_blocks(page) for line in block.lines]
    for line in (*BEFORE.get(page, ()), *lines):
        _, *words = shlex.split(smaller(line))
        code = run(words)
        shown = capsys.readouterr()
        assert code == 0, f"{line}\n{shown.err}"
        assert shown.out.strip(), f"{line} printed nothing"


def run_blocks(page: str) -> list[Block]:
    return [b for b in blocks_of(ROOT / "docs" / f"{page}.md") if b.reason is None]


@pytest.mark.parametrize("page", PAGES)
def test_what_runs_is_seedbed_alone_and_what_does_not_says_why(page: str) -> None:
    for block in blocks_of(ROOT / "docs" / f"{page}.md"):
        if block.reason is None:
            assert all(line.startswith("seedbed ") for line in block.lines)
            assert not any(set(line) & set("|<>$;&") for line in block.lines)
            continue
        assert REASONS.match(block.reason), block.reason
        for line in block.lines:
            if line.startswith("seedbed "):
                context_of(line).close()


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_inside_a_line_are_real(page: str) -> None:
    known = {name: set(_options(name)) for name in COMMANDS}
    everywhere = set().union(*known.values())
    for span in _spans(page):
        words = span.split()
        if words[0] == "seedbed" and len(words) > 1:
            assert words[1] in known, span
            options = {word for word in words[2:] if word.startswith("--")}
            assert options <= known[words[1]], span
        elif words[0].startswith("--"):
            assert {word for word in words if word.startswith("--")} <= everywhere, span
        assert set(re.findall(r"--recipe ([\w-]+)", span)) <= RECIPES, span


@pytest.mark.parametrize("page", PAGES)
def test_settings_inside_a_line_are_real(page: str) -> None:
    groups = r"(?<![\w./])(model|optimizer|schedule|evaluation|checkpoint|samples)\.([a-z_0-9]+)"
    files = {"safetensors", "py", "jsonl"}
    for span in _spans(page):
        for group, name in re.findall(groups, span):
            settings = TrainConfig.model_fields[group].annotation
            assert isinstance(settings, type)
            assert issubclass(settings, BaseModel)
            assert name in files or name in settings.model_fields, span
        for name in re.findall(r"^([a-z_]+)=", span):
            assert name in TrainConfig.model_fields, span


def _spans(page: str) -> Iterator[str]:
    """Yield code within lines; of tables, ours alone: what stands after the first cell."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    if page == "coming-from":
        prose = re.sub(r"^\|[^|\n]*\|", "|", prose, flags=re.MULTILINE)
    for span in re.findall(r"`([^`\n]+)`", prose.replace("\n", " ")):
        if span.strip():
            yield span


def _options(name: str) -> Iterator[str]:
    command: click.Command = importlib.import_module(f"seedbed.cli.{name}").command
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    for part in (command, *inner):
        for parameter in part.params:
            yield from parameter.opts
            yield from parameter.secondary_opts


def test_every_page_is_tested_or_written_by_a_program() -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages == {*PAGES, "commands", "experiments"}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [("seedbed train --dat x", "--dat"), ("seedbed push a", "repo")],
)
def test_a_line_that_is_wrong_is_noticed(line: str, wrong: str) -> None:
    with pytest.raises(click.UsageError, match=wrong):
        context_of(line)
