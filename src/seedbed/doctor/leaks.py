"""Checks of whether the score means what it says: leaks, a broken mask, another tokenizer."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from seedbed.data.token_shards import TokenShards
from seedbed.doctor.evidence import Finding, NotCheckedError, RunEvidence
from seedbed.errors import CheckpointError, UserError
from seedbed.files import check_seal
from seedbed.machine import this_machine
from seedbed.tokenizers.base import SpecialTokens
from seedbed.training.chat_task import chat_evaluate_function
from seedbed.training.precision import DTYPES
from seedbed.training.text_task import evaluate_function

_RUN_BYTES = 70  # of text: about 13 words, as contamination is looked for (Brown et al., 2020)
_COPIED = 0.8  # of a document's runs: more, and it counts as a copy
_LOOKED_AT = 500  # documents of each split, at most
_TRAINING = 50_000_000  # tokens of the training split that are searched
_BLOCK = 1 << 20
# Models of this size reach 0.3 of what counting bytes reaches on text made by a small grammar, and
# 0.6 on stories. Below a tenth, the text is known by heart or stands before the model's eyes.
_IMPLAUSIBLE = 0.1
_MOST_SECONDS = 120.0  # for computing a score again

Hashes = NDArray[np.uint64]


def leak(evidence: RunEvidence) -> Finding | None:
    """Return whether the model has seen the validation text, or sees what it is to predict."""
    found = [_not_causal(evidence), _not_reproduced(evidence)]
    try:
        found.append(_copied(evidence))
    except NotCheckedError:
        if not any(found):
            raise
    signs = [sign for sign in found if sign]
    if not signs and (too_good := _too_good(evidence)):
        signs = [too_good]
    if not signs:
        return None
    mask = found[0] or found[1]
    return Finding(
        "leak",
        "fault",
        "; ".join(signs),
        "Mend the attention mask: the score and the model are worth nothing."
        if mask
        else "Prepare the text again with --dedup exact or near, without validation text that "
        "stands in the sources; the score of this run is too good.",
    )


def _not_causal(evidence: RunEvidence) -> str | None:
    """Return words for it when a later token changes what an earlier position says."""
    model = evidence.model
    vocab, length = model.config.vocab_size, min(model.config.context_length, 64)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab, (1, length), generator=generator)
    other = ids.clone()
    other[0, length // 2 :] = (ids[0, length // 2 :] + 1) % vocab
    with torch.inference_mode():
        one, two = (model(each)[0, : length // 2] for each in (ids, other))
    apart, size = float((one - two).abs().max()), float(one.abs().max())
    if apart <= 1e-3 * max(size, 1e-6):  # rounding is a thousand times less
        return None
    return (
        f"causality is broken: other tokens after position {length // 2} change the logits before "
        f"it by up to {apart:.2g} (they are up to {size:.2g})"
    )


def _not_reproduced(evidence: RunEvidence) -> str | None:
    """Return words for it when the checkpoint scores far worse than what was written down."""
    step = evidence.checkpoint_step
    noted = [r["val_loss"] for r in evidence.records if r["step"] == step and r.get("val_loss")]
    if not noted:
        return None
    dataset, config, model = evidence.dataset, evidence.config, evidence.model
    if dataset.tokenizer.vocab_size != model.config.vocab_size:
        return None
    work = config.evaluation.tokens * config.flops_per_token(model.config) / 3
    if work / this_machine().nominal_flops > _MOST_SECONDS:
        return None
    if config.device == "cpu":  # as the run computed; elsewhere float32 is near enough
        model.compute_dtype = DTYPES[config.precision]
    if config.finetune and config.finetune.method == "dpo":  # a loss beside that of another model
        return None
    unwatched = config.evaluation.model_copy(update={"train_split": False})
    alike = config.model_copy(update={"evaluation": unwatched})
    make_evaluate = chat_evaluate_function if config.finetune else evaluate_function
    scores = make_evaluate(alike, model, dataset)()["val"]
    model.compute_dtype = torch.float32
    if scores.loss <= 1.05 * noted[-1] + 0.05:  # other processors and precisions round otherwise
        return None
    return (
        f"the validation loss {noted[-1]:.3f} of step {step:,} is not that of its checkpoint, "
        f"{scores.loss:.3f}: the code that trained it saw what it was to predict, or has changed"
    )


def _copied(evidence: RunEvidence) -> str | None:
    """Return words for it when validation documents stand in the training text.

    Some texts repeat themselves. So training documents are looked for in the rest of the training
    text as well, and only what validation documents have beyond that counts.
    """
    dataset = evidence.dataset
    per_token = dataset.manifest["train"]["bytes"] / max(1, dataset.train.num_tokens)
    run = max(4, math.ceil(_RUN_BYTES / max(per_token, 1e-6)))
    validation, training = (
        _some_documents(split, run, dataset.tokenizer.special)
        for split in (dataset.val, dataset.train)
    )
    if len(validation) < 5 or len(training) < 5:
        raise NotCheckedError(
            f"fewer than five documents of a split have {run} tokens, so copies cannot be told"
        )
    hashed = [_hashes(document, run) for document in [*validation, *training]]
    known, counts = _occurrences(np.unique(np.concatenate(hashed)), dataset.train, run)
    copied: list[bool] = []
    for number, hashes in enumerate(hashed):
        own, times = np.unique(hashes, return_counts=True)
        elsewhere = counts[np.searchsorted(known, own)]
        if number >= len(validation):
            elsewhere = elsewhere - times
        copied.append(float((elsewhere > 0) @ times / times.sum()) >= _COPIED)
    share = float(np.mean(copied[: len(validation)]))
    usual = float(np.mean(copied[len(validation) :]))
    error = math.sqrt(max(usual * (1 - usual), 1 / len(validation)) / len(validation))
    if share <= max(0.01, usual + 3 * error):
        return None
    return (
        f"{share:.0%} of the validation documents stand in the training text (looked for by runs "
        f"of {run} tokens); of training documents, {usual:.0%} stand there twice"
    )


def _some_documents(
    shards: TokenShards, run: int, special: SpecialTokens
) -> list[NDArray[np.uint64]]:
    """Return documents spread over a split that are long enough, without the tokens around them.

    They are of the part that is searched, where each finds itself once: see `_copied`.
    """
    sizes = np.diff(shards.offsets)
    long_enough = np.flatnonzero((sizes > run + 1) & (shards.offsets[1:] <= _TRAINING))
    every = -(-len(long_enough) // _LOOKED_AT) or 1
    return [special.inside(shards.document(int(i))).astype(np.uint64) for i in long_enough[::every]]


def _hashes(tokens: NDArray[np.unsignedinteger], run: int) -> Hashes:
    """Return a hash of each run of so many tokens: a polynomial, modulo 2^64, then mixed."""
    wide = tokens.astype(np.uint64) + np.uint64(1)
    hashes = np.zeros(len(tokens) - run + 1, np.uint64)
    for offset in range(run):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + wide[offset : offset + len(hashes)]
    hashes ^= hashes >> np.uint64(31)
    return hashes


def _occurrences(wanted: Hashes, shards: TokenShards, run: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the wanted hashes, sorted, and how often each occurs in a split."""
    counts = np.zeros(len(wanted), np.int64)
    tokens = shards.tokens[:_TRAINING]
    for start in range(0, max(1, len(tokens) - run + 1), _BLOCK):
        block = tokens[start : start + _BLOCK + run - 1]
        if len(block) < run:
            break
        hashes = _hashes(block, run)
        places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        counts += np.bincount(places[wanted[places] == hashes], minlength=len(wanted))
    return wanted, counts


def _too_good(evidence: RunEvidence) -> str | None:
    """Return words for it when the score is far below what counting makes plausible."""
    scores = [r["val_bits_per_byte"] for r in evidence.records if r.get("val_bits_per_byte")]
    baseline = evidence.dataset.baseline_bits_per_byte
    if not scores or baseline is None or min(scores) >= _IMPLAUSIBLE * baseline:
        return None
    return (
        f"the validation score of {min(scores):.3f} bits per byte is not plausible where counting "
        f"byte n-grams gives {baseline:.3f}, though no copies were found"
    )


def tokenizer_mismatch(evidence: RunEvidence) -> Finding | None:
    """Return whether the checkpoint's tokenizer is another than its dataset's, or its model's."""
    theirs, model_size = evidence.tokenizer, evidence.model.config.vocab_size
    signs: list[str] = []
    trained_with = evidence.request.get("tokenizer")
    if trained_with is not None and theirs.fingerprint() != trained_with:
        signs.append("the checkpoint's tokenizer is not the one that the run was trained with")
    if theirs.vocab_size != model_size:
        signs.append(
            f"the checkpoint's tokenizer has {theirs.vocab_size:,} tokens and its model "
            f"{model_size:,}"
        )
    try:
        data = evidence.dataset_now
    except NotCheckedError:
        data = None
    if data is not None and data.tokenizer.fingerprint() != (trained_with or theirs.fingerprint()):
        signs.append(
            f"{data.folder} is now prepared with another tokenizer ({data.tokenizer.kind}, "
            f"{data.tokenizer.vocab_size:,} tokens)"
        )
    if not signs:
        return None
    return Finding(
        "tokenizer mismatch",
        "fault",
        "; ".join(signs),
        "Put the dataset's tokenizer.json and tokenizer_config.json back into the checkpoint, or "
        f"prepare the text with --tokenizer {evidence.run.path}.",
    )


def damaged(evidence: RunEvidence) -> Finding | None:
    """Return whether files of the newest checkpoint are not as they were written."""
    try:
        check_seal(evidence.checkpoint, error=CheckpointError)
    except UserError as error:
        return Finding(
            "damaged checkpoint",
            "fault",
            str(error),
            "Use an older one of the run's checkpoints; `seedbed train` goes on from that.",
        )
    return None
