"""Short stories for demos and tests, grown from a grammar that was written for this project.

The words are in `story_grammar/*.txt`, in the notation of grammar.py; this file only follows them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from seedbed.data.grammar import read_grammar, tidy

WORDS = range(80, 201)  # how long a story may be


def sample_stories(count: int, *, seed: int) -> Iterator[str]:
    """Yield `count` short stories; the i-th depends on `seed` and i alone.

    A larger count therefore begins with the stories of a smaller one, and another seed tells
    other stories. Each has 80 to 200 words, in plain ASCII, with a blank line between paragraphs.

    >>> first, second = sample_stories(2, seed=0)
    >>> [first] == list(sample_stories(1, seed=0))
    True
    >>> 80 <= len(first.split()) <= 200
    True
    """
    tell = read_grammar("story_grammar")["story"]
    for index in range(count):
        draw = random.Random(f"{seed}:{index}").random
        story = tidy(tell(draw, {}))
        while len(story.split()) not in WORDS:
            story = tidy(tell(draw, {}))
        yield story
