"""Texts of which it is known what is better: stories, a second corpus, and ways to damage text."""

from __future__ import annotations

import json
import random
import string
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from harness import ROOT, blocks_of, real_text

CODE_BLOCK = 2048  # characters
HELD_OUT_FILE = 8  # every so many files of code

Damage = Callable[[str, random.Random], str]


def stories(quick: bool, *, held_out: bool = False) -> list[str]:
    """Return different stories: TinyStories, or the made-up ones of the quick form."""
    if quick:
        from seedbed.data.samples import sample_stories

        told = sample_stories(60 if held_out else 300, seed=2 if held_out else 1)
    else:
        text = _read("tinystories", "valid.txt" if held_out else "train.txt")
        told = map(str.strip, text.split("<|endoftext|>"))
    return list(dict.fromkeys(filter(None, told)))


def code(quick: bool, *, held_out: bool = False) -> list[str]:
    """Return blocks of Python files, other files held out; a made-up language in the quick form."""
    if quick:
        sys.path.insert(0, str(ROOT / "tests"))
        from made_up_languages import documents  # pyright: ignore[reportMissingImports]

        return list(documents(1, 30 if held_out else 120, seed=int(held_out)))
    files = [json.loads(line)["text"] for line in _read("code", "python_stdlib.jsonl").splitlines()]
    chosen = [text for n, text in enumerate(files) if (n % HELD_OUT_FILE == 4) == held_out]
    blocks = (block for text in chosen for block in blocks_of(text, CODE_BLOCK))
    return list(dict.fromkeys(filter(None, blocks)))


def _read(folder: str, name: str) -> str:
    return real_text(folder, name).read_text(encoding="utf-8")


def first_bytes(documents: Iterable[str], size: int) -> list[str]:
    """Return the first documents that have `size` bytes together."""
    taken: list[str] = []
    for text in documents:
        if size <= 0:
            break
        taken.append(text)
        size -= len(text.encode())
    return taken


def bytes_of(documents: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in documents)


def write_documents(path: Path, documents: Iterable[str]) -> str:
    """Write one JSON record a document; return the path as a source."""
    lines = [json.dumps({"text": text}) + "\n" for text in documents]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


# --- damage --------------------------------------------------------------------------------------


def damaged(documents: Iterable[str], damage: Damage, *, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [damage(text, draw) for text in documents]


def shuffled_words(share: float) -> Damage:
    """Return the damage that lets a share of a document's words change places."""

    def damage(text: str, draw: random.Random) -> str:
        words = text.split(" ")
        moved = draw.sample(range(len(words)), round(share * len(words)))
        for place, word in zip(sorted(moved), [words[n] for n in moved], strict=True):
            words[place] = word
        return " ".join(words)

    return damage


def character_noise(share: float) -> Damage:
    """Return the damage that makes random letters of a share of the characters."""

    def damage(text: str, draw: random.Random) -> str:
        letters = string.ascii_lowercase
        return "".join(draw.choice(letters) if draw.random() < share else c for c in text)

    return damage


def other_case(text: str, draw: random.Random) -> str:
    """Return the text in capitals, in small letters, or with the case of each word at random."""
    ways = (str.upper, str.lower, str.title, str.swapcase)
    return draw.choice(ways)(text)


def other_space(text: str, draw: random.Random) -> str:
    """Return the text with other white space between its words."""
    return "".join(word + draw.choice((" ", "  ", "\n", "\t", " \n\n")) for word in text.split())


def other_case_and_space(text: str, draw: random.Random) -> str:
    return other_space(other_case(text, draw), draw)


def unchanged(text: str, draw: random.Random) -> str:
    del draw
    return text
