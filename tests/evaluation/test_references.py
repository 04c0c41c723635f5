from __future__ import annotations

import sys

import pytest

from seedbed.errors import ConfigError
from seedbed.evaluation.references import score_against_references
from seedbed.statistics import jackknife_standard_error

sacrebleu = pytest.importorskip("sacrebleu")

TEXTS = ["The cat sat on the mat.", "A dog ran far away.", "It is late, said Ben."]
REFERENCES = ["The cat sat on a mat.", "The dog ran away again.", "It is late, Ben said."]


def test_scores_are_those_of_sacrebleu() -> None:
    bleu, chrf = score_against_references([[t] for t in TEXTS], [[r] for r in REFERENCES])
    assert bleu.value == sacrebleu.corpus_bleu(TEXTS, [REFERENCES]).score
    assert chrf.value == sacrebleu.corpus_chrf(TEXTS, [REFERENCES]).score
    assert bleu.signature.startswith("nrefs:1|case:mixed|")
    assert "nc:6|nw:0" in chrf.signature
    assert bleu.texts == 3


def test_prompts_may_have_several_samples_and_unequal_numbers_of_references() -> None:
    texts = [TEXTS[:2], TEXTS[1:]]
    bleu, _ = score_against_references(texts, [REFERENCES[:1], REFERENCES[1:]])
    first = [REFERENCES[0], REFERENCES[0], REFERENCES[1], REFERENCES[1]]
    second = [None, None, REFERENCES[2], REFERENCES[2]]
    wanted = sacrebleu.metrics.BLEU().corpus_score([*texts[0], *texts[1]], [first, second])
    assert bleu.value == wanted.score
    assert bleu.texts == 4


def test_the_error_is_that_of_leaving_each_prompt_out() -> None:
    _, chrf = score_against_references([[t] for t in TEXTS], [[r] for r in REFERENCES])
    rest = [[0, 1], [0, 2], [1, 2]]
    scores = [
        sacrebleu.corpus_chrf([TEXTS[i] for i in kept], [[REFERENCES[i] for i in kept]]).score
        for kept in rest
    ]
    assert chrf.standard_error == pytest.approx(jackknife_standard_error(scores))
    [alone, _] = score_against_references([TEXTS[:1]], [REFERENCES[:1]])
    assert alone.standard_error is None


def test_a_text_equal_to_its_reference_scores_100() -> None:
    bleu, chrf = score_against_references([[TEXTS[0]]], [[TEXTS[0]]])
    assert (round(bleu.value, 6), round(chrf.value, 6)) == (100.0, 100.0)


def test_without_sacrebleu_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ConfigError, match=r'sacrebleu: pip install .*"\.\[eval\]"'):
        score_against_references([["a"]], [["a"]])
