"""BLEU and chrF of texts whose references are known, by sacrebleu."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seedbed.errors import ConfigError, how_to_install
from seedbed.statistics import jackknife_standard_error

_GROUPS = 20  # of prompts, each left out in turn


@dataclass(frozen=True)
class ReferenceScore:
    """A score of sacrebleu, 0 to 100, over all texts that have references."""

    value: float
    standard_error: float | None  # over prompts, by leaving groups of them out
    texts: int
    signature: str  # sacrebleu's, to be given with the score


def require_sacrebleu() -> Any:
    """Return the module. Raises ConfigError, saying how to install it, when there is none."""
    try:
        return importlib.import_module("sacrebleu")
    except ImportError:
        raise ConfigError(
            f"BLEU and chrF need sacrebleu: {how_to_install('eval')}. Prompts without references "
            "need it not."
        ) from None


def score_against_references(
    texts: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> tuple[ReferenceScore, ReferenceScore]:
    """Return BLEU and chrF of texts (prompts, samples) against the references of each prompt.

    Every prompt has one reference or more. Both are sacrebleu's own, with its default settings
    (Post, "A call for clarity in reporting BLEU scores", 2018).
    """
    sacrebleu = require_sacrebleu()
    return (
        _score(sacrebleu.metrics.BLEU(), texts, references),
        _score(sacrebleu.metrics.CHRF(), texts, references),
    )


def _score(
    metric: Any, texts: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> ReferenceScore:
    def value(prompts: Sequence[int]) -> float:
        rows = [(text, references[i]) for i in prompts for text in texts[i]]
        most = max(len(own) for _, own in rows)
        streams = [[own[k] if k < len(own) else None for _, own in rows] for k in range(most)]
        return float(metric.corpus_score([text for text, _ in rows], streams).score)

    everything = range(len(texts))
    whole = value(everything)
    signature = str(metric.get_signature())
    error = None
    if len(texts) > 1:
        groups = min(_GROUPS, len(texts))
        kept = ([i for i in everything if i % groups != group] for group in range(groups))
        error = jackknife_standard_error([value(prompts) for prompts in kept])
    return ReferenceScore(whole, error, sum(map(len, texts)), signature)
