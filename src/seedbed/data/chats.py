"""Conversations, or pairs of answers, to token files that say what is to be learned.

The folder is a prepared dataset with a mask beside each split's tokens. A pair of answers is two
conversations one after the other: the chosen one, then the rejected one.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seedbed
from seedbed.data.cleaning import (
    content_hash,
    default_validation_fraction,
    validation_threshold,
)
from seedbed.data.conversations import Preference, read_conversations, read_preferences
from seedbed.data.documents import find_sources
from seedbed.data.drops import EXACT, IN_VALIDATION, TOO_LONG, Drops
from seedbed.data.encode_worker import dtype_for
from seedbed.data.pieces import Source
from seedbed.data.prepared import KIND, PreparedDataset, open_dataset
from seedbed.data.token_shards import Split
from seedbed.errors import DataError
from seedbed.files import replace_folder, seal_folder
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.chat_template import Rendered, render, render_answer
from seedbed.tokenizers.conversation import Conversation, Message
from seedbed.tokenizers.utf8 import encode_utf8

CUT = "cut at a turn"  # kept, but for what did not fit


@dataclass(frozen=True)
class _Example:
    """A conversation, or the two of a pair, and what decides its side of the split."""

    key: int
    conversations: list[tuple[NDArray[np.uint32], NDArray[np.bool_]]]  # ids; which are learned
    place: str


def prepare_chats(
    sources: Sequence[str],
    out: Path,
    tokenizer: Tokenizer,
    *,
    window: int,
    val: Sequence[str] = (),
    val_fraction: float | None = None,
    preferences: bool = False,
) -> PreparedDataset:
    """Return the dataset made of the conversations of all sources, from `out`, where it is written.

    A conversation has `window` tokens at most (after the first): a longer one ends at an earlier
    answer, or is left out where its first answer ends beyond. `val` are sources held out;
    otherwise a share of the conversations is, by their hash (a pair's by that of its prompt), a
    tenth of a small set. All of it is held in memory. `preferences`: read pairs of answers.

    Raises DataError when there is nothing to learn, or nothing to hold out.
    """
    drops = Drops()
    reader = _Reader(tokenizer, window, preferences, drops)
    held_out = _without_copies(reader.examples(val), drops, set())
    before = {example.key for example in held_out}
    training = _without_copies(reader.examples(sources), drops, before)
    if not val:
        training, held_out = _split(training, val_fraction)
    if not (training and held_out):
        raise DataError(
            f"{'--val' if training else ', '.join(sources)} holds nothing to learn that fits into "
            f"{window:,} tokens." + "".join(f"\n  {n:,} {why}" for why, n in drops.counts.items())
        )
    with replace_folder(out) as aside:
        tokenizer.save(aside)
        totals = {
            "train": _write(aside, "train", training, tokenizer),
            "val": _write(aside, "val", held_out, tokenizer),
        }
        seal_folder(
            aside,
            kind=KIND,
            conversations=True,
            preferences=preferences,
            version=seedbed.__version__,
            dtype=dtype_for(tokenizer.vocab_size).name,
            vocab_size=tokenizer.vocab_size,
            tokenizer={"kind": tokenizer.kind, "fingerprint": tokenizer.fingerprint()},
            **totals,
            drops=drops.facts(),
            sources=[source.facts() for source in reader.sources],
            settings={"window": window, "val_fraction": val_fraction},
        )
    return open_dataset(out)


class _Reader:
    """Reads sources and renders what they hold, within the window."""

    def __init__(self, tokenizer: Tokenizer, window: int, preferences: bool, drops: Drops) -> None:
        self.sources: list[Source] = []
        self._tokenizer, self._window, self._drops = tokenizer, window, drops
        self._preferences = preferences

    def examples(self, names: Sequence[str]) -> Iterator[_Example]:
        found = find_sources(names)
        self.sources += found
        if self._preferences:
            for pair in read_preferences(found, drops=self._drops):
                yield from self._pair(pair)
        else:
            for conversation in read_conversations(found, drops=self._drops):
                yield from self._conversation(conversation)

    def _conversation(self, conversation: Conversation) -> Iterator[_Example]:
        rendered = render(self._tokenizer, conversation.messages)
        if not self._fits(rendered):
            cut = self._cut(rendered)
            self._drops.add(CUT if cut else TOO_LONG, conversation.place)
            if cut is None:
                return
            rendered = cut
        yield _Example(_key_of(conversation.messages), _arrays(rendered), conversation.place)

    def _pair(self, pair: Preference) -> Iterator[_Example]:
        both = [
            render_answer(self._tokenizer, pair.prompt, answer)
            for answer in (pair.chosen, pair.rejected)
        ]
        if all(map(self._fits, both)):
            yield _Example(_key_of(pair.prompt), _arrays(*both), pair.place)
        else:
            self._drops.add(TOO_LONG, pair.place)

    def _fits(self, rendered: Rendered) -> bool:
        return len(rendered.ids) - 1 <= self._window

    def _cut(self, rendered: Rendered) -> Rendered | None:
        """Return the conversation up to the last answer within the window, if there is one."""
        eos = self._tokenizer.special.eos
        for end in range(self._window, 0, -1):
            if rendered.ids[end] == eos and rendered.trained[end]:
                return Rendered(rendered.ids[: end + 1], rendered.trained[: end + 1])
        return None


def _key_of(messages: Sequence[Message]) -> int:
    """Return a hash of who says what, before any tokenizer or window has a say in it."""
    said = "\0".join(f"{message.role}\0{message.content}" for message in messages)
    return content_hash(encode_utf8(said))


def _arrays(*conversations: Rendered) -> list[tuple[NDArray[np.uint32], NDArray[np.bool_]]]:
    return [(np.array(r.ids, np.uint32), np.array(r.trained, np.bool_)) for r in conversations]


def _without_copies(
    examples: Iterator[_Example], drops: Drops, held_out: set[int]
) -> list[_Example]:
    """Return the examples but for copies, and for those that are held out."""
    kept: list[_Example] = []
    seen: set[int] = set()
    for example in examples:
        whole = content_hash(b"".join(ids.tobytes() for ids, _ in example.conversations))
        if example.key in held_out or whole in seen:
            drops.add(IN_VALIDATION if example.key in held_out else EXACT, example.place)
        else:
            seen.add(whole)
            kept.append(example)
    return kept


def _split(
    examples: list[_Example], fraction: float | None
) -> tuple[list[_Example], list[_Example]]:
    if not examples:
        return [], []
    if fraction is None:
        tokens = sum(len(ids) for example in examples for ids, _ in example.conversations)
        fraction = default_validation_fraction(4 * tokens)  # bytes, roughly
    keys = np.array(sorted(example.key for example in examples), np.uint64)
    threshold = validation_threshold(keys, fraction)
    training = [example for example in examples if example.key >= threshold]
    return training, [example for example in examples if example.key < threshold]


def _write(
    folder: Path, split: Split, examples: Sequence[_Example], tokenizer: Tokenizer
) -> dict[str, Any]:
    """Write the files of a split; return what they hold."""
    conversations = [each for example in examples for each in example.conversations]
    lengths = np.array([len(ids) for ids, _ in conversations], np.int64)
    all_ids = np.concatenate([ids for ids, _ in conversations])
    ids = all_ids.astype(dtype_for(tokenizer.vocab_size))
    trained = np.concatenate([trained for _, trained in conversations])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype("<i8")
    for suffix, content in (("bin", ids), ("mask", trained), ("idx", offsets)):
        content.tofile(folder / f"{split}.{suffix}")
    return {
        "tokens": ids.size,
        "documents": len(conversations),
        "bytes": _bytes_of(ids, tokenizer),
        "trained_tokens": int(trained.sum()),
    }


def _bytes_of(ids: NDArray[np.unsignedinteger], tokenizer: Tokenizer) -> int:
    counts = np.bincount(ids, minlength=tokenizer.vocab_size)
    return sum(int(n) * len(tokenizer.token_bytes(i)) for i, n in enumerate(counts.tolist()) if n)
