"""Conversations for tests, a model that knows some by heart, and a dataset that holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model_shapes import small
from seedbed.data.prepared import KIND
from seedbed.files import seal_folder
from seedbed.model.transformer import Transformer, init_weights
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.chat_template import render
from seedbed.tokenizers.conversation import Message
from seedbed.tokenizers.simple import ByteTokenizer

TOKENIZER = ByteTokenizer()


def talk(*turns: str) -> list[Message]:
    """Return what the user and the assistant say in turn; "!" marks a system message first."""
    system = [Message("system", turns[0][1:])] if turns[0].startswith("!") else []
    roles = ("user", "assistant")
    rest = turns[len(system) :]
    return system + [Message(roles[i % 2], text) for i, text in enumerate(rest)]


KNOWN = [
    talk("cat?", "meow"),
    talk("dog?", "woof"),
    talk("cow?", "moo!"),
    talk("sky?", "blue", "why?", "air."),
]


def model_that_knows(conversations: Sequence[Sequence[Message]] = KNOWN) -> Transformer:
    """Return a byte model that says the answers of some conversations by heart."""
    model = Transformer(small(vocab_size=TOKENIZER.vocab_size, context_length=48))
    init_weights(model, 0)
    batch = [render(TOKENIZER, messages) for messages in conversations]
    longest = max(len(rendered.ids) for rendered in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), -100)
    for row, rendered in enumerate(batch):
        size, trained = len(rendered.ids), torch.tensor(rendered.trained)
        ids[row, :size] = torch.tensor(rendered.ids)
        targets[row, :size] = ids[row, :size].masked_fill(~trained, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        logits = model(ids[:, :-1]).flatten(0, 1)
        F.cross_entropy(logits, targets[:, 1:].flatten()).backward()
        optimizer.step()
    return model.eval()


def write_messages(path: Path, conversations: Sequence[Sequence[Message]]) -> Path:
    """Write a record {"messages": ...} for each conversation."""
    records = [
        {"messages": [{"role": m.role, "content": m.content} for m in messages]}
        for messages in conversations
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def chat_dataset(
    folder: Path,
    train: Sequence[Sequence[Message]],
    val: Sequence[Sequence[Message]],
    tokenizer: Tokenizer = TOKENIZER,
    *,
    preferences: bool = False,
) -> Path:
    """Write a prepared dataset of conversations, as a run of `finetune` keeps it."""
    folder.mkdir(parents=True)
    facts = {}
    for split, conversations in (("train", train), ("val", val)):
        parts = [render(tokenizer, messages) for messages in conversations]
        np.array([i for r in parts for i in r.ids], "<u2").tofile(folder / f"{split}.bin")
        np.array([t for r in parts for t in r.trained]).tofile(folder / f"{split}.mask")
        ends = np.cumsum([0, *(len(r.ids) for r in parts)])
        ends.astype("<i8").tofile(folder / f"{split}.idx")
        facts[split] = {"tokens": int(ends[-1]), "documents": len(parts), "bytes": int(ends[-1])}
    tokenizer.save(folder)
    flags = {"conversations": True, "preferences": preferences}
    seal_folder(folder, kind=KIND, dtype="uint16", **flags, **facts)
    return folder
