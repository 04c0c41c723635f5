"""Conversations in rows: each whole, each once an epoch, each for itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seedbed.data.chat_batches import ChatSampler, best_fit
from seedbed.data.chats import prepare_chats
from seedbed.data.prepared import PreparedDataset
from seedbed.data.token_shards import TokenShards
from seedbed.errors import DataError
from seedbed.tokenizers.simple import ByteTokenizer

WINDOW = 96


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Return 60 conversations of different lengths."""
    folder = tmp_path_factory.mktemp("chats")
    records = [
        {
            "messages": [
                {"role": "user", "content": f"Say {n}" + "!" * (n % 7)},
                {"role": "assistant", "content": f"{n}. " * (1 + n % 5)},
            ]
        }
        for n in range(60)
    ]
    file = folder / "chats.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return prepare_chats([str(file)], folder / "data", ByteTokenizer(), window=WINDOW)


def rows_of_epoch(sampler: ChatSampler, epoch: int) -> list[list[int]]:
    """Return the inputs of each row, without padding."""
    first = epoch * sampler.rows_per_epoch
    batch = sampler.batch(first, sampler.rows_per_epoch)
    assert batch.documents is not None
    return [
        ids[documents >= 0].tolist()
        for ids, documents in zip(batch.inputs, batch.documents, strict=True)
    ]


def test_every_conversation_is_whole_and_once_in_an_epoch(dataset: PreparedDataset) -> None:
    sampler = ChatSampler(dataset.train, WINDOW, seed=1)
    expected = sorted(document[:-1].tolist() for document in dataset.train.documents())
    batch = sampler.batch(0, sampler.rows_per_epoch)
    assert batch.documents is not None
    found: list[list[int]] = []
    for ids, documents in zip(batch.inputs, batch.documents, strict=True):
        found += [ids[documents == number].tolist() for number in range(int(documents.max()) + 1)]
    assert sorted(found) == expected


def test_targets_are_what_follows_where_it_is_learned(dataset: PreparedDataset) -> None:
    batch = ChatSampler(dataset.train, WINDOW, seed=1).batch(0, 3)
    assert batch.documents is not None
    special = dataset.tokenizer.special
    for ids, targets, documents in zip(batch.inputs, batch.targets, batch.documents, strict=True):
        for number in range(int(documents.max()) + 1):
            own = (documents == number).nonzero().flatten()
            answer = int((ids[own] == special.assistant).nonzero()[0])
            assert (targets[own][:answer] == -100).all()
            assert targets[own][answer:-1].tolist() == ids[own][answer + 1 :].tolist()
            assert int(targets[own][-1]) == special.eos
    assert (batch.targets[batch.documents == -1] == -100).all()


def test_an_epoch_has_its_own_order_and_a_seed_gives_it_again(dataset: PreparedDataset) -> None:
    sampler = ChatSampler(dataset.train, WINDOW, seed=1)
    first, second = rows_of_epoch(sampler, 0), rows_of_epoch(sampler, 1)
    assert first != second
    assert sorted(first) == sorted(second)
    assert rows_of_epoch(ChatSampler(dataset.train, WINDOW, seed=1), 0) == first
    assert rows_of_epoch(ChatSampler(dataset.train, WINDOW, seed=2), 0) != first


def test_a_batch_does_not_depend_on_how_it_is_asked_for(dataset: PreparedDataset) -> None:
    sampler = ChatSampler(dataset.train, WINDOW, seed=1)
    whole = sampler.batch(5, 4)
    parts = [sampler.batch(5 + i, 1) for i in range(4)]
    for name in ("inputs", "targets", "documents"):
        both = [np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)]
        assert (both[0] == both[1].numpy()).all()


def test_best_fit_wastes_little() -> None:
    sizes = np.random.default_rng(0).integers(5, 200, size=2000).tolist()
    groups = best_fit(sizes, 256)
    assert sorted(i for group in groups for i in group) == list(range(2000))
    assert all(sum(sizes[i] for i in group) <= 256 for group in groups)
    assert sum(sizes) / (256 * len(groups)) > 0.98


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="300 tokens, but a row has 256"):
        best_fit([10, 300], 256)


def test_the_order_stays_for_runs_under_way() -> None:
    sizes = np.array([3, 5, 4, 6, 2, 7, 3, 5])
    ids = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)
    shards = TokenShards(ids, np.cumsum([0, *sizes]), np.ones(len(ids), bool))
    sampler = ChatSampler(shards, 8, seed=5)
    assert sampler.rows_per_epoch == 4
    assert sampler.batch(3, 8).inputs[:, 0].tolist() == [5, 6, 5, 1, 3, 5, 1, 6]
