"""Which documents each part of a dataset has.

Replicate s of a dataset learns from part s of disjoint random parts. Where these would have to be
repeated too often, all replicates share all documents, and only weights and order differ.
"""

# pyright: strict

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.experiments.config import DatasetSettings
from seedbed.experiments.texts import Contents, repeat_to

SLACK = 1.02  # more text than a run reads, so that what no window holds need not be repeated
ALL = "all"


@dataclass(frozen=True)
class Portion:
    """A part of a dataset: how often each document, by its hash, of each text is in it."""

    dataset: str
    part: str
    times: Mapping[str, Mapping[int, float]]  # text -> content hash -> copies; 0.5: the first half
    repeats: float  # of the text that is repeated most: how often it is in it


def portions(
    name: str,
    dataset: DatasetSettings,
    training: Mapping[str, Contents],
    *,
    seeds: int,
    need: float | None,
    max_epochs: float,
) -> list[Portion]:
    """Return the parts of a dataset, one for each seed; or one, which all share.

    `need` is the bytes of text that a run reads: None where it reads a number of epochs. `training`
    has each text's documents in random order.
    """
    shares = dataset.shares or {name: 1.0}
    by_text = {text: training[text].parts(seeds) for text in shares}
    parts = [{text: of[s] for text, of in by_text.items()} for s in range(seeds)]
    if any(_is_too_small(part, shares, need, max_epochs) for part in parts):
        parts, names = [{text: training[text] for text in shares}], [ALL]
    else:
        names = [str(s) for s in range(seeds)]
    if need is not None:
        wanted = need * SLACK
    elif dataset.mixture:
        wanted = min(part[text].bytes / share for part in parts for text, share in shares.items())
    else:
        wanted = math.inf
    return [
        _portion(name, part_name, part, shares, wanted)
        for part_name, part in zip(names, parts, strict=True)
    ]


def _is_too_small(
    part: Mapping[str, Contents],
    shares: Mapping[str, float],
    need: float | None,
    max_epochs: float,
) -> bool:
    return any(
        part[text].bytes * max_epochs < share * (need or 0.0) or not len(part[text])
        for text, share in shares.items()
    )


def _portion(
    name: str,
    part_name: str,
    part: Mapping[str, Contents],
    shares: Mapping[str, float],
    wanted: float,
) -> Portion:
    """Return a portion of `wanted` bytes; of a text alone, at most all of it."""
    if list(shares) == [name]:
        chosen = part[name].first_bytes(wanted)
        return Portion(name, part_name, {name: dict.fromkeys(chosen.hashes.tolist(), 1.0)}, 1.0)
    sizes = {text: wanted * share for text, share in shares.items()}
    times = {text: repeat_to(part[text], size) for text, size in sizes.items()}
    repeats = max(1.0, *(size / part[text].bytes for text, size in sizes.items()))
    return Portion(name, part_name, times, repeats)
