"""Learning-rate schedules: a multiplier of the peak rate for each step. No torch."""

from __future__ import annotations

import math

from seedbed.training.config import ScheduleSettings


def multiplier(schedule: ScheduleSettings, step: int, total: int) -> float:
    """Return what the peak learning rate is multiplied by at `step` (from 0) of `total`.

    >>> multiplier(ScheduleSettings(kind="linear", warmup_steps=0, floor=0.0), 50, 100)
    0.5
    """
    warmup = schedule.warmup_steps or 0
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "cosine":
        falling = 0.5 * (1 + math.cos(math.pi * progress))
    elif schedule.kind == "linear":
        falling = 1 - progress
    else:  # trapezoid: constant, then linear over the last part (WSD; Hu et al., 2024)
        falling = min(1.0, (1 - progress) / schedule.decay_fraction)
    return schedule.floor + (1 - schedule.floor) * falling
