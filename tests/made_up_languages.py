"""Text in languages that nobody speaks: equally hard, and with no word in common."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

VOWELS = "aeiou"
CONSONANTS = "bdfgklmnprstvz"


def documents(language: int, count: int, *, seed: int, words: int = 400) -> Iterator[str]:
    """Yield documents of a language: words frequent and rare, each with its usual followers."""
    rules = random.Random(f"language {language}")
    lexicon = _lexicon(rules, words)
    followers = {word: rules.choices(lexicon, k=6) for word in lexicon}
    frequencies = [1 / (rank + 3) for rank in range(words)]  # Zipf's law, nearly
    draw = random.Random(f"{language}/{seed}")
    for _ in range(count):
        sentences: list[str] = []
        for _ in range(draw.randint(5, 10)):
            sentence = draw.choices(lexicon, frequencies)
            for _ in range(draw.randint(3, 11)):
                usual = draw.random() < 0.7
                more = followers[sentence[-1]] if usual else lexicon
                sentence += draw.choices(more, None if usual else frequencies)
            sentences.append(" ".join(sentence).capitalize() + ".")
        yield " ".join(sentences)


def junk(count: int, *, seed: int) -> Iterator[str]:
    """Yield documents of random letters, as long as the others."""
    draw = random.Random(f"junk/{seed}")
    letters = VOWELS + CONSONANTS
    for _ in range(count):
        size = draw.randint(35, 90)
        yield " ".join("".join(draw.choices(letters, k=draw.randint(2, 8))) for _ in range(size))


def write_languages(folder: Path, count: int, *, held_out: int) -> dict[str, Path]:
    """Write the sources one, two and junk, and a target half in one and half in two."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "one": list(documents(1, count, seed=0)),
        "two": list(documents(2, count, seed=0)),
        "junk": list(junk(count, seed=0)),
        "target": [text for language in (1, 2) for text in documents(language, held_out, seed=1)],
    }
    for name, own in texts.items():
        lines = [json.dumps({"text": text}) + "\n" for text in own]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {name: folder / f"{name}.jsonl" for name in texts}


def _lexicon(rules: random.Random, words: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < words:
        syllables = [rules.choice(CONSONANTS) + rules.choice(VOWELS) for _ in range(2)]
        extra = rules.choice(CONSONANTS) if rules.random() < 0.5 else ""
        found["".join(syllables) + extra] = None
    return list(found)
