"""Batches are a function of (seed, step): every window once an epoch, however they are cut up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from seedbed.data.batches import WindowSampler, permute
from seedbed.errors import DataError

LENGTH = 8


def sampler(tokens: int = 1000, seed: int = 5, **settings: str) -> WindowSampler:
    return WindowSampler(np.arange(tokens, dtype=np.uint16), LENGTH, seed, **settings)  # pyright: ignore[reportArgumentType]


def starts(windows: WindowSampler, first: int, rows: int) -> list[int]:
    """The tokens are their own places, so a window's first token is where it starts."""
    return windows.batch(first, rows).inputs[:, 0].tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 64, 65, 1000, 4097])
def test_permute_is_a_permutation_that_its_key_chooses(size: int) -> None:
    images = [permute(np.arange(size), size, key=key).tolist() for key in (1, 2)]
    assert all(sorted(image) == list(range(size)) for image in images)
    assert size < 10 or images[0] != images[1] != list(range(size))
    parts = np.array_split(np.arange(size), 3)
    assert [i for p in parts for i in permute(p, size, key=1).tolist()] == images[0]


@pytest.mark.parametrize("tokens", [17, 24, 25, 1000, 1003, 1007])
def test_an_epoch_covers_every_window_once(tokens: int) -> None:
    windows = sampler(tokens)
    n = windows.windows_per_epoch
    for epoch in range(6):
        places = sorted(starts(windows, epoch * n, n))
        assert all(b - a == LENGTH for a, b in pairwise(places))
        assert 0 <= places[0] < LENGTH
        assert places[-1] + LENGTH < tokens  # the last target is there


def test_epochs_differ_in_order_and_in_their_cuts() -> None:
    windows = sampler()
    n = windows.windows_per_epoch
    epochs = [starts(windows, e * n, n) for e in range(8)]
    assert len({epoch[0] % LENGTH for epoch in epochs}) > 2
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 8


@pytest.mark.parametrize("sampling", ["epochs", "random"])
def test_a_batch_depends_on_seed_and_step_alone(sampling: str) -> None:
    first = starts(sampler(sampling=sampling), 120, 16)
    assert starts(sampler(sampling=sampling), 120, 16) == first
    assert starts(sampler(sampling=sampling, seed=6), 120, 16) != first
    assert starts(sampler(sampling=sampling), 136, 16) != first


@pytest.mark.parametrize("sampling", ["epochs", "random"])
@pytest.mark.parametrize("parts", [2, 4, 16])
def test_micro_batches_and_ranks_partition_the_batch(sampling: str, parts: int) -> None:
    windows = sampler(sampling=sampling)
    whole = windows.batch(112, 16)  # across the end of an epoch of 124 windows
    rows = 16 // parts
    cut = [windows.batch(112 + i * rows, rows) for i in range(parts)]
    assert torch.equal(torch.cat([b.inputs for b in cut]), whole.inputs)
    assert torch.equal(torch.cat([b.targets for b in cut]), whole.targets)


def test_targets_are_the_inputs_that_follow() -> None:
    batch = sampler().batch(3, 4)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert torch.equal(batch.targets[:, -1], batch.inputs[:, -1] + 1)
    assert batch.num_targets == 4 * LENGTH


def test_random_windows_reach_both_ends_and_stay_inside() -> None:
    places = starts(sampler(20, sampling="random"), 0, 500)
    assert (min(places), max(places)) == (0, 20 - LENGTH - 1)


@pytest.mark.parametrize("tokens", [0, LENGTH, 2 * LENGTH - 1])
def test_too_little_text_for_a_window_is_refused(tokens: int) -> None:
    with pytest.raises(DataError, match=r"too few for a context of 8.*smaller model.context"):
        sampler(tokens)


def test_the_order_stays_for_runs_under_way() -> None:
    windows = WindowSampler(np.arange(1000, dtype=np.uint16), 16, 7)  # 61 in an epoch
    assert starts(windows, 58, 8) == [59, 411, 939, 336, 32, 400, 752, 480]
