"""Our accuracy on our tasks against lm-evaluation-harness' on the checkpoint we write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_shapes import random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.samples import sample_stories
from seedbed.evaluation.task_files import save_tasks
from seedbed.evaluation.task_items import make_tasks
from seedbed.evaluation.tasks import score_tasks

lm_eval = pytest.importorskip("lm_eval", reason='pip install -c constraints.txt ".[parity]"')


def test_each_item_is_right_for_the_harness_where_it_is_for_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import config as datasets_config
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    config = {"sources": ("sample:stories:60",), "out": tmp_path / "data", "vocab_size": 400}
    tokenizer = prepare(PrepareConfig.model_validate(config)).tokenizer
    model = random_model(vocab_size=tokenizer.vocab_size, context_length=256)
    save_checkpoint(tmp_path / "model", model, tokenizer, facts={})
    tasks = make_tasks(list(sample_stories(120, seed=5)), items=24)
    save_tasks(tmp_path / "tasks", tasks, bos="<|endoftext|>")
    theirs = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={tmp_path / 'model'},dtype=float32,logits_cache=False",
        tasks=["seedbed"],
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
        log_samples=True,
    )
    assert len(theirs["samples"]) == len(tasks) == 5
    loaded = load_checkpoint(tmp_path / "model")
    for name, score in score_tasks(loaded.model, loaded.tokenizer, tasks).items():
        samples = sorted(theirs["samples"][f"seedbed_{name}"], key=lambda s: s["doc_id"])
        assert [s["acc"] for s in samples] == score.correct_plain.tolist()
        assert [s["acc_norm"] for s in samples] == score.correct.tolist()
        assert np.mean(score.correct) == pytest.approx(
            theirs["results"][f"seedbed_{name}"]["acc_norm,none"]
        )
