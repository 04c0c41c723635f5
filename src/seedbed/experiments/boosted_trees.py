"""Boosted regression trees for a few dozen points. Numpy only."""

# pyright: strict

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.experiments.least_squares import Floats

Integers = NDArray[np.intp]

TREES = 150
RATE = 0.1
FEWEST_IN_LEAF = 3
_NO_SPLIT: tuple[int, float] = 0, math.inf  # all points are below


@dataclass(frozen=True)
class Trees:
    """The sum of many trees of two levels: a first split, one on either side of it, four leaves."""

    constant: float
    features: Integers  # of the first split, the one below and the one above it: (trees, 3)
    thresholds: Floats  # (trees, 3)
    leaves: Floats  # (trees, 4)
    points: int  # that they were fitted to

    @property
    def parameters(self) -> int:
        """Half as many as points: trees count theirs in no simple way."""
        return self.points // 2

    def __call__(self, points: Floats) -> Floats:
        """Return the value at each point: (points,)."""
        above = points[:, self.features[:, 0]] > self.thresholds[:, 0]  # (points, trees)
        features = np.where(above, self.features[:, 2], self.features[:, 1])
        thresholds = np.where(above, self.thresholds[:, 2], self.thresholds[:, 1])
        further = np.take_along_axis(points, features, axis=1) > thresholds
        values = self.leaves[np.arange(len(self.leaves)), 2 * above + further]
        return self.constant + RATE * values.sum(axis=1)


def fit_trees(points: Floats, values: Floats) -> Trees:
    """Return trees of which each is fitted to what those before it left.

    Friedman, "Greedy function approximation: a gradient boosting machine" (Annals of Statistics
    2001), for squared error: 150 trees, each counting a tenth.

    >>> steps = fit_trees(np.arange(8.0)[:, None], np.array([0.0] * 4 + [1.0] * 4))
    >>> steps(np.array([[0.0], [9.0]])).round(3)
    array([0., 1.])
    """
    constant = float(values.mean())
    left = values - constant
    splits: list[tuple[int, float]] = [_NO_SPLIT] * 3
    features, thresholds = np.zeros((TREES, 3), np.intp), np.zeros((TREES, 3))
    leaves = np.zeros((TREES, 4))
    for tree in range(TREES):
        leaf = np.zeros(len(points), np.intp)  # of each point
        splits[0] = _best_split(points, left)
        above = points[:, splits[0][0]] > splits[0][1]
        for side, own in enumerate((~above, above)):
            split = splits[1 + side] = _best_split(points[own], left[own])
            leaf[own] = 2 * side + (points[own, split[0]] > split[1])
        features[tree], thresholds[tree] = zip(*splits, strict=True)
        counts = np.maximum(np.bincount(leaf, minlength=4), 1)
        leaves[tree] = np.bincount(leaf, left, minlength=4) / counts
        left = left - RATE * leaves[tree, leaf]
    return Trees(constant, features, thresholds, leaves, len(points))


def _best_split(points: Floats, values: Floats) -> tuple[int, float]:
    """Return the feature and threshold that take off most squared error; or no split."""
    count = len(values)
    best, found = 1e-12, _NO_SPLIT
    if count < 2 * FEWEST_IN_LEAF:
        return found
    left = np.arange(FEWEST_IN_LEAF, count - FEWEST_IN_LEAF + 1)  # points below the threshold
    for feature in range(points.shape[1]):
        order = np.argsort(points[:, feature], kind="stable")
        ordered, sums = points[order, feature], np.cumsum(values[order])
        below, total = sums[left - 1], sums[-1]
        gains = below**2 / left + (total - below) ** 2 / (count - left) - total**2 / count
        gains[ordered[left - 1] == ordered[left]] = 0.0  # no threshold is between equals
        at = int(np.argmax(gains))
        if gains[at] > best:
            place = left[at]
            best = float(gains[at])
            found = feature, float((ordered[place - 1] + ordered[place]) / 2)
    return found
