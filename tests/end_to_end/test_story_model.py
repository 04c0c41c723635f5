"""From raw text to a model that writes, and that stock software loads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seedbed.checkpoints import load_checkpoint
from seedbed.cli.main import run
from seedbed.data.samples import sample_stories

SETTINGS = (
    *("--size", "0.3m", "--steps", "150", "--seed", "1", "--precision", "fp32"),
    *("model.context_length=64", "batch_size=16", "compile=off", "evaluation.every=75"),
    *("evaluation.tokens=4000", "samples.tokens=16", "--checkpoint-every", "75"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where text was prepared and a model trained, by commands."""
    home = tmp_path_factory.mktemp("stories")
    text, data = home / "stories.txt", home / "data"
    text.write_text("\n<|endoftext|>\n".join(sample_stories(1200, seed=7)), encoding="utf-8")
    words = ["prepare", text, "--out", data, "--vocab-size", "512"]
    assert run([str(word) for word in words]) == 0
    words = ["train", "--data", data, "--out", home / "run", *SETTINGS]
    assert run([str(word) for word in words]) == 0
    return home


@pytest.fixture
def answer(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Return a function that runs a command with --json and gives what it printed."""

    def call(*words: object) -> dict | list:
        capsys.readouterr()
        assert run([*map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_run_tells_what_happened(home: Path) -> None:
    metrics = records(home / "run" / "metrics.jsonl")
    assert metrics[-1]["step"] == 150
    wanted = "step train_loss val_loss val_bits_per_byte lr grad_norm tokens tokens_per_second mfu"
    assert [*wanted.split(), "data_share", "seconds", "timestamp"] == list(metrics[0])
    losses = [m["train_loss"] for m in metrics]
    assert losses[-1] < 0.6 * losses[0]
    assert {s["step"] for s in records(home / "run" / "samples.jsonl")} == {75, 150}


def test_the_model_predicts_far_better_than_chance(home: Path, answer: Callable) -> None:
    report = answer("eval", home / "run")
    vocab_size = load_checkpoint(home / "run").tokenizer.vocab_size
    untrained = math.log2(vocab_size) * report["tokens"] / report["bytes"]
    assert report["bits_per_byte"] < 0.6 * untrained
    assert 0 < report["standard_error"] < 0.1
    status = json.loads((home / "run" / "status.json").read_text())
    assert report["bits_per_byte"] == pytest.approx(status["val_bits_per_byte"], rel=0.1)


def test_the_model_is_as_good_on_new_text(home: Path, tmp_path: Path, answer: Callable) -> None:
    fresh = tmp_path / "fresh.jsonl"
    stories = sample_stories(60, seed=99)
    fresh.write_text("".join(json.dumps({"text": story}) + "\n" for story in stories))
    known, new = answer("eval", home / "run"), answer("eval", home / "run", "--text", fresh)
    assert new["bits_per_byte"] == pytest.approx(known["bits_per_byte"], rel=0.1)


def test_the_model_writes_words_of_its_stories(home: Path, answer: Callable) -> None:
    words = {word for story in sample_stories(1200, seed=7) for word in story.split()}
    made = answer("generate", home / "run", "--prompt", "One day", "--samples", 4, "--seed", 3,
                  "--max-new-tokens", 80)  # fmt: skip
    written = [word for text in made for word in text["text"].split()]
    assert len(written) > 60
    assert sum(word in words for word in written) > 0.5 * len(written)


def test_stock_classes_compute_the_same_from_the_checkpoint(home: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = home / "run" / "checkpoints" / "best"
    ours = load_checkpoint(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "Once upon a time, a fox said: « 🌱 »"
    ids = ours.tokenizer.encode(text)
    assert tokenizer(text, add_special_tokens=False).input_ids == ids
    assert tokenizer.decode(ids) == text
    with torch.no_grad():
        difference = ours.model(torch.tensor([ids])) - theirs(torch.tensor([ids])).logits
    assert difference.abs().max() < 1e-4
