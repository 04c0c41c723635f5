"""Write the sample conversations as files, in both forms, to look at and to copy from.

python examples/make_chats.py            writes the files
"""

from __future__ import annotations

from pathlib import Path

from seedbed.data.documents import SAMPLE_CHATS
from seedbed.data.sample_chats import as_json, sample_chats

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """Return what stands in each file."""
    chats = list(sample_chats(SAMPLE_CHATS, seed=0))
    tagged: list[str] = []
    for chat in chats:
        tagged += [f"<{m.role}> {m.content}\n" for m in chat.messages]
        tagged.append("<|endoftext|>\n")
    return {
        "chats.messages.jsonl": "".join(f"{as_json(chat)}\n" for chat in chats),
        "chats.tagged.txt": "".join(tagged),
    }


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
