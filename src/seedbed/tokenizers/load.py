"""A tokenizer from its files, recognised by what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.bpe import BpeTokenizer, Merges, vocab_of
from seedbed.tokenizers.pretrained import HuggingFaceTokenizer, are_gpt2_merges, token_in
from seedbed.tokenizers.sentencepiece import BYTES, SPECIAL, SentencePieceTokenizer
from seedbed.tokenizers.sentencepiece_model import read_sentencepiece_model
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer
from seedbed.tokenizers.tokenizer_json import EOS, read_tokenizer_files

_UNUSUAL = (
    "dropout",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
    "ignore_merges",
)


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a folder that has a tokenizer.json, of that file, or of a .model.

    One that gives the same ids as one of ours becomes ours, which is faster; any other is run by
    the `tokenizers` library. Raises DataError when a file is missing or damaged.
    """
    is_model = path.suffix == ".model" and path.is_file()
    content, config = (read_sentencepiece_model if is_model else read_tokenizer_files)(path)
    try:
        ours = (
            _char_tokenizer(content)
            or _sentencepiece_tokenizer(content)
            or _byte_level_tokenizer(content, config)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        ours = None  # not as ours is built: the library says what is wrong with it, if anything
    return ours or HuggingFaceTokenizer(content, config)


def _char_tokenizer(content: dict[str, Any]) -> CharTokenizer | None:
    vocab = content["model"]["vocab"]
    if content["model"]["type"] != "WordLevel":
        return None
    tokenizer = CharTokenizer(token for token in sorted(vocab, key=vocab.get) if len(token) == 1)
    return tokenizer if _is_content_of(tokenizer, content) else None


def _sentencepiece_tokenizer(content: dict[str, Any]) -> SentencePieceTokenizer | None:
    if not content["model"].get("byte_fallback") or content["model"]["type"] != "BPE":
        return None
    vocab: dict[str, int] = content["model"]["vocab"]
    by_id = sorted(vocab, key=vocab.__getitem__)
    tokenizer = SentencePieceTokenizer(by_id[len(SPECIAL) + len(BYTES) :])
    return tokenizer if _is_content_of(tokenizer, content) else None


def _is_content_of(tokenizer: CharTokenizer | SentencePieceTokenizer, content: Any) -> bool:
    expected = tokenizer.to_json()
    parts = ("model", "added_tokens", "normalizer", "pre_tokenizer", "decoder")
    return all(content[part] == expected[part] for part in parts)


def _byte_level_tokenizer(
    content: dict[str, Any], config: dict[str, Any]
) -> ByteTokenizer | BpeTokenizer | None:
    if not _splits_like_ours(content) or not _names_like_ours(content, config):
        return None
    merges = _merges_of(content["model"])
    declared: dict[str, int] = dict(content["model"]["vocab"])
    declared |= {token["content"]: token["id"] for token in content["added_tokens"]}
    if not merges and _fits(declared, ByteTokenizer()):
        return ByteTokenizer()
    known = vocab_of(merges)
    if not (known.items() <= declared.items() and known.keys() >= {t for m in merges for t in m}):
        return None
    tokenizer = BpeTokenizer(merges, kind="gpt2" if are_gpt2_merges(merges) else "bpe")
    return tokenizer if _fits(declared, tokenizer) else None


def _fits(declared: dict[str, int], tokenizer: ByteTokenizer | BpeTokenizer) -> bool:
    """Return whether the declared ids are the tokenizer's, but for special tokens still missing."""
    ids: dict[str, int] = tokenizer.to_json()["model"]["vocab"]
    return declared.items() <= ids.items() and len(declared) >= len(ids) - 4


def _merges_of(model: dict[str, Any]) -> Merges:
    """Return the merges, which stand as "a b" or as ["a", "b"]."""
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    return [(left, right) for left, right in pairs]


def _splits_like_ours(content: dict[str, Any]) -> bool:
    model, split = content["model"], content["pre_tokenizer"]
    return (
        model["type"] == "BPE"
        and not any(model.get(setting) for setting in _UNUSUAL)
        and not content["normalizer"]
        and split["type"] == content["decoder"]["type"] == "ByteLevel"
        and not split["add_prefix_space"]
        and split.get("use_regex", True)
    )


def _names_like_ours(content: dict[str, Any], config: dict[str, Any]) -> bool:
    post_processor = content["post_processor"] or {"type": "ByteLevel"}
    return (
        post_processor["type"] in ("ByteLevel", "TemplateProcessing")
        and not post_processor.get("special_tokens")
        and all(token["special"] for token in content["added_tokens"])
        and all(token_in(config, role) in (None, EOS) for role in ("bos_token", "eos_token"))
    )
