from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.checkpoints import load_checkpoint
from seedbed.data.prepared import open_dataset
from seedbed.evaluation.bits_per_byte import score_documents
from seedbed.training.job import RunResult
from seedbed.training.text_task import fixed_part

BOTH = {"every": 6, "tokens": 500, "train_split": True}


def test_the_curve_has_the_losses_of_both_splits_on_as_many_tokens(
    trained: Callable[..., RunResult], dataset: Path
) -> None:
    run = trained(evaluation=BOTH).run
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [record for record in records if record["val_loss"] is not None]
    assert [record["step"] for record in evaluated] == [6, 12]
    assert all("train_eval_loss" in record for record in evaluated)
    assert all("train_eval_loss" not in r for r in records if r not in evaluated)
    loaded, data = load_checkpoint(run / "checkpoints" / "latest"), open_dataset(dataset)
    special = data.tokenizer.special
    for shards, name in ((data.val, "val_loss"), (data.train, "train_eval_loss")):
        part = fixed_part(shards, 500, special)
        assert sum(map(len, part)) <= 500
        scores = score_documents(loaded.model, part, [1] * len(part), bos=special.bos)
        assert evaluated[-1][name] == pytest.approx(scores.loss, rel=1e-5)


def test_a_run_that_is_not_asked_measures_the_validation_split_alone(
    trained: Callable[..., RunResult],
) -> None:
    run = trained().run
    assert "train_eval_loss" not in (run / "metrics.jsonl").read_text()
