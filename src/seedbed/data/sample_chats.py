"""Conversations for demos and tests, grown from a grammar that was written for this project.

The words are in `chat_grammar/*.txt`, in the notation of grammar.py. A conversation grows as tagged
text, which is then read as that of any file is. What is said later rests on what was said before:
names, colours and numbers are facts of a conversation.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

from seedbed.data.conversation_formats import tagged_turns
from seedbed.data.grammar import Draw, Facts, read_grammar, tidy
from seedbed.tokenizers.conversation import Conversation, Message

_TAG = re.compile(r"\s*(<(?:system|user|assistant)>)")


def sample_chats(count: int, *, seed: int) -> Iterator[Conversation]:
    """Yield `count` short conversations; the i-th depends on `seed` and i alone.

    A larger count therefore begins with the conversations of a smaller one. Each ends with an
    assistant turn, in plain ASCII; some begin with a system message.

    >>> [chat] = sample_chats(1, seed=0)
    >>> chat.messages[-1].role
    'assistant'
    """
    tell = read_grammar("chat_grammar")["chat"]
    for index in range(count):
        draw = random.Random(f"{seed}:{index}").random
        text = tidy(tell(draw, _numbers(draw)))
        turns = tagged_turns(_TAG.sub(r"\n\1", text).strip())
        messages = (Message(m.role, _with_line_breaks(m.content)) for m in turns)
        yield Conversation(tuple(messages), f"sample:chats line {index + 1}")


def _numbers(draw: Draw) -> Facts:
    """Return two numbers and what follows from them."""
    b = 2 + int(draw() * 8)
    a = b + 2 + int(draw() * 10)
    numbers = {"a": a, "b": b, "total": a + b, "left": a - b, "twice": 2 * (a + b)}
    return {name: str(number) for name, number in numbers.items()}


def _with_line_breaks(content: str) -> str:
    return content.strip().replace(" ↵ ", "\n")


def as_json(conversation: Conversation) -> str:
    """Return a conversation as a line of a .jsonl file of messages.

    >>> as_json(Conversation((Message("user", "Hi"), Message("assistant", "Hello."))))
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}'
    """
    messages = [{"role": m.role, "content": m.content} for m in conversation.messages]
    return json.dumps({"messages": messages})
