"""The beginnings that a model is asked to go on from, and how people went on, where it is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from seedbed.data.prepared import PreparedDataset
from seedbed.data.token_shards import Split
from seedbed.errors import DataError, did_you_mean
from seedbed.evaluation.evaluate import document_text
from seedbed.tokenizers.base import Tokenizer

NUM_PROMPTS = 100  # cut from a split
PROMPT_WORDS = 16
_KEYS = ("prompt", "reference", "references")


@dataclass(frozen=True)
class Prompt:
    """A beginning, and continuations of it that people wrote."""

    text: str
    references: tuple[str, ...]
    place: str  # where it stands, for a message
    whole: bool = True  # the references go on to their end


def read_prompts(path: Path, *, limit: int | None = None) -> list[Prompt]:
    """Return the prompts of a file, `limit` of them spread over it at most.

    A .jsonl file has a record a line, {"prompt": TEXT}, with "reference": TEXT or "references":
    [TEXT, ...] where continuations are known. Any other file has a prompt a line; empty lines do
    not count. Raises DataError, naming the line, for what is neither.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}.") from None
    except OSError as error:
        raise DataError(f"The prompts {path} cannot be read: {error.strerror}.") from None
    places = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    if not places:
        raise DataError(f"{path} holds no prompt. Write one a line.")
    read = _from_json if path.suffix.lower() == ".jsonl" else _from_line
    prompts = [read(line, f"{path} line {number}") for number, line in places.items()]
    return [prompts[i] for i in spread(len(prompts), limit or len(prompts))]


def _from_line(line: str, place: str) -> Prompt:
    return Prompt(line.removesuffix("\r"), (), place)


def _from_json(line: str, place: str) -> Prompt:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = error.colno if isinstance(error, json.JSONDecodeError) else 1
        reason = getattr(error, "msg", error)
        raise DataError(f"{place} is not JSON: {reason}, at column {where}.") from None
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):  # pyright: ignore[reportUnknownMemberType]
        raise DataError(f'{place} has no prompt. Write {{"prompt": "Once upon a time"}}.')
    record = cast("dict[str, Any]", record)
    near = {key: hint for key in record if key not in _KEYS and (hint := did_you_mean(key, _KEYS))}
    for key, hint in near.items():
        raise DataError(f"{place}: `{key}` is not a key of a prompt.{hint}")
    references = _references(record, place)
    return Prompt(record["prompt"], references, place)


def _references(record: dict[str, Any], place: str) -> tuple[str, ...]:
    """Return the references of a record; it may have none."""
    if "reference" in record and "references" in record:
        raise DataError(f"{place} has both `reference` and `references`: give one.")
    one = record.get("reference")
    several = record.get("references", [one] if one is not None else [])
    if not isinstance(several, list) or not all(isinstance(text, str) for text in several):
        raise DataError(
            f'{place}: write "reference": a text, or "references": a list of texts; '
            f"it is {json.dumps(record.get('references', one))[:60]}."
        )
    return tuple(cast("list[str]", several))


@dataclass(frozen=True)
class CutSettings:
    """How documents become prompts and references."""

    words: int = PROMPT_WORDS  # of a prompt
    tokens: int = 200  # of a reference, at most
    count: int = NUM_PROMPTS


def cut_prompts(
    dataset: PreparedDataset, split: Split, tokenizer: Tokenizer, settings: CutSettings
) -> list[Prompt]:
    """Return the first words of documents of a split, the rest of each as its reference.

    A reference is as long as a generated text may be: of its tokens the end of the document is one.
    The documents are the same for every model. Raises DataError when all are too short.
    """
    words, tokens = settings.words, settings.tokens
    prompts: list[Prompt] = []
    for text, place in _documents(dataset, split):
        beginning = re.match(rf"\s*(?:\S+\s+){{{words - 1}}}\S+(?=\s+\S)", text)
        if beginning is None:
            continue
        ids = tokenizer.encode(text[beginning.end() :])
        reference = tokenizer.decode(ids[:tokens]).rstrip("\N{REPLACEMENT CHARACTER}")
        prompts.append(Prompt(beginning.group(), (reference,), place, whole=len(ids) < tokens))
        if len(prompts) == settings.count:
            break
    if not prompts:
        raise DataError(
            f"No document of {dataset.folder}'s {split} split has more than {words} words to cut "
            "prompts from. Try fewer: --prompt-words."
        )
    return prompts


def _documents(dataset: PreparedDataset, split: Split) -> Iterator[tuple[str, str]]:
    """Yield each document's text and place, in an order that is shuffled once and for all."""
    shards = dataset.val if split == "val" else dataset.train
    for number in np.random.default_rng(0).permutation(shards.num_documents).tolist():
        text = document_text(dataset, shards.document(number))
        yield text, f"{dataset.folder} {split} document {number + 1:,}"


def spread(count: int, limit: int) -> list[int]:
    """Return at most `limit` numbers below `count`, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int)).tolist()
