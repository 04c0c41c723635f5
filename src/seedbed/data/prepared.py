"""A prepared dataset: the folder that `seedbed prepare` writes and everything else reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.data.token_shards import TokenShards
from seedbed.errors import DataError
from seedbed.files import MANIFEST, PARTIAL, check_seal, read_manifest
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.load import load_tokenizer

KIND = "prepared dataset"


@dataclass(frozen=True)
class PreparedDataset:
    """Tokens of both splits, the tokenizer they were made with, and what the manifest says."""

    folder: Path
    manifest: dict[str, Any]
    train: TokenShards
    val: TokenShards
    tokenizer: Tokenizer
    was_finished: bool = False  # `prepare` found it there, made of the same text and settings

    @property
    def fingerprint(self) -> str:
        """Return a hash of all that the folder holds."""
        return self.manifest["checksum"]

    @property
    def baseline_bits_per_byte(self) -> float | None:
        """Return what the byte n-gram model reaches on the validation text; None for conversations.

        It is not measured on what the assistant says alone.
        """
        return self.manifest["baseline"]["bits_per_byte"] if "baseline" in self.manifest else None


def open_dataset(folder: Path, *, verify: bool = True) -> PreparedDataset:
    """Return the prepared dataset in `folder`, every byte of it checked unless `verify` is False.

    Raises DataError, naming the file, when one is missing, cut short or changed.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder} is not a prepared dataset: it has no {MANIFEST}.{_hint(folder)}")
    manifest = read_manifest(folder, error=DataError)
    if manifest.get("kind") != KIND:
        raise DataError(f"{folder} is not a prepared dataset. `seedbed prepare` makes one.")
    if verify:
        check_seal(folder, error=DataError)
    return PreparedDataset(
        folder,
        manifest,
        TokenShards.open(folder, "train"),
        TokenShards.open(folder, "val"),
        load_tokenizer(folder),
    )


def _hint(folder: Path) -> str:
    if folder.with_name(folder.name + PARTIAL).is_dir():
        return " It is not finished: run the same `seedbed prepare` again to continue."
    return " `seedbed prepare` makes one."
