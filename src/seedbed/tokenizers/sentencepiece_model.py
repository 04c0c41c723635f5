"""SentencePiece's own .model files, written as the tokenizer.json that gives the same ids.

A .model is a protobuf message. What is needed of it is read here field by field: the message's
Python classes would want the protobuf library.

Two things are not SentencePiece's to the last text. Where a unigram model likes two ways to cut a
text exactly alike (a run of spaces, say), SentencePiece takes one by rounding to float32, and the
`tokenizers` library the first. And where rules (nmt_nfkc, as in T5) change a character that marks
follow, that library drops or keeps marks that SentencePiece joins. What a checkpoint holds gives
the same ids in Seedbed and in `transformers` even then.
"""

from __future__ import annotations

import base64
import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.errors import DataError
from seedbed.tokenizers.sentencepiece import SPACE, merges_of
from seedbed.tokenizers.tokenizer_json import added_token, bpe_model

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_UNIGRAM, _BPE = 1, 2
_BYTE_NAMES_CUT = {
    "type": "Split",
    "pattern": {"Regex": "<(?=0x[0-9A-F]{2}>)"},
    "behavior": "MergedWithPrevious",
    "invert": False,
}

Fields = dict[int, list[Any]]  # by number, in order: int, or bytes


@dataclass(frozen=True)
class Piece:
    """A token of the model; its id is its place."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class _Model:
    """What decides the ids of a .model. Numbers are those of sentencepiece_model.proto."""

    pieces: list[Piece]
    trainer: Fields
    normalizer: Fields

    @classmethod
    def parse(cls, data: bytes) -> _Model:
        fields = dict(_fields(data))
        pieces = [_piece(_fields(piece)) for piece in fields[1]]
        return cls(pieces, _last_message(fields, 2), _last_message(fields, 3))

    @property
    def is_unigram(self) -> bool:
        return _last(self.trainer, 3, _UNIGRAM) == _UNIGRAM

    @property
    def charsmap(self) -> bytes:
        return _last(self.normalizer, 2, b"")

    @property
    def adds_prefix(self) -> bool:
        return bool(_last(self.normalizer, 3, 1))

    @property
    def removes_extra_spaces(self) -> bool:
        return bool(_last(self.normalizer, 4, 1))

    def of(self, *kinds: int) -> dict[str, int]:
        """Return the ids of the pieces of these kinds."""
        return {piece.text: i for i, piece in enumerate(self.pieces) if piece.kind in kinds}


def read_sentencepiece_model(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of the tokenizer.json and tokenizer_config.json that stand for a .model.

    Raises DataError when the file is damaged, or is a model that no tokenizer.json can stand for.
    """
    from sentencepiece import SentencePieceProcessor  # not for every process that encodes

    data = path.read_bytes()
    try:
        stock = SentencePieceProcessor(model_proto=data)
        model = _Model.parse(data)
    except (RuntimeError, ValueError, IndexError, KeyError, struct.error) as error:
        raise DataError(f"{path} is not a SentencePiece model, or is damaged: {error}.") from None
    if reason := _why_not(model):
        raise DataError(
            f"{path} cannot be used: {reason}, and no tokenizer.json gives the same ids as it. "
            "Use --tokenizer sentencepiece to train one on the text itself."
        )
    special = model.of(UNKNOWN, CONTROL) | model.of(USER_DEFINED)
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(name, i, special=model.pieces[i].kind != USER_DEFINED)
            for name, i in sorted(special.items(), key=lambda item: item[1])
        ],
        "normalizer": _normalizer(model),
        "pre_tokenizer": _BYTE_NAMES_CUT if _finds_bytes(model) else None,
        "post_processor": None,
        "decoder": _decoder(model),
        "model": _unigram(model) if model.is_unigram else _bpe(model),
    }
    roles = {"bos_token": stock.bos_id(), "eos_token": stock.eos_id()}
    control = model.of(CONTROL).values()
    config = {role: model.pieces[i].text for role, i in roles.items() if i in control}
    return content, config


def _why_not(model: _Model) -> str | None:
    """Return why no tokenizer.json gives the same ids as a model, if that is so."""
    fields_missing = model.is_unigram or _last(model.trainer, 3, _UNIGRAM) == _BPE
    trouble = {
        "it works on words or characters, not by BPE or unigrams": not fields_missing,
        "it writes white space at the end of words": _last(model.trainer, 24, 0),
        "it does not write spaces as U+2581": not _last(model.normalizer, 5, 1),
        "some of its pieces are marked as unused": model.of(UNUSED),
        "it has other than one unknown piece": len(model.of(UNKNOWN)) != 1,
        "it has user-defined symbols, and changes the white space around them": (
            model.of(USER_DEFINED) and (model.adds_prefix or model.removes_extra_spaces)
        ),
        "it has some pieces twice": len({p.text for p in model.pieces}) < len(model.pieces),
        "two of its merges have the same score": not model.is_unigram and _has_ties(model),
        "some characters of its pieces are no pieces": not model.is_unigram and _lacks_some(model),
        "its pieces look like its names for bytes": (
            _finds_bytes(model) and any("<0" in piece for piece in model.of(NORMAL))
        ),
    }
    return next((reason for reason, found in trouble.items() if found), None)


def _finds_bytes(model: _Model) -> bool:
    """Return whether the library would take the text "<0x41>" for that byte, if it were not cut."""
    return model.is_unigram and bool(model.of(BYTE))


def _has_ties(model: _Model) -> bool:
    by_rank = _by_rank(model)
    made = dict.fromkeys(left + right for left, right in merges_of(by_rank))
    return len({by_rank[piece] for piece in made}) < len(made)


def _lacks_some(model: _Model) -> bool:
    pieces = model.of(NORMAL)
    return not {character for piece in pieces for character in piece} <= pieces.keys()


def _by_rank(model: _Model) -> dict[str, float]:
    """Return the scores of the normal pieces, the highest first."""
    scores = {piece.text: piece.score for piece in model.pieces if piece.kind == NORMAL}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def _bpe(model: _Model) -> dict[str, Any]:
    vocab = {piece.text: i for i, piece in enumerate(model.pieces)}
    return bpe_model(vocab, ()) | {
        "unk_token": next(iter(model.of(UNKNOWN))),
        "fuse_unk": True,
        "byte_fallback": bool(model.of(BYTE)),
        "merges": [list(pair) for pair in merges_of(_by_rank(model))],
    }


def _unigram(model: _Model) -> dict[str, Any]:
    return {
        "type": "Unigram",
        "unk_id": next(iter(model.of(UNKNOWN).values())),
        "vocab": [[piece.text, piece.score] for piece in model.pieces],
        "byte_fallback": bool(model.of(BYTE)),
    }


def _normalizer(model: _Model) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if model.charsmap:
        charsmap = base64.b64encode(model.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if model.removes_extra_spaces:
        steps.append(_replace({"Regex": rf"\A +|[ {SPACE}]+\z"}, ""))
        steps.append(_replace({"Regex": " {2,}"}, " "))
    if model.adds_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    steps.append(_replace({"String": " "}, SPACE))
    return {"type": "Sequence", "normalizers": steps}


def _decoder(model: _Model) -> dict[str, Any]:
    steps = [_replace({"String": SPACE}, " ")]
    if model.of(BYTE):
        steps.append({"type": "ByteFallback"})
    steps.append({"type": "Fuse"})
    if model.adds_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _piece(fields: Fields) -> Piece:
    score = struct.unpack("<f", _last(fields, 2, bytes(4)))[0]
    return Piece(_last(fields, 1, b"").decode(), score, _last(fields, 3, NORMAL))


def _last_message(fields: Fields, number: int) -> Fields:
    return _fields(_last(fields, number, b""))


def _last(fields: Fields, number: int, default: Any) -> Any:
    return fields[number][-1] if number in fields else default


def _fields(data: bytes) -> Fields:
    """Return the fields of a protobuf message: numbers as int, all else as bytes."""
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value: int | bytes
        match key & 7:
            case 0:
                value, at = _varint(data, at)
            case 1 | 5 as wire:
                size = 8 if wire == 1 else 4
                value, at = data[at : at + size], at + size
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case wire:
                raise ValueError(f"wire type {wire} at byte {at}")
        found[key >> 3].append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
