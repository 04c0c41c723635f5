"""What `seedbed eval` reports: a checkpoint on a prepared dataset or on any text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from seedbed.checkpoints import Checkpoint, load_checkpoint
from seedbed.config import read_yaml
from seedbed.data.cleaning import Cleaner
from seedbed.data.documents import find_sources, read_documents
from seedbed.data.drops import Drops
from seedbed.data.formats import ReadOptions
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import Split
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation.bits_per_byte import score_documents


@dataclass(frozen=True)
class EvalReport:
    """How well a model predicts a text. The names are those of the JSON that `eval` prints."""

    bits_per_byte: float
    standard_error: float | None  # of bits_per_byte, over documents; None for a single one
    loss: float  # nats per token
    perplexity: float
    tokens: int
    bytes: int
    documents: int
    baseline_bits_per_byte: float | None  # of the byte n-gram model; None where it is not known


def evaluate(
    checkpoint: Path,
    *,
    data: Path | None = None,
    text: str | None = None,
    split: Split = "val",
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> EvalReport:
    """Return the report of a checkpoint or run on a prepared dataset, or on a text SOURCE.

    With neither, the dataset that the run was trained on. Raises ConfigError when there is none.
    """
    loaded = load_checkpoint(checkpoint)
    baseline = None
    if text is not None:
        if data is not None:
            raise ConfigError("`--data` and `--text` both say what to evaluate on: give one.")
        documents = _read_text(text)
    else:
        dataset = open_dataset(data or _data_of_run(loaded))
        documents = _texts(dataset, split)
        baseline = dataset.baseline_bits_per_byte if split == "val" else None
    scores = score_documents(
        loaded.model,
        [loaded.tokenizer.encode(document) for document in documents],
        [len(document.encode()) for document in documents],
        bos=loaded.tokenizer.special.bos,
        dtype=dtype,
        progress=progress,
    )
    return EvalReport(
        bits_per_byte=scores.bits_per_byte,
        standard_error=scores.standard_error if len(documents) > 1 else None,
        loss=scores.loss,
        perplexity=scores.perplexity,
        tokens=int(scores.tokens.sum()),
        bytes=int(scores.bytes.sum()),
        documents=len(scores.tokens),
        baseline_bits_per_byte=baseline,
    )


def _read_text(source: str) -> list[str]:
    """Return the documents of a SOURCE, as `prepare` would cut and keep them, copies included."""
    drops = Drops()
    read = read_documents(find_sources((source,)), ReadOptions(), drops=drops)
    cleaner = Cleaner("none", drops=drops)
    documents = [document.text for document in read if cleaner.encode(document) is not None]
    if not documents:
        raise DataError(f"`{source}` holds no text.")
    return documents


def _texts(dataset: PreparedDataset, split: Split) -> list[str]:
    """Return the documents of a split as text, which the model's own tokenizer then encodes."""
    shards = dataset.val if split == "val" else dataset.train
    return [dataset.tokenizer.decode(ids[:-1].tolist()) for ids in shards.documents()]


def _data_of_run(checkpoint: Checkpoint) -> Path:
    config = checkpoint.path.parent.parent / "config.yaml"
    if not config.is_file():
        raise ConfigError(
            f"{checkpoint.path} is not in a run folder that says what it was trained on. "
            "Say what to evaluate on: --data DIR or --text FILE."
        )
    return Path(read_yaml(config)["data"])
