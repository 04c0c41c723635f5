"""A conversation: what is said, and by whom. Read from files by data/conversations.py."""

# pyright: strict

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, and where they were found."""

    messages: tuple[Message, ...]
    place: str = field(default="", compare=False)  # such as "chats.jsonl line 7", for a message
