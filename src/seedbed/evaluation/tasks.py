"""How often a model gives the right choice of an item the highest likelihood.

Choices are compared by nats per UTF-8 byte, which does not depend on the tokenizer as a mean over
tokens does; and by their nats alone, beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedbed.evaluation.bits_per_byte import Window, cut_windows, score_windows
from seedbed.evaluation.task_items import Item, chance_of
from seedbed.model.transformer import Transformer
from seedbed.statistics import ratio_standard_error, wilson_interval
from seedbed.tokenizers.base import Tokenizer

_TIE = 1e-5  # nats: less is rounding, which changes with what a text is batched with


@dataclass(frozen=True)
class TaskScore:
    """Which items of a task a model gets right: arrays of shape (items,).

    1 is right and 0 wrong; where the right one ties with others, its share of them.
    """

    correct: NDArray[np.float64]  # by nats per byte
    correct_plain: NDArray[np.float64]  # by nats
    groups: NDArray[np.int64]  # items of a group are not independent
    chance: float  # the accuracy of guessing

    @property
    def accuracy(self) -> float:
        """The share of items that are right, by nats per byte."""
        return float(self.correct.mean())

    @property
    def plain_accuracy(self) -> float:
        """The share of items that are right, by nats."""
        return float(self.correct_plain.mean())

    @property
    def standard_error(self) -> float:
        """Of the accuracy, over groups; NaN for a single one."""
        return clustered_error(self.correct, self.groups)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return clustered_interval(self.correct, self.groups)


def clustered_error(values: ArrayLike, groups: ArrayLike) -> float:
    """Return the standard error of a mean of values that are independent between groups only.

    NaN for fewer than two groups.

    >>> clustered_error([1, 1, 0, 0], [1, 1, 2, 2])  # there are but two things to tell from
    0.5
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    return ratio_standard_error(np.bincount(group, np.asarray(values)), np.bincount(group))


def clustered_interval(
    values: ArrayLike, groups: ArrayLike, *, alpha: float = 0.05
) -> tuple[float, float]:
    """Return the (1 - alpha) interval of a share of items, independent between groups only.

    Wilson's, for as many independent items as would have the same standard error; never for more
    than there are. Dean and Pagano, "Evaluating confidence interval methods for binomial
    proportions in clustered surveys" (Journal of Survey Statistics and Methodology, 2015).

    >>> [round(end, 2) for end in clustered_interval([1, 0] * 50, range(100))]
    [0.4, 0.6]
    >>> [round(end, 2) for end in clustered_interval([1, 1, 0, 0] * 25, np.arange(100) // 2)]
    [0.37, 0.63]
    """
    correct = np.asarray(values, dtype=np.float64)
    share, error, count = float(correct.mean()), clustered_error(correct, groups), len(correct)
    if 0 < share < 1 and error > 0:  # not NaN either
        count = min(count, share * (1 - share) / error**2)
    return wilson_interval(share * count, count, alpha=alpha)


def score_tasks(
    model: Transformer,
    tokenizer: Tokenizer,
    tasks: Mapping[str, Sequence[Item]],
    *,
    window: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, TaskScore]:
    """Return the score of each task, by its name.

    A context that is too long for the model, or for `window` tokens where that is given, loses its
    beginning. `progress` gets (tokens of choices done, in all).
    """
    length = window or model.config.context_length
    items = [item for task in tasks.values() for item in task]
    windows: list[Window] = []
    num_choices = 0
    for item in items:
        windows += _windows_of(item, tokenizer, first=num_choices, length=length)
        num_choices += len(item.choices)
    nats = score_windows(
        model, windows, num_choices, length=length, dtype=model.compute_dtype, progress=progress
    )
    ends = np.cumsum([len(item.choices) for item in items])
    costs = iter(np.split(nats, ends[:-1]))
    return {
        name: _score_of(task, [next(costs) for _ in task]) for name, task in tasks.items() if task
    }


def _windows_of(item: Item, tokenizer: Tokenizer, *, first: int, length: int) -> Iterator[Window]:
    """Yield the windows of each choice, which counts from where the context's tokens end.

    A tokenizer may join the end of the context with the beginning of a choice. Where it does so in
    all choices alike, the joint is left to the context, as in lm-evaluation-harness; where not, all
    count from there.
    """
    whole = [tokenizer.encode(item.context + choice) for choice in item.choices]
    shared = min(_common_prefix(whole), len(tokenizer.encode(item.context)))
    for number, ids in enumerate(whole, start=first):
        cut = max(0, min(shared, len(ids) - length))  # so that a choice stands in one window
        stream = np.array([tokenizer.special.bos, *ids], dtype=np.int64)[cut:]
        counted = np.arange(cut, len(ids)) >= shared
        stride = max(1, length // 2)
        yield from cut_windows(number, stream, counted, length=length, stride=stride)


def _common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all sequences begin with.

    >>> _common_prefix([[1, 2], [1, 2, 3], [1, 2, 4]])
    2
    """
    shortest = min(map(len, sequences))
    differ = (i for i in range(shortest) if len({ids[i] for ids in sequences}) > 1)
    return next(differ, shortest)


def _score_of(items: Sequence[Item], costs: Sequence[NDArray[np.float64]]) -> TaskScore:
    """Return the score of a task from the nats of each item's choices."""
    bytes_of = [np.array([len(choice.encode()) for choice in item.choices]) for item in items]
    per_byte = [cost / size for cost, size in zip(costs, bytes_of, strict=True)]
    return TaskScore(
        correct=_shares(items, per_byte),
        correct_plain=_shares(items, costs),
        groups=np.array([item.group for item in items], dtype=np.int64),
        chance=chance_of(items),
    )


def _shares(items: Sequence[Item], costs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return 1 for each item whose right choice costs least, less where others tie, and else 0."""
    best = [cost <= cost.min() + _TIE for cost in costs]
    return np.array([own[i.answer] / own.sum() for i, own in zip(items, best, strict=True)])
