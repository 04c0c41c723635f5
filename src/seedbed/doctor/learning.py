"""Checks of how a run learned: diverged, nothing learned, overfitted, learning rate off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from seedbed.doctor.evidence import Finding, NotCheckedError, RunEvidence
from seedbed.files import read_json
from seedbed.model.transformer import EMBEDDING_DEVIATION, Transformer, init_weights
from seedbed.training.resolve import tokens_per_epoch
from seedbed.training.schedules import multiplier

# A model that covers less than this share of the way from ln V to the unigram entropy has not even
# found out which tokens are frequent, which comes in the first tens of steps.
_BARELY = 0.05
# A rise that takes back this share of what was learned is worth a word.
_WORTH_A_WORD = 0.02
_FEWEST_STEPS = 50  # with fewer, nothing can be said of what a run learns


def diverged(evidence: RunEvidence) -> Finding | None:
    """Return whether the loss ran away: training gave up, rolled back, or ends worse than chance.

    Single steps that were skipped, and no more, are a warning of their own.

    "Ends worse" means: above where it began, or having lost half of what had been learned.
    """
    error = str(evidence.status.get("error", ""))
    rollbacks, skipped = _bad_steps(evidence)
    signs: list[str] = []
    if "diverged" in error:
        signs.append(f"training gave up: {error.split(':')[0]}")
    if rollbacks:
        signs.append(f"times it went back to a checkpoint: {rollbacks}")
    risen = None if signs else _risen(evidence)
    if risen:
        signs.append(risen)
    name, severity = ("diverged", "fault") if signs else ("skipped steps", "warning")
    if skipped and (signs or evidence.config.precision != "fp16"):
        signs.append(f"steps whose loss or gradient was not finite: {skipped}")
    if not signs:
        return None
    rate = evidence.config.optimizer.learning_rate or 0.0
    clip = evidence.config.optimizer.clip_norm
    advice = f"Lower optimizer.learning_rate (now {rate:g}) to a third or a tenth"
    matrix = evidence.config.optimizer.matrix_learning_rate
    advice += f", and optimizer.matrix_learning_rate (now {matrix:g})" if matrix else ""
    advice += "; set optimizer.clip_norm=1" if clip is None else ""
    advice += "; try precision=fp32" if evidence.config.precision == "fp16" else ""
    return Finding(name, severity, "; ".join(signs), advice + ".")


def _bad_steps(evidence: RunEvidence) -> tuple[int, int]:
    """Return how often training went back to a checkpoint, and the steps that were skipped."""
    skipped = max([r.get("skipped_steps") or 0 for r in evidence.records], default=0)
    skipped = max(skipped, evidence.status.get("skipped_steps") or 0)
    try:
        state = read_json(evidence.checkpoint / "training" / "state.json")
    except (NotCheckedError, OSError, ValueError):
        return 0, skipped
    return state["rollbacks"], max(skipped, state["skipped_steps"])


def _risen(evidence: RunEvidence) -> str | None:
    curve = evidence.training
    error = curve.noise / math.sqrt(3)  # of the mean of three points
    lowest = min(curve.level(share / 20) for share in range(21))
    if curve.end > curve.start + 5 * error + 0.01 * curve.start:
        return f"the training loss ends at {curve.end:.3f}, above the {curve.start:.3f} it began at"
    if curve.end - lowest > max(0.5 * (curve.start - lowest), 5 * error):
        return f"the training loss fell to {lowest:.3f} and ends at {curve.end:.3f}"
    return None


def never_learned(evidence: RunEvidence) -> Finding | None:
    """Return whether the loss stayed at ln V, or at the entropy of the tokens' frequencies."""
    curve, chance = evidence.training, evidence.chance
    _check_enough_steps(evidence)
    try:
        unigram = evidence.unigram_entropy
    except NotCheckedError:
        unigram = None
    way = chance - (unigram if unigram is not None else 0.9 * chance)
    if way <= _BARELY * chance:
        raise NotCheckedError("all tokens are about equally frequent: there is nothing to compare")
    fresh = evidence.config.from_checkpoint is None
    at_chance = fresh and curve.end <= curve.start + 0.05 and chance - curve.end < _BARELY * way
    at_unigram = unigram is not None and curve.end >= unigram - _BARELY * way
    if at_unigram and not at_chance and (_falls_short(evidence) or curve.end > chance):
        return None  # still on its way, or beyond help: other checks say so
    if not (at_chance or at_unigram):
        return None
    evidence_text = f"the training loss began at {curve.start:.3f} and ends at {curve.end:.3f}; "
    evidence_text += f"knowing nothing costs ln V = {chance:.3f}"
    if unigram is not None:
        evidence_text += f", knowing only how frequent each token is {unigram:.3f}"
    rate = evidence.config.optimizer.learning_rate or 0.0
    advice = f"Look at optimizer.learning_rate (now {rate:g})"
    if at_unigram and not at_chance:
        advice += (
            ": the model ignores the context. A rate ten times lower, or a text with order in it"
        )
    else:
        advice += ": with the default choice (leave it out) a small model learns within 50 steps"
    return Finding("never learned", "fault", evidence_text, advice + ".")


def _check_enough_steps(evidence: RunEvidence) -> None:
    """Raise NotCheckedError when few steps are done, or the warm-up of more still goes on."""
    done, planned = evidence.steps_done, evidence.steps_planned
    warmup = evidence.config.schedule.warmup_steps or 0
    fewest = max(_FEWEST_STEPS, warmup if planned is None else min(warmup, planned))
    if done < fewest:
        raise NotCheckedError(f"{done} steps are too few to judge by: {fewest} are needed")


def _falls_short(evidence: RunEvidence) -> bool:
    try:
        return learning_rate_too_low(evidence) is not None
    except NotCheckedError:
        return False


def overfitted(evidence: RunEvidence) -> Finding | None:
    """Return whether the validation loss rose while the training loss went on falling."""
    curve, training = evidence.validation, evidence.training
    best = int(curve.losses.argmin())
    after = curve.losses[best + 1 :]
    rise = float(curve.losses[-1] - curve.losses[best])
    learned = max(evidence.chance - float(curve.losses[best]), 0.1)
    if len(after) < 2 or rise < _WORTH_A_WORD * learned or after[-2] <= curve.losses[best]:
        return None
    seen = training.losses[training.steps <= curve.steps[best]]
    then = float(seen[-max(3, len(seen) // 20) :].mean()) if len(seen) else training.start
    if training.end > then - 2 * training.noise / math.sqrt(3):
        return None
    at, last = int(curve.steps[best]), int(curve.steps[-1])
    epochs = _epochs(evidence, max((r.get("tokens") or 0 for r in evidence.records), default=0))
    return Finding(
        "overfitted",
        "warning",
        f"the validation loss was lowest at step {at:,} ({curve.losses[best]:.3f}) and is "
        f"{rise:.3f} higher at step {last:,}, while the training loss fell from {then:.3f} to "
        f"{training.end:.3f}{epochs}",
        "The best checkpoint is kept: use it. For a better one: more text, a smaller --size, "
        f"model.dropout=0.1 or 0.2, fewer steps (about {at:,}), or evaluation.patience=3.",
    )


def _epochs(evidence: RunEvidence, tokens: int) -> str:
    try:
        window = evidence.config.window_in(evidence.shape)
        epoch = tokens_per_epoch(evidence.config, evidence.dataset, window)
    except NotCheckedError:
        return ""
    return f"; the text was seen {tokens / epoch:.1f} times"


@dataclass(frozen=True)
class _Movement:
    """How far the rate can move a matrix of a block, in units of what it begins with."""

    one_step: float  # at the peak
    all_steps: float  # that are planned, done or not


def _movement(evidence: RunEvidence) -> _Movement:
    """Return what the rates of a run can do to weights as they were at first.

    A step of AdamW moves a weight by about its rate (Kingma and Ba, 2015, section 2.1); a step of
    Muon moves a matrix by singular values of about its rate, so a weight by rate / sqrt(width).
    """
    config = evidence.config
    if config.from_checkpoint is not None:
        raise NotCheckedError("the run began from trained weights")
    _check_enough_steps(evidence)
    total = evidence.steps_planned
    if total is None:
        raise NotCheckedError("the run does not say how many steps it was to have")
    shares = [multiplier(config.schedule, step, total) for step in range(total)]
    rate, matrix_rate = config.optimizer.learning_rate or 0.0, config.optimizer.matrix_learning_rate
    width, size = evidence.shape.d_model, _first_size(evidence)
    muon = config.optimizer.kind == "muon" and matrix_rate is not None
    step = (matrix_rate or 0.0) / math.sqrt(width) / size if muon else rate / size
    return _Movement(max(step, rate / EMBEDDING_DEVIATION) * max(shares), step * sum(shares))


def _first_size(evidence: RunEvidence) -> float:
    """Return the root mean square of a matrix that reads the stream, as runs begin."""
    shape = evidence.shape.model_copy(update={"vocab_size": 2, "num_layers": 1})
    model = Transformer(shape)
    init_weights(model, 0)
    with torch.no_grad():
        weight = model.get_parameter("blocks.0.attention.query.weight")
        return float(weight.square().mean().sqrt())


def learning_rate_too_high(evidence: RunEvidence) -> Finding | None:
    """Return whether steps were so large that they undo what was there.

    At one, a single step replaces a weight; docs/experiments.md has good runs up to 0.4 and bad
    ones from 1.3 on. Between 0.2 and 1 the curve must show it as well.
    """
    moved, curve = _movement(evidence), evidence.training
    step, peak = curve.peak
    signs: list[str] = []
    if peak > curve.start + 5 * curve.noise + 0.02 * curve.start:
        signs.append(
            f"the training loss rose to {peak:.3f} at step {step:,}, from {curve.start:.3f}"
        )
    spikes = curve.spikes()
    if spikes:
        signs.append(f"it jumped {spikes} times by more than 8 times its noise")
    if moved.one_step < (0.2 if signs else 1.0):
        return None
    first = f"at its peak one step can move a weight by {moved.one_step:.1f} times its first size"
    rate = evidence.config.optimizer.learning_rate or 0.0
    matrix = evidence.config.optimizer.matrix_learning_rate
    matrix_words = f" and optimizer.matrix_learning_rate (now {matrix:g})" if matrix else ""
    return Finding(
        "learning rate too high",
        "fault",
        "; ".join([first, *signs, f"the training loss ends at {curve.end:.3f}"]),
        f"Lower optimizer.learning_rate (now {rate:g}){matrix_words}: by {10:g} times first, then "
        "see whether 3 times is better. Left out, a rate that suits the size is chosen.",
    )


def learning_rate_too_low(evidence: RunEvidence) -> Finding | None:
    """Return whether all planned steps could not move the weights from where chance put them.

    Below a half of their first size they stay mostly noise. Good runs here have 2 to 20. A model
    that beats counting is let off, whatever its weights did.
    """
    moved, curve = _movement(evidence), evidence.training
    if moved.all_steps >= 0.5 or _beats_counting(evidence):
        return None
    if curve.end > curve.start + 0.05:
        return None
    rate = evidence.config.optimizer.learning_rate or 0.0
    matrix = evidence.config.optimizer.matrix_learning_rate
    names = f"optimizer.learning_rate (now {rate:g})"
    names += f" and optimizer.matrix_learning_rate (now {matrix:g})" if matrix else ""
    factor = 10 ** max(1, round(math.log10(3 / max(moved.all_steps, 1e-9))))
    return Finding(
        "learning rate too low",
        "fault",
        f"all {evidence.steps_planned:,} steps together can move a weight by "
        f"{moved.all_steps:.2g} times its first size, and the training loss only fell from "
        f"{curve.start:.3f} to {curve.end:.3f}",
        f"Raise {names} about {factor:g} times, or leave it out: a rate that suits the size is "
        "chosen. Or train for more steps.",
    )


def _beats_counting(evidence: RunEvidence) -> bool:
    scores = [r["val_bits_per_byte"] for r in evidence.records if r.get("val_bits_per_byte")]
    try:
        baseline = evidence.dataset.baseline_bits_per_byte
        return bool(scores) and baseline is not None and min(scores) < baseline
    except NotCheckedError:
        return False
