"""The code blocks of a Markdown page, and which of them are to be run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(?:<!-- not run by the tests: ([^\n]*) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    reason: str | None  # why it is not run; None where it is

    @property
    def lines(self) -> list[str]:
        """Its commands, each in one line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Return the code blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[2], m[3], m[1]) for m in _BLOCK.finditer(text)]
