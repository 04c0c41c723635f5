"""A tokenizer whose bos is not its eos, from the token files to a model's figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_shapes import random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.config import build
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset
from seedbed.data.samples import sample_stories
from seedbed.evaluation.bits_per_byte import score_documents
from seedbed.evaluation.evaluate import evaluate
from seedbed.generation.engine import prompt_ids
from seedbed.training import pretrain
from seedbed.training.config import TrainConfig
from sentencepiece_models import LLAMA, train_model

SMALL = {
    "horizon": "8 steps",
    "model": {"d_model": 32, "num_layers": 2, "num_heads": 2, "context_length": 32},
    "batch_size": 4,
    "device": "cpu",
    "precision": "fp32",
    "evaluation": {"every": 8, "tokens": 100_000},
    "samples": {"tokens": 4},
}


@pytest.fixture(scope="module", params=["sentencepiece", "llama.model"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of 200 stories whose documents begin with a bos of their own."""
    home = tmp_path_factory.mktemp("bos")
    tokenizer = request.param
    if tokenizer != "sentencepiece":
        tokenizer = str(train_model(home / tokenizer, list(sample_stories(200, seed=1)), **LLAMA))
    settings = {"tokenizer": tokenizer, "vocab_size": 500, "workers": 2}
    return prepare(
        build(PrepareConfig, settings, {"sources": ["sample:stories:200"], "out": home / "data"})
    ).folder


def opened(folder: Path) -> PreparedDataset:
    return pretrain.open_dataset(folder)


def test_each_document_of_the_token_files_stands_between_bos_and_eos(dataset: Path) -> None:
    data = opened(dataset)
    special = data.tokenizer.special
    assert special.bos != special.eos
    for shards in (data.train, data.val):
        for document in shards.documents():
            assert (document[0], document[-1]) == (special.bos, special.eos)
            assert not np.isin(special.inside(document), [special.bos, special.eos]).any()
        assert (
            shards.num_tokens == data.manifest["train" if shards is data.train else "val"]["tokens"]
        )
    texts = {data.tokenizer.decode(special.inside(d).tolist()) for d in data.train.documents()}
    assert texts < set(sample_stories(200, seed=0))


def test_training_and_eval_measure_the_same_loss(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
    config = build(TrainConfig, SMALL, {"data": dataset, "out": tmp_path / "run"})
    result = pretrain.train(config, quiet=True)
    report = evaluate(tmp_path / "run")
    data = opened(dataset)
    assert report.loss == pytest.approx(result.val_loss, rel=1e-5)
    assert report.bits_per_byte == pytest.approx(result.val_bits_per_byte, rel=1e-5)
    assert report.bytes == data.manifest["val"]["bytes"]
    assert report.tokens == data.val.num_tokens - 2 * data.val.num_documents
    assert report.baseline_bits_per_byte == data.baseline_bits_per_byte


def test_a_model_begins_from_the_bos_it_has_learnt_from(dataset: Path, tmp_path: Path) -> None:
    tokenizer = opened(dataset).tokenizer
    model = random_model(vocab_size=tokenizer.vocab_size)
    save_checkpoint(tmp_path / "model", model, tokenizer, facts={})
    loaded = load_checkpoint(tmp_path / "model").tokenizer
    assert prompt_ids(loaded, "fox") == [tokenizer.special.bos, *tokenizer.encode("fox")]
    ids = [tokenizer.encode("A fox ran.")]
    from_bos, from_eos = (
        score_documents(model, ids, [10], bos=bos).loss
        for bos in (loaded.special.bos, loaded.special.eos)
    )
    assert from_bos != pytest.approx(from_eos)
