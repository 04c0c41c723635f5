"""What `seedbed eval` reports: a checkpoint on a prepared dataset or on any text."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
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
from seedbed.distributed import join_world
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation.bits_per_byte import score_documents
from seedbed.files import MANIFEST, read_json
from seedbed.runs import RunDir


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
    text_field: str | None = None,
    document_separator: str | None = None,
    split: Split = "val",
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], object] = warnings.warn,
) -> EvalReport:
    """Return the report of a checkpoint or run on a prepared dataset, or on a text SOURCE.

    With neither, the dataset that the run was trained on. `text_field` and `document_separator` say
    how `text` is read, as in `prepare`. `note` is told when the tokens of a dataset do not give its
    text back. Raises ConfigError when there is nothing to evaluate on.
    """
    loaded = load_checkpoint(checkpoint, join_world(device).device)
    baseline = None
    if text is not None:
        if data is not None:
            raise ConfigError("`--data` and `--text` both say what to evaluate on: give one.")
        documents = _read_text(text, ReadOptions(text_field or "text", document_separator))
    elif text_field or document_separator:
        raise ConfigError(
            "`--text-field` and `--document-separator` are for `--text`: give it too."
        )
    else:
        dataset = open_dataset(data) if data else _dataset_of_run(loaded)
        documents = _texts(dataset, split)
        whole = _is_whole(documents, dataset.manifest[split]["bytes"], note)
        baseline = dataset.baseline_bits_per_byte if whole and split == "val" else None
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


def _read_text(source: str, options: ReadOptions) -> list[str]:
    """Return the documents of a SOURCE, as `prepare` would cut and keep them, copies included."""
    drops = Drops()
    read = read_documents(find_sources((source,)), options, drops=drops)
    cleaner = Cleaner("none", drops=drops)
    documents = [document.text for document in read if cleaner.encode(document) is not None]
    if not documents:
        raise DataError(f"`{source}` holds no text.")
    return documents


def _texts(dataset: PreparedDataset, split: Split) -> list[str]:
    """Return the documents of a split as text, which the model's own tokenizer then encodes."""
    shards = dataset.val if split == "val" else dataset.train
    return [dataset.tokenizer.decode(ids[:-1].tolist()) for ids in shards.documents()]


def _is_whole(documents: Iterable[str], num_bytes: int, note: Callable[[str], object]) -> bool:
    """Return whether the documents have the bytes that were prepared; `note` it where not."""
    read_back = sum(len(document.encode()) for document in documents)
    if read_back != num_bytes:
        note(
            f"The dataset's tokenizer does not keep its text: {num_bytes:,} bytes read back as "
            f"{read_back:,}. The figures are of these. Measure the text itself with --text."
        )
    return read_back == num_bytes


def _dataset_of_run(checkpoint: Checkpoint) -> PreparedDataset:
    """Return what the checkpoint's run was trained on.

    Raises ConfigError when it is not known, not there, or was made anew since.
    """
    run = RunDir(checkpoint.path.parent.parent)
    if not run.config.is_file():
        raise ConfigError(
            f"{checkpoint.path} is not in a run folder that says what it was trained on. "
            "Say what to evaluate on: --data DIR or --text FILE."
        )
    dataset = open_dataset(_data_of_run(run))
    if run.request.is_file() and read_json(run.request)["data"] != dataset.fingerprint:
        raise ConfigError(
            f"{dataset.folder} is not the dataset that {run.path} was trained on: it was made "
            "anew. Say what to evaluate on: --data DIR or --text FILE."
        )
    return dataset


def _data_of_run(run: RunDir) -> Path:
    """Return the folder of a run's dataset: seen from where it was trained, or else from here."""
    config = read_yaml(run.config)
    data, out = Path(config["data"]), Path(config["out"])
    folders = [data]
    not_moved = run.path.parts[-len(out.parts) :] == out.parts
    if not_moved and not out.is_absolute():
        folders.insert(0, run.path.parents[len(out.parts) - 1] / data)
    found = next((folder for folder in folders if (folder / MANIFEST).is_file()), None)
    if found is None:
        raise ConfigError(
            f"{run.path} was trained on {data}, and there is no such dataset here. "
            "Say what to evaluate on: --data DIR or --text FILE."
        )
    return found
