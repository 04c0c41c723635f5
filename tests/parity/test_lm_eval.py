"""Our bits per byte against lm-evaluation-harness' on the checkpoint we write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_shapes import random_model
from seedbed.checkpoints import save_checkpoint
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.samples import sample_stories
from seedbed.evaluation.evaluate import evaluate

lm_eval = pytest.importorskip("lm_eval", reason='pip install -c constraints.txt ".[parity]"')

TASK = """
task: seedbed_rolling
dataset_path: json
dataset_kwargs:
  data_files: {{test: {text}}}
  cache_dir: {cache}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
"""


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_bits_per_byte_are_those_of_the_harness(name: str, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    text = tmp_path / "text.jsonl"
    stories = [*sample_stories(54, seed=5), "Just one.", "é 🌱 " * 30]
    text.write_text("".join(json.dumps({"text": story.strip()}) + "\n" for story in stories))
    config = {"sources": (str(text),), "out": tmp_path / "data", "vocab_size": 400}
    tokenizer = prepare(PrepareConfig.model_validate(config)).tokenizer
    model = random_model(name, vocab_size=tokenizer.vocab_size, context_length=64)
    save_checkpoint(tmp_path / "model", model, tokenizer, facts={})
    (tmp_path / "task").mkdir()
    task = TASK.format(text=text, cache=tmp_path / "cache")
    (tmp_path / "task" / "seedbed_rolling.yaml").write_text(task)
    theirs = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={tmp_path / 'model'},dtype=float32",
        tasks=["seedbed_rolling"],
        task_manager=TaskManager(include_path=str(tmp_path / "task"), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
    )
    reported = theirs["results"]["seedbed_rolling"]["bits_per_byte,none"]
    assert evaluate(tmp_path / "model", text=str(text)).bits_per_byte == pytest.approx(
        reported, abs=1e-3
    )
