"""tokenizer.json, tokenizer_config.json, chat_template.jinja: how stock software is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from seedbed.errors import DataError
from seedbed.files import read_json, write_json, write_text
from seedbed.tokenizers.chat_template import jinja_template

EOS = "<|endoftext|>"
USER, ASSISTANT, SYSTEM = "<|user|>", "<|assistant|>", "<|system|>"
CHAT_TOKENS = (USER, ASSISTANT, SYSTEM)
SPECIAL_TOKENS = (EOS, *CHAT_TOKENS)  # in the order of their ids
BYTE_LEVEL_DECODER = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}


def byte_characters() -> list[str]:
    """Return the printable character that byte-level tokenizers write for each byte (GPT-2's).

    >>> characters = byte_characters()
    >>> characters[ord("A")], characters[ord(" ")], characters[0]
    ('A', 'Ġ', 'Ā')
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    unprintable = [byte for byte in range(256) if byte not in printable]
    return [
        chr(byte if byte in printable else 256 + unprintable.index(byte)) for byte in range(256)
    ]


def byte_level_pre_tokenizer() -> dict[str, Any]:
    """Return the pre-tokenizer that splits by GPT-2's pattern."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }


def tokenizer_json(special: dict[str, int], **parts: Any) -> dict[str, Any]:
    """Return the content of a tokenizer.json: `parts`, and the special tokens with their ids."""
    added = [added_token(token, token_id) for token, token_id in special.items()]
    empty: dict[str, Any] = dict.fromkeys(
        ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    )
    return {"version": "1.0", "added_tokens": added, **empty, **parts}


def added_token(token: str, token_id: int, *, special: bool = True) -> dict[str, Any]:
    """Return an entry of `added_tokens`; one that is not special is found in text."""
    return {
        "id": token_id,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def bpe_model(vocab: dict[str, int], merges: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the `model` of a byte-level BPE."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": [f"{left} {right}" for left, right in merges],
    }


def fingerprint_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of what decides ids in a tokenizer.json: not truncation and padding."""
    deciding = {k: v for k, v in content.items() if k not in ("truncation", "padding", "version")}
    canonical = json.dumps(deciding, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_tokenizer_files(
    folder: Path,
    content: dict[str, Any],
    special: dict[str, str],
    *,
    unk: str | None = None,
) -> None:
    """Write the three files into `folder`, in a form that transformers 4 and 5 load alike.

    `special` names the tokens with the roles bos, eos, user, assistant and system. The template is
    ours, whatever one a tokenizer came with: it is what models are trained with here.
    """
    template = jinja_template(special)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # version 4 refuses version 5's own name
        "bos_token": special["bos"],  # what precedes a document in the token files
        "eos_token": special["eos"],
        **({"unk_token": unk} if unk else {}),
        "additional_special_tokens": [special[role] for role in ("user", "assistant", "system")],
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokenizer.json", content)
    write_json(folder / "tokenizer_config.json", config)
    write_text(folder / "chat_template.jinja", template)


def read_tokenizer_files(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of a tokenizer.json and of the tokenizer_config.json beside it, if any.

    `path` is the folder or the tokenizer.json. Raises DataError when one is missing or damaged.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        models = sorted(path.glob("*.model")) if path.is_dir() else []
        hint = f" For SentencePiece's own file, name it: {models[0]}" if models else ""
        raise DataError(f"{path} is not a tokenizer: there is no file {file}.{hint}")
    content = _read_object(file)
    if not isinstance(content.get("model"), dict):
        raise DataError(f"{file} is not a tokenizer.json: it has no `model`.")
    config_file = file.with_name("tokenizer_config.json")
    return content, _read_object(config_file) if config_file.is_file() else {}


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = read_json(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is damaged, it cannot be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{file} is damaged: it holds no JSON object.")
    return cast("dict[str, Any]", value)
