"""Checks of how a run went: waiting for data, ended too early, writing in circles."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import psutil

from seedbed.doctor.evidence import Finding, NotCheckedError, RunEvidence
from seedbed.runs import RunDir
from seedbed.training.config import Horizon

STARVED = 0.2  # of the time: without it, a run would be done a quarter sooner
_STRAIGHT = 0.4  # of what was learned came in the second half; a straight line would have 0.5
_LOOP_TOKENS = 12  # a 4-gram three times running
_LONGEST_PERIOD = 32


def starved(evidence: RunEvidence) -> Finding | None:
    """Return whether much of the time went by waiting for batches."""
    records = [r for r in evidence.records if r.get("data_share") is not None]
    if len(records) < 2:
        raise NotCheckedError("metrics.jsonl does not say how long steps waited for their batches")
    waited = total = 0.0
    for before, record in pairwise(records):  # the first holds what happens only once
        seconds = record["seconds"] - before["seconds"]
        waited, total = waited + seconds * record["data_share"], total + seconds
    share = waited / total if total > 0 else 0.0
    if share < STARVED:
        return None
    rate = records[-1]["tokens_per_second"]
    return Finding(
        "starved by data loading",
        "warning",
        f"{share:.0%} of the time ({waited:,.1f} of {total:,.1f} s) went by waiting for batches, "
        f"at {rate:,.0f} tokens/s",
        "Put the dataset on a local disk, best in memory; see whether other programs read from "
        "that disk. A larger batch does not help: it waits as long for each token.",
    )


def stopped_early(evidence: RunEvidence) -> Finding | None:
    """Return whether the run ended before its last step, or its time before the learning."""
    status, run = evidence.status, evidence.run
    if is_alive(evidence):
        raise NotCheckedError("the run is still going on")
    done = max([r["step"] for r in evidence.records], default=int(status.get("step") or 0))
    planned = status.get("steps") or evidence.steps_planned
    state = str(status.get("state", "unknown"))
    again = f"The same command goes on from there: seedbed train --out {run.path} ..."
    if "diverged" in str(status.get("error")):
        return None  # that is another finding
    if state == "finished":
        return _out_of_time(evidence)
    how = {
        "stopped": "it was stopped on request",
        "failed": f"it failed: {status.get('error')}",
        "running": "it was killed, or its machine went down",
        "saving": "it was killed, or its machine went down, while it saved",
    }.get(state, f"its state is {state!r}")
    of = f" of {planned:,}" if planned else ""
    return Finding("stopped early", "warning", f"{how}, at step {done:,}{of}", again)


def is_alive(evidence: RunEvidence) -> bool:
    """Return whether a process is at work on the run."""
    status = evidence.status
    pid = status.get("pid")
    working = status.get("state") in ("running", "saving")
    return bool(
        working and isinstance(pid, int) and psutil.pid_exists(pid) and _holds(evidence.run)
    )


def _holds(run: RunDir) -> bool:
    """Return whether another process holds the run's lock; True where that cannot be tried."""
    from seedbed.errors import CheckpointError

    try:
        with run.lock():
            return False
    except (CheckpointError, OSError):
        return True


def _out_of_time(evidence: RunEvidence) -> Finding | None:
    asked = str(evidence.request.get("config", {}).get("horizon", evidence.config.horizon))
    if Horizon.parse(asked).unit != "minutes":
        return None
    curve = evidence.training
    if curve.late_share < _STRAIGHT:
        return None
    return Finding(
        "stopped early",
        "warning",
        f"the time of {asked} ran out while the loss was still falling fast: "
        f"{curve.late_share:.0%} of all that was learned came in the second half "
        f"(from {curve.level(0.5):.3f} to {curve.end:.3f})",
        "Give it more --minutes, or ask for a smaller --size, whose steps are quicker.",
    )


def looping_samples(evidence: RunEvidence) -> Finding | None:
    """Return whether most texts written at the end go round in circles, unlike real text."""
    if not evidence.samples:
        raise NotCheckedError("samples.jsonl is not there, or is empty")
    last = max(s["step"] for s in evidence.samples)
    late = [s for s in evidence.samples if s["step"] >= 2 / 3 * last]
    written = [_ids(evidence, s) for s in late]
    long_enough = [ids for ids in written if len(ids) >= 2 * _LOOP_TOKENS]
    if len(long_enough) < 2:
        raise NotCheckedError(
            f"fewer than two samples of the end have {2 * _LOOP_TOKENS} tokens: see samples.tokens"
        )
    looping = [is_loop(ids) for ids in long_enough]
    share = sum(looping) / len(looping)
    if share <= 0.5:
        return None
    usual = _looping_share_of_text(evidence, int(np.median([len(ids) for ids in long_enough])))
    if share <= 2 * usual:
        return None
    example = late[[len(ids) >= 2 * _LOOP_TOKENS and is_loop(ids) for ids in written].index(True)]
    return Finding(
        "samples that loop",
        "warning",
        f"{sum(looping)} of {len(looping)} samples of the end repeat themselves three times "
        f"running (of validation text as long, {usual:.0%}): {example['text'][-80:]!r}",
        "See what the training text repeats (boilerplate, lists, copies: prepare with --dedup "
        "near). Train longer, or with a larger --size. When you generate, raise the temperature.",
    )


def _ids(evidence: RunEvidence, sample: dict[str, Any]) -> list[int]:
    return evidence.tokenizer.encode(str(sample.get("text", "")))


def is_loop(ids: list[int]) -> bool:
    """Return whether something of up to 32 tokens stands three times running, over 12 at least.

    >>> is_loop([1, 2, 3, 4] * 3), is_loop([7] * 12), is_loop(list(range(40)))
    (True, True, False)
    """
    tokens = np.array(ids)
    for period in range(1, min(_LONGEST_PERIOD, len(tokens) // 3) + 1):
        same = np.concatenate([[False], tokens[period:] == tokens[:-period], [False]])
        breaks = np.flatnonzero(~same)
        longest = int(np.diff(breaks).max()) - 1
        if longest >= max(2 * period, _LOOP_TOKENS - period):
            return True
    return False


def _looping_share_of_text(evidence: RunEvidence, length: int) -> float:
    """Return how many pieces of validation text of a length are loops, as samples can be."""
    try:
        tokens = evidence.dataset.val.tokens
    except NotCheckedError:
        return 0.0
    starts = np.unique(np.linspace(0, max(0, tokens.size - length), 200).astype(int))
    return float(np.mean([is_loop(tokens[s : s + length].tolist()) for s in starts]))
