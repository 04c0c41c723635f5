"""A model's embedding and head for another vocabulary.

Rows that mean the same are kept to the last bit. New ones are the mean of the old: so the logit of
a new token is at first the mean of the others', where that of a random row can be above them all
(Hewitt, 2021, "Initializing new word embeddings for pretrained language models").
"""

from __future__ import annotations

import torch
from torch import Tensor

from seedbed.errors import CheckpointError
from seedbed.model.config import ModelConfig
from seedbed.tokenizers.vocabulary import KeptRows


def change_vocabulary(
    config: ModelConfig, state: dict[str, Tensor], kept: KeptRows
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the config and state dict of the model for the vocabulary that `kept` tells.

    Rows beyond the old tokens are padding. They are no part of the mean; a token that comes to
    stand in one gets the mean, and the rest is left out. Without any change the very same tensors
    are returned; `state` is never written to.

    Raises CheckpointError when the weights are not of `config`.
    """
    size = len(kept.rows)
    names = ["embedding.weight"] if config.tie_embeddings else ["embedding.weight", "head.weight"]
    changed = {name: _new_rows(name, state[name], config, kept, size) for name in names}
    state = state | changed
    if config.tie_embeddings:
        state["head.weight"] = state["embedding.weight"]
    return config.model_copy(update={"vocab_size": size}), state


def _new_rows(name: str, old: Tensor, config: ModelConfig, kept: KeptRows, size: int) -> Tensor:
    """Return (size, d_model) from `old` (vocab, d_model)."""
    if old.shape != (config.vocab_size, config.d_model):
        raise CheckpointError(
            f"{name} has the shape {tuple(old.shape)}, but config.json tells of "
            f"{(config.vocab_size, config.d_model)}. The weights are not of this config.json."
        )
    if size == config.vocab_size and kept.rows == tuple(range(kept.real)):
        return old
    mean = old[: kept.real].mean(0, dtype=torch.float32).to(old.dtype)
    new = mean.repeat(size, 1)
    ids = [new_id for new_id, old_id in enumerate(kept.rows) if old_id is not None]
    new[ids] = old[[kept.rows[new_id] for new_id in ids]]
    return new
