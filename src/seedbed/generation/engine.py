"""The decoding loop: read the prompts once, then add a token at a time to a static cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from seedbed.errors import ConfigError
from seedbed.generation.sampling import SamplingSettings, next_tokens
from seedbed.model.attention import KVCache
from seedbed.model.config import ModelConfig
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.base import StreamDecoder, Tokenizer

_MOST_ROWS = 32  # written at a time
_MOST_CACHE_BYTES = 500e6  # of their keys and values, where they fill the context


@dataclass(frozen=True)
class GeneratedToken:
    """One step of one row."""

    row: int
    token_id: int
    text: str  # the characters it completes; held back while a stop text may be under way
    finished: str | None = None  # "end", "stop" or "length" with the row's last token


@dataclass
class _Row:
    """What is known of one text under way."""

    ids: list[int]  # the prompt and what was drawn
    start: int  # of the ids that the model still sees
    decoder: StreamDecoder
    held: str = ""  # decoded, but perhaps the beginning of a stop text
    count: int = 0
    finished: str | None = None

    def make_room(self, context_length: int) -> None:
        """Let the model see the newest half of a full context, and little of a finished text."""
        if self.finished:
            self.start = len(self.ids) - 1
        elif len(self.ids) - self.start > context_length:
            self.start = len(self.ids) - max(1, context_length // 2)


def stream(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 200,
    sampling: SamplingSettings | None = None,
    seed: int = 0,
    stop: Sequence[str] = (),
) -> Iterator[GeneratedToken]:
    """Return an iterator over the tokens of all prompts (token ids) together, each until it ends.

    A row ends at the document end, before a stop text, or after `max_new_tokens`. When its context
    is full, the newest half of it is read again and generation goes on. What stands for no text,
    the document end apart, is never drawn. Raises ConfigError when there is nothing to do.
    """
    if max_new_tokens < 1:
        raise ConfigError(f"`max_new_tokens` is {max_new_tokens} but must be 1 or more.")
    if not all(stop):
        raise ConfigError("`stop` is an empty text, which would end every text at once.")
    if not prompts:
        return iter(())
    rows = [_begin(list(p) or [tokenizer.special.bos], model, tokenizer) for p in prompts]
    settings = sampling or SamplingSettings()
    return _draw(model, tokenizer, rows, max_new_tokens, settings, seed, stop)


@torch.inference_mode()
def _draw(
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[_Row],
    max_new_tokens: int,
    settings: SamplingSettings,
    seed: int,
    stop: Sequence[str],
) -> Iterator[GeneratedToken]:
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros(len(rows), model.config.vocab_size, dtype=torch.bool, device=device)
    for number, row in enumerate(rows):
        seen[number, torch.tensor(row.ids, device=device)] = True
    penalised = settings.repetition_penalty != 1.0
    barrier = _barrier(model, tokenizer, device)
    cache, logits = _read(model, rows, max_new_tokens)
    for _ in range(max_new_tokens):
        ids = next_tokens(logits + barrier, settings, generator, seen)
        if penalised:
            seen[torch.arange(len(rows), device=device), ids] = True
        for number, (row, token_id) in enumerate(zip(rows, ids.tolist(), strict=True)):
            row.ids.append(token_id)
            if row.finished is None:
                yield _advance(row, number, token_id, tokenizer, max_new_tokens, stop)
        if all(row.finished for row in rows):
            return
        if cache.length < model.config.context_length:
            logits = model(ids[:, None], cache)[:, -1]
        else:
            for row in rows:
                row.make_room(model.config.context_length)
            cache, logits = _read(model, rows, max_new_tokens)


def _begin(prompt: list[int], model: Transformer, tokenizer: Tokenizer) -> _Row:
    """Return the row of a prompt; of one that fills the context the newest three quarters."""
    context_length = model.config.context_length
    fits = len(prompt) < context_length
    start = 0 if fits else len(prompt) - max(1, context_length * 3 // 4)
    return _Row(prompt, start, StreamDecoder(tokenizer))


def _barrier(model: Transformer, tokenizer: Tokenizer, device: torch.device) -> Tensor:
    """Return (vocab,), what is added to logits: minus infinity for what is no text, else 0.

    No text are special tokens but the end, and padding rows.
    """
    text = [bool(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)]
    text[tokenizer.special.eos] = True
    barrier = torch.full((model.config.vocab_size,), -torch.inf)
    barrier[: len(text)][torch.tensor(text)] = 0.0
    return barrier.to(device)


def _read(model: Transformer, rows: Sequence[_Row], max_new_tokens: int) -> tuple[KVCache, Tensor]:
    """Return a cache that holds what rows see of their texts, and the logits (batch, vocab).

    It has room for `max_new_tokens` more, unless the context has not.
    """
    seen = [row.ids[row.start :] for row in rows]
    device = next(model.parameters()).device
    longest = max(map(len, seen))
    padding = torch.tensor([longest - len(ids) for ids in seen], device=device)
    ids = torch.tensor([[0] * (longest - len(ids)) + ids for ids in seen], device=device)
    cache = KVCache(
        model.config,
        len(rows),
        capacity=min(model.config.context_length, longest + max_new_tokens),
        padding=padding if bool(padding.any()) else None,
        device=device,
        dtype=model.compute_dtype,
    )
    return cache, model.head(model.hidden_states(ids, cache)[:, -1])


def _advance(
    row: _Row,
    number: int,
    token_id: int,
    tokenizer: Tokenizer,
    max_new_tokens: int,
    stop: Sequence[str],
) -> GeneratedToken:
    """Return what one new token means for its row, and take note of it."""
    row.count += 1
    if token_id == tokenizer.special.eos:
        row.finished = "end"
        text = row.held + row.decoder.finish()
    else:
        row.held += row.decoder.push(token_id)
        text = _release(row, stop)
        if row.finished is None and row.count == max_new_tokens:
            row.finished = "length"
            text += row.held + row.decoder.finish()
    return GeneratedToken(number, token_id, text, row.finished)


def _release(row: _Row, stop: Sequence[str]) -> str:
    """Return the held text that can no longer become part of a stop text; end at a whole one."""
    found = [place for text in stop if (place := row.held.find(text)) >= 0]
    if found:
        row.finished = "stop"
        return row.held[: min(found)]
    keep = max((_overlap(row.held, text) for text in stop), default=0)
    ready, row.held = row.held[: len(row.held) - keep], row.held[len(row.held) - keep :]
    return ready


def _overlap(text: str, stop: str) -> int:
    """Return how many of the last characters of `text` begin `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in sizes if text.endswith(stop[:n])), 0)


class Continuation(NamedTuple):
    """What was added to a prompt."""

    text: str
    tokens: int
    finished: str  # "end", "stop" or "length"


def write(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 200,
    sampling: SamplingSettings | None = None,
    seed: int = 0,
    stop: Sequence[str] = (),
    progress: Callable[[int, int], object] = lambda done, total: None,  # noqa: ARG005
) -> list[Continuation]:
    """Return what `stream` adds to each prompt (token ids), some prompts at a time.

    The first of them are drawn with `seed`, the next with the seed after it. `progress` gets (texts
    written, in all).
    """
    rows = rows_at_a_time(model.config)
    written: list[Continuation] = []
    for start in range(0, len(prompts), rows):
        progress(start, len(prompts))
        some = prompts[start : start + rows]
        tokens = stream(
            model,
            tokenizer,
            some,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            seed=seed + start // rows,
            stop=stop,
        )
        parts: list[list[GeneratedToken]] = [[] for _ in some]
        for token in tokens:
            parts[token.row].append(token)
        written += [
            Continuation("".join(t.text for t in own), len(own), own[-1].finished or "length")
            for own in parts
        ]
    progress(len(prompts), len(prompts))
    return written


def rows_at_a_time(config: ModelConfig) -> int:
    """Return how many texts the cache has room for: the same on every machine."""
    numbers = 2 * config.num_layers * config.num_kv_heads * config.head_dim * config.context_length
    return max(1, min(_MOST_ROWS, int(_MOST_CACHE_BYTES / (4 * numbers))))


@dataclass(frozen=True)
class Generation:
    """A finished text."""

    prompt: str
    text: str  # what was added
    tokens: int
    finished: str  # "end", "stop" or "length"


def generate(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    samples: int = 1,
    max_new_tokens: int = 200,
    sampling: SamplingSettings | None = None,
    seed: int = 0,
    stop: Sequence[str] = (),
    progress: Callable[[int, int], object] = lambda done, total: None,  # noqa: ARG005
) -> list[Generation]:
    """Return `samples` continuations of each prompt; `write` says how they are drawn.

    Raises ConfigError when there is nothing to do.
    """
    if samples < 1:
        raise ConfigError(f"`samples` is {samples} but must be 1 or more.")
    texts = [prompt for prompt in prompts for _ in range(samples)]
    written = write(
        model,
        tokenizer,
        [prompt_ids(tokenizer, text) for text in texts],
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seed=seed,
        stop=stop,
        progress=progress,
    )
    return [Generation(prompt, *own) for prompt, own in zip(texts, written, strict=True)]


def prompt_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids that a prompt starts a document with."""
    return [tokenizer.special.bos, *tokenizer.encode(text)]
