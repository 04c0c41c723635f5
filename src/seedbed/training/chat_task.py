"""What fine-tuning learns and measures, of conversations or of pairs of answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seedbed.checkpoints import load_checkpoint
from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.chat_batches import ChatSampler
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World
from seedbed.errors import ConfigError
from seedbed.evaluation.bits_per_byte import tokens_at_a_time
from seedbed.evaluation.chat import score_conversations
from seedbed.evaluation.evaluate import choose_documents
from seedbed.generation.engine import write
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.base import Tokenizer, bytes_before_text
from seedbed.tokenizers.chat_template import Rendered, answer_prompt, transcript
from seedbed.tokenizers.conversation import Message
from seedbed.training.config import FinetuneSettings, TrainConfig
from seedbed.training.job import Scores, Task
from seedbed.training.preferences import (
    PairBatch,
    PairSampler,
    log_probs_of,
    make_pair_loss,
    score_pairs,
)
from seedbed.training.resolve import rows_replayed, watched_splits
from seedbed.training.step import make_loss
from seedbed.training.text_task import batch_function, token_lengths

PROMPTS = 4  # that are answered at each evaluation


def chat_task(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset, world: World
) -> Task:
    """Return what learning from a dataset of conversations is.

    Raises ConfigError for text to mix in that another tokenizer encoded.
    """
    assert config.finetune is not None
    if config.finetune.method == "dpo":
        return _pairs_task(config, config.finetune, model, dataset, world)
    return _conversations_task(config, model, dataset, world)


def _conversations_task(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset, world: World
) -> Task:
    window = config.window_in(model.config)
    chats = ChatSampler(dataset.train, window, config.seed)
    sampler = chats
    if config.finetune and config.finetune.replay:
        texts = _replay_sampler(config, config.finetune.replay, dataset, window)
        sampler = MixedSampler(chats, texts, config.batch_size or 1, rows_replayed(config))
    return Task(
        loss_sum=make_loss(model),
        micro_batches=batch_function(sampler, config, world),
        evaluate=chat_evaluate_function(config, model, dataset),
        sample=_answer_function(config, model, dataset),
    )


def _replay_sampler(
    config: TrainConfig, folder: Path, dataset: PreparedDataset, window: int
) -> WindowSampler:
    texts = open_dataset(folder)
    if texts.tokenizer.fingerprint() != dataset.tokenizer.fingerprint():
        raise ConfigError(
            f"`replay` is {texts.folder}, which was prepared with another tokenizer than the model "
            f"now has. Prepare it again with --tokenizer {config.from_checkpoint}."
        )
    return WindowSampler(texts.train.tokens, window, config.seed)


class MixedSampler:
    """Rows of conversations, and at the end of each step some windows of plain text."""

    def __init__(
        self, chats: ChatSampler, texts: WindowSampler, batch_size: int, replayed: int
    ) -> None:
        self._chats, self._texts = chats, texts
        self._batch_size, self._replayed = batch_size, replayed

    def batch(self, first: int, rows: int) -> Batch:
        """Return `rows` rows from number `first` on."""
        made = [self._row(number).tensors for number in range(first, first + rows)]
        return Batch(*(torch.cat(parts) for parts in zip(*made, strict=True)))

    def _row(self, number: int) -> Batch:
        step, place = divmod(number, self._batch_size)
        chats = self._batch_size - self._replayed
        if place < chats:
            return self._chats.batch(step * chats + place, 1)
        text = self._texts.batch(step * self._replayed + place - chats, 1)
        return Batch(text.inputs, text.targets, torch.zeros_like(text.inputs))


def chat_evaluate_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[..., Mapping[str, Scores]]:
    """Return the function that scores the assistant's words in a part of the splits watched."""
    tokenizer, lengths = dataset.tokenizer, token_lengths(dataset.tokenizer)

    def num_bytes(rendered: Rendered) -> int:
        """Return how many bytes the assistant says, of which no tokenizer's space is one."""
        said = np.array(rendered.ids)[rendered.trained]
        answers = np.count_nonzero(said == tokenizer.special.eos)
        return int(lengths[said].sum() - answers * bytes_before_text(tokenizer))

    def evaluate(share: float = 1.0) -> Mapping[str, Scores]:
        scores: dict[str, Scores] = {}
        for name, shards in watched_splits(config, dataset).items():
            numbers = choose_documents(shards, math.ceil(share * config.evaluation.tokens))
            rendered = [_rendered(shards, number) for number in numbers]
            scores[name] = score_conversations(
                model,
                rendered,
                [num_bytes(each) for each in rendered],
                dtype=model.compute_dtype,
                window=config.window,
            )
        return scores

    return evaluate


def _rendered(shards: TokenShards, number: int) -> Rendered:
    return Rendered(shards.document(number).tolist(), shards.trained_of(number).tolist())


def _answer_function(
    config: TrainConfig, model: Transformer, dataset: PreparedDataset
) -> Callable[..., list[dict[str, Any]]]:
    """Return the function that answers the prompts given, or the first of held-out conversations.

    It takes the share of the answers' length.
    """
    tokenizer = dataset.tokenizer
    if config.samples.prompts is None:
        numbers = range(0, dataset.val.num_documents, 2 if _is_dpo(config) else 1)
        prompts = [_first_question(dataset.val, number) for number in numbers[:PROMPTS]]
    else:
        asked = ([Message("user", text)] for text in config.samples.prompts)
        prompts = [answer_prompt(tokenizer, messages) for messages in asked]

    def answer(share: float = 1.0) -> list[dict[str, Any]]:
        tokens = math.ceil(share * config.samples.tokens)
        if tokens == 0:
            return []
        model.eval()
        answers = write(model, tokenizer, prompts, max_new_tokens=tokens, seed=1)
        model.train()
        space = " " * bytes_before_text(tokenizer)
        return [
            {
                "prompt": _without_marks(tokenizer, prompt),
                "text": own.text.removeprefix(space),
                "finished": own.finished,
            }
            for prompt, own in zip(prompts, answers, strict=True)
        ]

    return answer


def _without_marks(tokenizer: Tokenizer, prompt: list[int]) -> str:
    return transcript(tokenizer, Rendered(prompt, [False] * len(prompt)))


def _is_dpo(config: TrainConfig) -> bool:
    return config.finetune is not None and config.finetune.method == "dpo"


def _first_question(shards: TokenShards, number: int) -> list[int]:
    """Return the ids of a conversation before the first that are learned."""
    return shards.document(number)[: int(shards.trained_of(number).argmax())].tolist()


# --- pairs of answers -----------------------------------------------------------------------


def _pairs_task(
    config: TrainConfig,
    settings: FinetuneSettings,
    model: Transformer,
    dataset: PreparedDataset,
    world: World,
) -> Task:
    """Return what learning from pairs is; the model that training began from is the reference."""
    assert config.from_checkpoint is not None
    reference = load_checkpoint(config.from_checkpoint, world.device).model.requires_grad_(False)
    reference.compute_dtype = model.compute_dtype
    sampler = PairSampler(dataset.train, config.seed)
    return Task(
        loss_sum=make_pair_loss(model, reference, settings.beta),
        micro_batches=batch_function(sampler, config, world),
        evaluate=_evaluate_pairs_function(config, settings.beta, model, reference, dataset),
        sample=_answer_function(config, model, dataset),
    )


def _evaluate_pairs_function(
    config: TrainConfig,
    beta: float,
    model: Transformer,
    reference: Transformer,
    dataset: PreparedDataset,
) -> Callable[..., Mapping[str, Scores]]:
    """Return the function that scores a part of the pairs of the splits watched."""
    lengths, before = token_lengths(dataset.tokenizer), bytes_before_text(dataset.tokenizer)
    splits = watched_splits(config, dataset)

    @cache
    def watched(name: str, share: float) -> tuple[list[PairBatch], Tensor]:
        """Return the pairs of a split that are scored, and what the reference makes of them."""
        sampler = PairSampler(splits[name], config.seed)
        wanted = math.ceil(share * config.evaluation.tokens / sampler.width)
        count = min(wanted, sampler.pairs_per_epoch)
        together = tokens_at_a_time(model.config.vocab_size, sampler.width) // sampler.width
        firsts = range(0, count, together)
        batches = [sampler.batch(first, min(together, count - first)) for first in firsts]
        return batches, log_probs_of(reference, batches)

    def evaluate(share: float = 1.0) -> Mapping[str, Scores]:
        scores: dict[str, Scores] = {}
        for name in splits:
            batches, said = watched(name, share)
            own = log_probs_of(model, batches)
            scores[name] = score_pairs(own, said, batches, lengths, beta=beta, bytes_before=before)
        return scores

    return evaluate


# --- what is told before it starts -----------------------------------------------------------


def about_conversations(config: TrainConfig) -> Iterator[str]:
    """Yield lines on the conversations of a run, and one of them with what is learned marked."""
    dataset = open_dataset(config.data, verify=False)
    train, what = dataset.manifest["train"], "pairs" if _is_dpo(config) else "conversations"
    each = 2 if _is_dpo(config) else 1
    yield (
        f"{what}: {train['documents'] // each:,} to learn from, "
        f"{dataset.val.num_documents // each:,} held out; "
        f"{train['trained_tokens'] / train['tokens']:.0%} of the tokens are learned"
    )
    for reason, drop in dataset.manifest["drops"].items():
        yield f"{drop['documents']:,} {reason}; the first: {drop['first']}"
    if _is_dpo(config):
        yield "the first of them, the better answer, then the worse one, in « »:"
    else:
        yield "the first of them; what is learned stands in « »:"
    for number in range(each):
        yield transcript(dataset.tokenizer, _rendered(dataset.train, number))
