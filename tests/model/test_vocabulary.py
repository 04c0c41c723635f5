"""A model with another vocabulary: what is kept is kept to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model_shapes import SHAPES, random_model, small
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.errors import CheckpointError
from seedbed.model.config import ModelConfig
from seedbed.model.transformer import Transformer
from seedbed.model.vocabulary import change_vocabulary
from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.simple import ByteTokenizer
from seedbed.tokenizers.vocabulary import KeptRows, kept_rows

TIED_AND_NOT = ["qwen3", "qwen3-untied-gqa", "gpt2", "gpt2-untied"]
ROWS = {True: ["embedding.weight"], False: ["embedding.weight", "head.weight"]}


def only_chat_tokens(size: int, added: int = 3) -> KeptRows:
    return KeptRows((*range(size), *[None] * added), real=size)


def changed(model: Transformer, kept: KeptRows) -> tuple[Transformer, dict[str, Tensor]]:
    config, state = change_vocabulary(model.config, model.state_dict(), kept)
    grown = Transformer(config).eval()
    grown.load_state_dict(state)
    return grown, state


def rows_of(config: ModelConfig) -> list[str]:
    return ROWS[config.tie_embeddings]


@pytest.mark.parametrize("name", SHAPES)
def test_logits_of_the_old_tokens_stay_when_chat_tokens_are_added(name: str) -> None:
    model = random_model(name)
    grown, _ = changed(model, only_chat_tokens(96))
    assert grown.config == small(name, vocab_size=99)
    ids = torch.randint(96, (3, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = model(ids), grown(ids)
    assert torch.equal(after[..., :96], before)
    new = after[..., 96:]
    mean = before.mean(-1, keepdim=True).expand_as(new)
    torch.testing.assert_close(new, mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TIED_AND_NOT)
def test_kept_rows_are_copied_and_new_ones_are_the_mean(name: str) -> None:
    model = random_model(name)
    kept = KeptRows((5, None, 95, 5, 0), real=96)
    config, state = change_vocabulary(model.config, model.state_dict(), kept)
    assert config.vocab_size == 5
    old = model.state_dict()
    for key in rows_of(config):
        assert torch.equal(state[key][[0, 2, 3, 4]], old[key][[5, 95, 5, 0]])
        torch.testing.assert_close(state[key][1], old[key].double().mean(0).float())
    others = old.keys() - {"embedding.weight", "head.weight"}
    assert all(state[key] is not None and torch.equal(state[key], old[key]) for key in others)
    assert (state["head.weight"] is state["embedding.weight"]) == config.tie_embeddings


@pytest.mark.parametrize("name", TIED_AND_NOT)
def test_nothing_changes_where_nothing_is_to_change(name: str) -> None:
    state = random_model(name).state_dict()
    kept = KeptRows(tuple(range(96)), real=96)
    config, same = change_vocabulary(small(name), state, kept)
    assert config == small(name)
    assert same.keys() == state.keys()
    assert all(same[key].data_ptr() == state[key].data_ptr() for key in state)


@pytest.mark.parametrize("name", TIED_AND_NOT)
def test_chat_tokens_within_the_padding_get_the_mean_of_the_real_rows(name: str) -> None:
    model = random_model(name)
    with torch.no_grad():
        for row in (model.embedding.weight, model.head.weight):
            row[90:] = 1000.0  # what never stood for a token
    config, state = change_vocabulary(model.config, model.state_dict(), only_chat_tokens(90))
    assert config == small(name, vocab_size=93)
    for key in rows_of(config):
        old = model.state_dict()[key]
        assert torch.equal(state[key][:90], old[:90])
        torch.testing.assert_close(state[key][90:], old[:90].mean(0).expand(3, -1))


@pytest.mark.parametrize("tokens", [40, 90, 95, 96, 97])
def test_no_padding_is_left(tokens: int) -> None:
    rows = (*range(min(tokens, 90)), *[None] * max(0, tokens - 90))
    grown, state = changed(random_model(), KeptRows(rows, real=90))
    assert grown.config.vocab_size == tokens
    assert state["embedding.weight"].shape == (tokens, 32)


def test_what_is_given_is_never_written_to() -> None:
    model = random_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    _, state = change_vocabulary(model.config, model.state_dict(), only_chat_tokens(90))
    state["embedding.weight"].zero_()
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


def test_half_precision_stays_and_its_mean_is_exact() -> None:
    state = {k: v.to(torch.bfloat16) for k, v in random_model(vocab_size=96).state_dict().items()}
    state["embedding.weight"] = torch.full((96, 32), 3.0, dtype=torch.bfloat16)
    _, grown = change_vocabulary(small(), state, only_chat_tokens(96))
    assert grown["embedding.weight"].dtype == torch.bfloat16
    assert torch.equal(grown["embedding.weight"], torch.full((99, 32), 3.0, dtype=torch.bfloat16))


def test_weights_of_another_config_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"embedding\.weight has the shape \(96, 32\)"):
        change_vocabulary(small(vocab_size=100), random_model().state_dict(), only_chat_tokens(90))


def test_another_tokenizer_reads_the_bytes_that_it_shares_as_before(tmp_path: Path) -> None:
    """From single bytes to a BPE: text in which nothing is merged has the logits it had."""
    old, new = ByteTokenizer(), train_bpe(["so long, and so long " * 9], 280)
    model = random_model(vocab_size=old.vocab_size)
    kept = kept_rows(old, new, num_rows=model.config.vocab_size)
    grown, _ = changed(model, kept)
    save_checkpoint(tmp_path / "grown", grown, new, facts={})
    loaded = load_checkpoint(tmp_path / "grown")
    text = "qxz7"
    before, after = (torch.tensor([t.encode(text)]) for t in (old, new))
    assert not torch.equal(before, after)
    with torch.no_grad():
        theirs, ours = model(before)[0], loaded.model(after)[0]
    both = [(new_id, row) for new_id, row in enumerate(kept.rows) if row is not None]
    assert len(both) == kept.count == 260
    kept_ids, old_ids = (list(ids) for ids in zip(*both, strict=True))
    torch.testing.assert_close(ours[:, kept_ids], theirs[:, old_ids])
