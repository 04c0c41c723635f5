"""The shape of a loss curve: where it starts and ends, how noisy it is, what came late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curve:
    """Losses at steps, oldest first."""

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]

    @classmethod
    def of(cls, points: Sequence[tuple[int, float]]) -> Curve:
        """Return the curve of (step, loss) pairs.

        >>> Curve.of([(1, 4.0), (2, 3.0)]).start
        4.0
        """
        return cls(np.array([p[0] for p in points]), np.array([p[1] for p in points], np.float64))

    @property
    def start(self) -> float:
        """The first loss."""
        return float(self.losses[0])

    @property
    def end(self) -> float:
        """The mean of the last twentieth."""
        return self.level(1.0)

    def level(self, share: float) -> float:
        """Return the mean of a twentieth of the curve (three points at least) around `share`.

        >>> Curve.of([(s, 1.0 * s) for s in range(41)]).level(0.5)
        20.0
        """
        width = min(len(self.losses), max(3, len(self.losses) // 20))
        first = round(share * len(self.losses) - width / 2)
        first = min(max(0, first), len(self.losses) - width)
        return float(self.losses[first : first + width].mean())

    @property
    def noise(self) -> float:
        """The deviation of a single loss from the trend around it.

        From second differences, which a straight trend does not touch, by their median, which a
        few spikes do not touch: of independent noise they have the variance 6 sigma^2.
        """
        if len(self.losses) < 5:
            return 0.0
        bends = np.diff(self.losses[len(self.losses) // 4 :], 2)  # the steep beginning left out
        return float(np.median(np.abs(bends)) / 0.6745 / np.sqrt(6.0))

    @property
    def late_share(self) -> float:
        """How much of all that was learned was learned in the second half: a half if straight."""
        learned = self.start - self.end
        return (self.level(0.5) - self.end) / learned if learned > 0 else 0.0

    def spikes(self) -> int:
        """Return how often the loss jumped far above both what was before and what came after.

        Far: by more than eight times the noise, which chance does once in 10^15, and by a
        twentieth of the loss.
        """
        around = self.losses
        if len(around) < 5:
            return 0
        before = np.median(np.lib.stride_tricks.sliding_window_view(around[:-1], 3), axis=1)
        excess = around[3:] - before
        return int((excess > np.maximum(8 * self.noise, 0.05 * before)).sum())

    @property
    def peak(self) -> tuple[int, float]:
        """The step and height of the highest loss after the first."""
        if len(self.losses) < 2:
            return int(self.steps[0]), self.start
        at = 1 + int(self.losses[1:].argmax())
        return int(self.steps[at]), float(self.losses[at])
