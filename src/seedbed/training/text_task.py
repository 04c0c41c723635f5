"""What pre-training learns and measures, of documents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.prepared import PreparedDataset
from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World
from seedbed.evaluation.bits_per_byte import DocumentScores, score_documents
from seedbed.generation.engine import generate
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.base import SpecialTokens, Tokenizer, bytes_before_text
from seedbed.training.config import TrainConfig
from seedbed.training.job import Task
from seedbed.training.resolve import rows_of_a_process, watched_splits
from seedbed.training.step import make_loss


def text_task(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset, world: World
) -> Task:
    """Return what learning from a dataset of documents is."""
    window = config.window_in(model.config)
    sampler = WindowSampler(dataset.train.tokens, window, config.seed, config.sampling)
    return Task(
        loss_sum=make_loss(model),
        micro_batches=batch_function(sampler, config, world),
        evaluate=evaluate_function(config, model, dataset),
        sample=_sample_function(config, model, dataset),
    )


class Sampler(Protocol):
    """An endless sequence of rows to learn from."""

    def batch(self, first: int, rows: int) -> Batch:
        """Return `rows` rows from number `first` on."""
        ...


def batch_function(
    sampler: Sampler, config: TrainConfig, world: World
) -> Callable[[int], list[Batch]]:
    """Return the function from a step to this rank's rows of it, in micro-batches."""
    assert config.batch_size is not None
    assert config.micro_batch_size is not None
    batch_size = config.batch_size
    rows = rows_of_a_process(batch_size, world)  # the run may have begun with more or fewer
    micro = math.gcd(config.micro_batch_size, rows)

    def micro_batches(step: int) -> list[Batch]:
        first = step * batch_size + world.rank * rows
        return [sampler.batch(first + i, micro) for i in range(0, rows, micro)]

    return micro_batches


def fixed_part(shards: TokenShards, tokens: int, special: SpecialTokens) -> list[np.ndarray]:
    """Return documents spread evenly over a split, without the special tokens around them.

    They have `tokens` at most in all: where one would go beyond, it is cut, and is the last.
    """
    sizes = np.diff(shards.offsets)
    share = max(1, len(sizes) * min(tokens, int(sizes.sum())) // max(1, int(sizes.sum())))
    part: list[np.ndarray] = []
    left = tokens
    for i in np.unique(np.linspace(0, len(sizes) - 1, share).astype(int)):
        if left > 0:
            part.append(np.asarray(special.inside(shards.document(int(i)))[:left]))
            left -= len(part[-1])
    return part


def evaluate_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[..., dict[str, DocumentScores]]:
    """Return the function that scores a model, as it then is, on the splits that are watched.

    It takes the share of the watched text that shall be scored, by default all of it.
    """
    special = dataset.tokenizer.special
    splits = watched_splits(config, dataset)
    watched = {n: fixed_part(s, config.evaluation.tokens, special) for n, s in splits.items()}
    lengths = token_lengths(dataset.tokenizer)
    before = bytes_before_text(dataset.tokenizer)

    def evaluate(share: float = 1.0) -> dict[str, DocumentScores]:
        scores: dict[str, DocumentScores] = {}
        for name, part in watched.items():
            if share < 1:
                tokens = math.ceil(share * sum(map(len, part)))
                part = fixed_part(splits[name], tokens, special)
            scores[name] = score_documents(
                model,
                part,
                [int(lengths[document].sum()) - before for document in part],
                bos=special.bos,
                dtype=model.compute_dtype,
                window=config.window,
            )
        return scores

    return evaluate


def token_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Return how many bytes each token stands for: (vocab_size,)."""
    return np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])


def _sample_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[..., list[dict[str, Any]]]:
    """Return the function that writes samples; it takes the share of their length, as above."""
    tokenizer = dataset.tokenizer
    prompts = config.samples.prompts
    if prompts is None:
        firsts = [
            tokenizer.special.inside(dataset.val.document(i))[:6]
            for i in range(min(2, dataset.val.num_documents))
        ]
        prompts = tuple(tokenizer.decode(ids.tolist()) for ids in firsts)

    def sample(share: float = 1.0) -> list[dict[str, Any]]:
        tokens = math.ceil(share * config.samples.tokens)
        if tokens == 0 or not prompts:
            return []
        model.eval()
        made = generate(model, tokenizer, prompts, max_new_tokens=tokens, seed=1)
        model.train()
        return [{"prompt": g.prompt, "text": g.text, "finished": g.finished} for g in made]

    return sample
