"""What `seedbed eval` reports: a checkpoint on a prepared dataset or on any text."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.checkpoints import Checkpoint, load_checkpoint
from seedbed.config import read_yaml
from seedbed.data.cleaning import Cleaner
from seedbed.data.documents import find_sources, read_documents
from seedbed.data.drops import Drops
from seedbed.data.pieces import ReadOptions
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import SPLITS, Split, TokenShards
from seedbed.distributed import join_world
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation.bits_per_byte import DocumentScores, score_documents
from seedbed.evaluation.chat import Messages, score_messages, stored_conversations
from seedbed.files import MANIFEST
from seedbed.runs import RunDir
from seedbed.statistics import ratio_standard_error

_FEWEST_TRAIN_TOKENS = 100_000  # that are read of the training split, where it has them


@dataclass(frozen=True)
class EvalReport:
    """How well a model predicts a text. The names are those of the JSON that `eval` prints.

    Of conversations, which are the documents then, it is what the assistant says.
    """

    bits_per_byte: float
    standard_error: float | None  # of bits_per_byte, over documents; None for a single one
    loss: float  # nats per token
    perplexity: float
    tokens: int
    bytes: int
    documents: int
    baseline_bits_per_byte: float | None  # of the byte n-gram model; None where it is not known


@dataclass(frozen=True)
class SplitsReport:
    """How well a model predicts what it has seen and what it has not."""

    val: EvalReport
    train: EvalReport
    gap_bits_per_byte: float  # val less train: what the model knows of its training text alone
    gap_standard_error: float | None  # of gap_bits_per_byte
    gap_loss: float  # nats per token


@dataclass(frozen=True)
class AgainstReport:
    """How well two models predict the same text."""

    checkpoint: EvalReport
    against: EvalReport
    difference_bits_per_byte: float  # checkpoint less against: above 0, the checkpoint is worse
    difference_standard_error: float | None  # paired, over documents
    difference_share: float  # of the bits per byte of `against`


@dataclass(frozen=True)
class _Texts:
    """What models are evaluated on: documents or conversations."""

    documents: Sequence[str] = ()
    conversations: Sequence[Messages] = ()
    baseline: float | None = None


def evaluate(
    checkpoint: Path,
    *,
    data: Path | None = None,
    text: str | None = None,
    text_field: str | None = None,
    document_separator: str | None = None,
    split: Split = "val",
    limit_tokens: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], object] = warnings.warn,
) -> EvalReport:
    """Return the report of a checkpoint or run on a prepared dataset, or on a text SOURCE.

    With neither, the dataset that the run was trained on. Of a split, about `limit_tokens` are
    read: whole documents spread over it; by default all of val, and as much of train as val has
    (100,000 tokens at least). `text_field` and `document_separator` say how `text` is read, as in
    `prepare`. `precision` is that of `load_checkpoint`. `note` is told when the tokens of a dataset
    do not give its text back. Raises ConfigError when there is nothing to evaluate on.
    """
    loaded = load_checkpoint(checkpoint, join_world(device).device, precision)
    options = ReadOptions(text_field or "text", document_separator)
    texts = _find_texts(loaded, data, text, options, split, limit_tokens, note)
    return report_of(_score(loaded, texts, progress), texts.baseline)


def evaluate_against(
    checkpoint: Path,
    against: Path,
    *,
    data: Path | None = None,
    text: str | None = None,
    text_field: str | None = None,
    document_separator: str | None = None,
    split: Split = "val",
    limit_tokens: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Callable[[str, int, int], object] = lambda name, done, total: None,  # noqa: ARG005
    note: Callable[[str], object] = warnings.warn,
) -> AgainstReport:
    """Return the reports of two checkpoints or runs on the same text, and how they differ.

    What they are evaluated on is chosen as `evaluate` does for the first. With the text that
    `against` was trained on, it is what the first has forgotten.
    """
    where = join_world(device).device
    loaded = load_checkpoint(checkpoint, where, precision)
    options = ReadOptions(text_field or "text", document_separator)
    texts = _find_texts(loaded, data, text, options, split, limit_tokens, note)
    own = _score(loaded, texts, partial(progress, "checkpoint"))
    other = _score(
        load_checkpoint(against, where, precision), texts, partial(progress, "the other")
    )
    error = ratio_standard_error((own.nats - other.nats) / math.log(2), own.bytes)
    difference = own.bits_per_byte - other.bits_per_byte
    return AgainstReport(
        checkpoint=report_of(own, texts.baseline),
        against=report_of(other, texts.baseline),
        difference_bits_per_byte=difference,
        difference_standard_error=error if len(own.bytes) > 1 else None,
        difference_share=difference / other.bits_per_byte,
    )


def evaluate_splits(
    checkpoint: Path,
    *,
    data: Path | None = None,
    limit_tokens: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Callable[[str, int, int], object] = lambda split, done, total: None,  # noqa: ARG005
    note: Callable[[str], object] = warnings.warn,
) -> SplitsReport:
    """Return the reports of both splits of a dataset, as `evaluate` does for one, and the gap."""
    loaded = load_checkpoint(checkpoint, join_world(device).device, precision)
    dataset = open_dataset(data) if data else dataset_of_run(loaded)
    texts = {split: _texts_of_split(dataset, split, limit_tokens, note) for split in SPLITS}
    val, train = (
        report_of(_score(loaded, texts[split], partial(progress, split)), texts[split].baseline)
        for split in ("val", "train")
    )
    errors = (val.standard_error, train.standard_error)
    return SplitsReport(
        val=val,
        train=train,
        gap_bits_per_byte=val.bits_per_byte - train.bits_per_byte,
        gap_standard_error=None if None in errors else math.hypot(*(e or 0.0 for e in errors)),
        gap_loss=val.loss - train.loss,
    )


def _find_texts(
    loaded: Checkpoint,
    data: Path | None,
    text: str | None,
    options: ReadOptions,
    split: Split,
    limit_tokens: int | None,
    note: Callable[[str], object],
) -> _Texts:
    """Return what to evaluate on: `text`, or else a split of `data` or of the run's dataset."""
    if text is not None:
        if data is not None or limit_tokens is not None:
            other = "--data" if data is not None else "--limit-tokens"
            raise ConfigError(f"`{other}` is for a dataset and `--text` for any text: give one.")
        return _Texts(read_text(text, options))
    if options != ReadOptions():
        raise ConfigError(
            "`--text-field` and `--document-separator` are for `--text`: give it too."
        )
    dataset = open_dataset(data) if data else dataset_of_run(loaded)
    return _texts_of_split(dataset, split, limit_tokens, note)


def _texts_of_split(
    dataset: PreparedDataset,
    split: Split,
    limit_tokens: int | None,
    note: Callable[[str], object],
) -> _Texts:
    shards = dataset.val if split == "val" else dataset.train
    if limit_tokens is None and split == "train":
        limit_tokens = max(dataset.val.num_tokens, _FEWEST_TRAIN_TOKENS)
    numbers = choose_documents(shards, limit_tokens)
    if dataset.manifest.get("conversations"):
        note("The text is conversations: what the assistant says counts alone.")
        conversations = conversations_of(dataset, shards, numbers)
        if not conversations:
            raise DataError(f"The {split} split of {dataset.folder} holds no conversation.")
        return _Texts(conversations=conversations)
    documents = [document_text(dataset, shards.document(number)) for number in numbers]
    baseline = None
    if len(numbers) == shards.num_documents:
        whole = _is_whole(documents, dataset.manifest[split]["bytes"], note)
        baseline = dataset.baseline_bits_per_byte if whole and split == "val" else None
    return _Texts(documents, baseline=baseline)


def conversations_of(
    dataset: PreparedDataset, shards: TokenShards, numbers: Iterable[int]
) -> list[Messages]:
    """Return the conversations with these numbers; of a pair of answers, that with the chosen."""
    if dataset.manifest.get("preferences"):
        numbers = sorted({number - number % 2 for number in numbers})
    documents = (shards.document(number) for number in numbers)
    return list(stored_conversations(dataset.tokenizer, documents))


def _score(
    loaded: Checkpoint, texts: _Texts, progress: Callable[[int, int], object] | None
) -> DocumentScores:
    window = trained_window(loaded)
    if texts.conversations:
        return score_messages(
            loaded.model, loaded.tokenizer, texts.conversations, window=window, progress=progress
        )
    return score_documents(
        loaded.model,
        [loaded.tokenizer.encode(document) for document in texts.documents],
        [len(document.encode()) for document in texts.documents],
        bos=loaded.tokenizer.special.bos,
        dtype=loaded.model.compute_dtype,
        window=window,
        progress=progress,
    )


def report_of(scores: DocumentScores, baseline: float | None = None) -> EvalReport:
    """Return the report of what documents, or the assistant's words in conversations, cost."""
    return EvalReport(
        bits_per_byte=scores.bits_per_byte,
        standard_error=scores.standard_error if len(scores.bytes) > 1 else None,
        loss=scores.loss,
        perplexity=scores.perplexity,
        tokens=int(scores.tokens.sum()),
        bytes=int(scores.bytes.sum()),
        documents=len(scores.tokens),
        baseline_bits_per_byte=baseline,
    )


def trained_window(checkpoint: Checkpoint) -> int | None:
    """Return the `window` of the checkpoint's run: positions beyond it were never trained."""
    run = RunDir(checkpoint.path.parent.parent)
    return read_yaml(run.config).get("window") if run.config.is_file() else None


def read_text(source: str, options: ReadOptions) -> list[str]:
    """Return the documents of a SOURCE, as `prepare` would cut and keep them, copies included."""
    drops = Drops()
    read = read_documents(find_sources((source,)), options, drops=drops)
    cleaner = Cleaner("none", drops=drops)
    documents = [document.text for document in read if cleaner.encode(document) is not None]
    if not documents:
        raise DataError(f"`{source}` holds no text.")
    return documents


def choose_documents(shards: TokenShards, limit_tokens: int | None) -> Sequence[int]:
    """Return the numbers of documents spread evenly over a split, with about `limit_tokens`.

    At least one; all of them without a limit.
    """
    if limit_tokens is not None and limit_tokens < 1:
        raise ConfigError(f"`limit_tokens` is {limit_tokens} but must be 1 or more.")
    count = shards.num_documents
    if limit_tokens is None or limit_tokens >= shards.num_tokens:
        return range(count)
    share = max(1, count * limit_tokens // shards.num_tokens)
    return np.linspace(0, count - 1, share).astype(int).tolist()


def document_text(dataset: PreparedDataset, ids: NDArray[np.unsignedinteger]) -> str:
    """Return the text of a document, which the model's own tokenizer then encodes."""
    return dataset.tokenizer.decode(dataset.tokenizer.special.inside(ids).tolist())


def _is_whole(documents: Iterable[str], num_bytes: int, note: Callable[[str], object]) -> bool:
    """Return whether the documents have the bytes that were prepared; `note` it where not."""
    read_back = sum(len(document.encode()) for document in documents)
    if read_back != num_bytes:
        note(
            f"The dataset's tokenizer does not keep its text: {num_bytes:,} bytes read back as "
            f"{read_back:,}. The figures are of these. Measure the text itself with --text."
        )
    return read_back == num_bytes


def dataset_of_run(checkpoint: Checkpoint) -> PreparedDataset:
    """Return what the checkpoint's run was trained on.

    Raises ConfigError when it is not known, not there, or was made anew since.
    """
    run = RunDir(checkpoint.path.parent.parent)
    if not run.config.is_file():
        raise ConfigError(
            f"{checkpoint.path} is not in a run folder that says what it was trained on. "
            "Say what to evaluate on: --data DIR or --text FILE."
        )
    dataset = open_dataset(data_of_run(run))
    if run.read_request().get("data", dataset.fingerprint) != dataset.fingerprint:
        raise ConfigError(
            f"{dataset.folder} is not the dataset that {run.path} was trained on: it was made "
            "anew. Say what to evaluate on: --data DIR or --text FILE."
        )
    return dataset


def data_of_run(run: RunDir) -> Path:
    """Return the folder of a run's dataset: seen from where it was trained, or else from here."""
    config = read_yaml(run.config)
    data, out = Path(config["data"]), Path(config["out"])
    folders = [data]
    if data.is_relative_to(out):  # conversations, which a run of `finetune` keeps itself
        folders.insert(0, run.path / data.relative_to(out))
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
