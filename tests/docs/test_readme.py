"""What the README tells a reader to type works. Only sizes are made smaller."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from doc_blocks import ROOT, Block, blocks_of
from seedbed.data.samples import sample_stories

SMALLER = {
    "--minutes 10": "--minutes 0.02 batch_size=2",
    "OWNER/NAME": "someone/stories",
    '"10 minutes"': '"0.02 minutes", batch_size=2',
    "--samples 3": "--samples 3 --max-new-tokens 20",
    "max_new_tokens=100": "max_new_tokens=20",
}


BLOCKS = blocks_of(ROOT / "README.md")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with `my-text` in it, as the reader has."""
    (tmp_path / "my-text").mkdir()
    stories = "\n<|endoftext|>\n".join(sample_stories(60, seed=3))
    (tmp_path / "my-text" / "stories.txt").write_text(stories, encoding="utf-8")
    return tmp_path


def test_the_examples_run_from_top_to_bottom(home: Path) -> None:
    printed = ""
    for block in BLOCKS:
        if block.reason is None:
            finished = run(block, home)
            assert finished.returncode == 0, f"{block.text}\n{finished.stderr}"
            printed += finished.stdout
    assert printed.count("Once upon a time") == 6  # three samples, the card, transformers, Python
    assert printed.count("nothing to do") == 1  # the same command again


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    text = block.text
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    command = {"bash": ["bash", "-euc"], "python": [sys.executable, "-c"]}[block.language]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*command, text],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_examples_that_do_not_run_only_install_and_make() -> None:
    lines = [line for b in BLOCKS if b.reason for line in b.lines]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in lines:
        tool, *words = line.partition("#")[0].split()
        assert tool in ("pip", "make")
        assert tool == "pip" or words[0] in targets


def test_every_extra_is_named_and_those_that_are_named_exist() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert _extras_in(ROOT / "README.md") == extras.keys()
    for page in (*ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*.ipynb")):
        assert _extras_in(page) <= extras.keys(), page.name


def _extras_in(page: Path) -> set[str]:
    found = re.findall(r"\.\[([a-z,]+)\]", page.read_text(encoding="utf-8"))
    return {name for names in found for name in names.split(",")}


def test_torch_is_asked_for_in_the_version_that_was_tested() -> None:
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for page in (ROOT / "README.md", ROOT / "docs" / "getting-started.md"):
        named = re.findall(r"torch==[\d.]+", page.read_text(encoding="utf-8"))
        assert named, page.name
        assert set(named) <= set(tested), page.name


def test_the_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for link in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
