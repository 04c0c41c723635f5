"""Checks of how a run went: waiting for data, ended too early, writing in circles."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np

from seedbed.doctor.evidence import Finding, NotCheckedError, RunEvidence
from seedbed.evaluation.variety import FEWEST, loops
from seedbed.training.config import Horizon

STARVED = 0.2  # of the time: without it, a run would be done a quarter sooner
_STRAIGHT = 0.4  # of what was learned came in the second half; a straight line would have 0.5
_LONGEST_PERIOD = 32  # tokens


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
    if run.is_held():
        raise NotCheckedError("the run is still going on")
    done = evidence.steps_done or int(status.get("step") or 0)
    planned = status.get("steps") or evidence.steps_planned
    state = str(status.get("state", "unknown"))
    asked = evidence.request.get("config") or {}
    command = "finetune" if asked.get("finetune") else "train"
    again = f"The same command goes on from there: seedbed {command} ... --out {run.path}"
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


def _out_of_time(evidence: RunEvidence) -> Finding | None:
    asked = str(evidence.request.get("config", {}).get("horizon", evidence.config.horizon))
    if Horizon.parse(asked).unit != "minutes":
        return None
    if evidence.config.from_checkpoint is not None:
        return None  # what it learned began elsewhere, so halves of it say nothing
    curve = evidence.training
    if curve.late_share < _STRAIGHT or curve.level(0.5) - curve.end < 5 * curve.noise:
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
    long_enough = [ids for ids in written if len(ids) >= 2 * FEWEST]
    if len(long_enough) < 2:
        raise NotCheckedError(
            f"fewer than two samples of the end have {2 * FEWEST} tokens: see samples.tokens"
        )
    looping = [_is_loop(ids) for ids in long_enough]
    share = sum(looping) / len(looping)
    if share <= 0.5:
        return None
    usual = _looping_share_of_text(evidence, int(np.median([len(ids) for ids in long_enough])))
    if share <= 2 * usual:
        return None
    example = late[[len(ids) >= 2 * FEWEST and _is_loop(ids) for ids in written].index(True)]
    return Finding(
        "samples that loop",
        "warning",
        f"{sum(looping)} of {len(looping)} samples of the end repeat themselves three times "
        f"running (of validation text as long, {usual:.0%}): {example['text'][-80:]!r}",
        "See what the training text repeats (boilerplate, lists, copies: prepare with --dedup "
        "near). Train longer, or with a larger --size. When you generate, raise the temperature.",
    )


def _ids(evidence: RunEvidence, sample: dict[str, Any]) -> list[int]:
    # Bytes that are no UTF-8 were written as U+FFFD, each of them: several in a row are no loop.
    text = re.sub("\N{REPLACEMENT CHARACTER}+", "\N{REPLACEMENT CHARACTER}", sample["text"])
    return evidence.tokenizer.encode(text)


def _is_loop(ids: list[int]) -> bool:
    return loops(ids, longest_period=_LONGEST_PERIOD)


def _looping_share_of_text(evidence: RunEvidence, length: int) -> float:
    """Return how many pieces of validation text of a length are loops, as samples can be."""
    try:
        tokens = evidence.dataset.val.tokens
    except NotCheckedError:
        return 0.0
    starts = np.unique(np.linspace(0, max(0, tokens.size - length), 200).astype(int))
    return float(np.mean([_is_loop(tokens[s : s + length].tolist()) for s in starts]))
