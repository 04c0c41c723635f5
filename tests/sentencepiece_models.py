"""SentencePiece models of several makes, and text to try them on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

SENTENCES = [
    f'Once upon a time there were {i} foxes; they didn\'t say "é" for {i * 7} days.\n\n'
    f"    if fox[{i}] == '字':\n        run(fox, {i % 9})\t# ---- so long, and so long ----"
    for i in range(300)
]
LLAMA = {
    "model_type": "bpe",
    "normalization_rule_name": "identity",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
    "byte_fallback": True,
    "allow_whitespace_only_pieces": True,
}
T5 = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


def train_model(path: Path, texts: list[str] = SENTENCES, **settings: Any) -> Path:
    """Write a .model as SentencePiece makes it, and return its path."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        **{"vocab_size": 600, "hard_vocab_limit": False, "num_threads": 1, **settings},
        minloglevel=3,
    )
    path.write_bytes(model.getvalue())
    return path


def stock(path: Path) -> SentencePieceProcessor:
    """Return the library's own tokenizer."""
    return SentencePieceProcessor(model_file=str(path))
