"""What is wrong with a run, and what to do about it.

Each check looks at what the run left and returns a Finding or None; where something it needs is not
there it says so, and nothing is guessed. To add a check, write the function and add its line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seedbed.doctor import course, leaks, learning
from seedbed.doctor.evidence import Finding, NotCheckedError, RunEvidence
from seedbed.training.run_summary import State, state_of

# In the order of how much follows from each: what is found first explains what comes after.
CHECKS: dict[str, Callable[[RunEvidence], Finding | None]] = {
    "diverged": learning.diverged,
    "tokenizer mismatch": leaks.tokenizer_mismatch,
    "leak": leaks.leak,
    "learning rate too high": learning.learning_rate_too_high,
    "never learned": learning.never_learned,
    "learning rate too low": learning.learning_rate_too_low,
    "samples that loop": course.looping_samples,
    "overfitted": learning.overfitted,
    "starved by data loading": course.starved,
    "stopped early": course.stopped_early,
    "damaged checkpoint": leaks.damaged,
}


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of a run. The names are those of the JSON."""

    run: Path
    state: State
    findings: list[Finding]  # what explains the others first
    checked: list[str]
    not_checked: dict[str, str]  # check -> why not


def diagnose(run: Path, *, note: Callable[[str], object] = lambda _text: None) -> Diagnosis:
    """Return what is wrong with a run, with the numbers that show it and what to do.

    The newest checkpoint is loaded and tried, its score computed again, and the validation text
    looked for in the training text: seconds, for a small model. `note` is told what is being looked
    for. Raises CheckpointError when `run` is not a run folder.
    """
    evidence = RunEvidence(run)
    findings: list[Finding] = []
    checked: list[str] = []
    not_checked: dict[str, str] = {}
    for name, check in CHECKS.items():
        note(f"looking for: {name}")
        try:
            finding = check(evidence)
        except NotCheckedError as reason:
            not_checked[name] = str(reason)
            continue
        checked.append(name)
        if finding is not None:
            findings.append(finding)
    state = state_of(evidence.run, evidence.status)
    return Diagnosis(run, state, findings, checked, not_checked)
