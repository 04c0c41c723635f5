"""Datasets of the Hugging Face Hub, streamed: `hf:NAME[:CONFIG][:SPLIT]`.

NAME is a dataset's name, such as roneneldan/TinyStories, or a folder laid out as one. What follows
it alone is a configuration where one has that name, else a split. The split is `train` where none
is given. A dataset of the hub is read at the commit that it has when `prepare` begins.
"""

# pyright: strict

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from seedbed.data.drops import Drops
from seedbed.data.pieces import Part, Piece, ReadOptions
from seedbed.data.records import Records
from seedbed.errors import DataError, did_you_mean, how_to_install


@dataclass(frozen=True)
class _Dataset:
    """A split of a configuration of a dataset, looked up."""

    source: str  # for messages
    path: str
    revision: str | None  # the commit; None for a folder
    config: str | None
    split: str


def hub_dataset(rest: str) -> Part:
    """Return the rows of NAME[:CONFIG][:SPLIT]. Raises DataError when they are not to be had."""
    name, *chosen = rest.split(":")
    if not name or len(chosen) > 2 or "" in chosen:
        raise DataError(
            f"SOURCE `hf:{rest}` is not hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT."
        )
    folder = Path(name).expanduser()
    if folder.is_dir():
        facts = [p.stat() for p in folder.rglob("*") if p.is_file()]
        size, modified = (
            sum(f.st_size for f in facts),
            max((f.st_mtime_ns for f in facts), default=0),
        )
        dataset = _look_up(rest, str(folder), None, chosen)
        return Part(f"hf:{rest}", size, modified, partial(_read, dataset))
    if name.startswith((".", "/", "~")):
        raise DataError(f"SOURCE `hf:{rest}`: there is no folder {folder}.")
    revision = _newest_commit(rest, name)
    dataset = _look_up(rest, name, revision, chosen)
    return Part(f"hf:{rest}", 0, 0, partial(_read, dataset), version=revision)


def _newest_commit(rest: str, name: str) -> str:
    from huggingface_hub import HfApi

    with _explained(rest):
        return str(HfApi().dataset_info(name).sha)


def _library(rest: str) -> Any:
    """Return the `datasets` module, its progress bars off."""
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise DataError(f"SOURCE `hf:{rest}` needs datasets: {how_to_install('data')}") from None
    datasets.disable_progress_bars()
    return datasets


def _look_up(rest: str, path: str, revision: str | None, chosen: list[str]) -> _Dataset:
    """Return what is meant. Raises DataError, naming what there is, for an unknown name."""
    datasets = _library(rest)
    with _explained(rest):
        configs: list[str] = datasets.get_dataset_config_names(path, revision=revision)
        default = datasets.get_dataset_default_config_name(path, revision=revision)
    config = chosen[0] if chosen and (len(chosen) == 2 or chosen[0] in configs) else default
    split = chosen[-1] if chosen and chosen != [config] else "train"
    if config not in configs:
        what = f"has no configuration `{config}`" if config else "has several configurations"
        near = did_you_mean(config, configs) if config else ""
        raise DataError(
            f"SOURCE `hf:{rest}` {what}.{near} Choose one of {', '.join(configs)}, "
            f"as in hf:{rest.split(':')[0]}:{configs[0]}."
        )
    with _explained(rest):
        splits: list[str] = datasets.get_dataset_split_names(path, config, revision=revision)
    if split not in splits:
        known = [*splits, *(c for c in configs if c != config)]
        raise DataError(
            f"SOURCE `hf:{rest}` has no split `{split}`.{did_you_mean(split, known)} "
            f"It has {', '.join(splits)}; its configurations are {', '.join(configs)}."
        )
    return _Dataset(f"hf:{rest}", path, revision, config, split)


def _read(dataset: _Dataset, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield a document for each row."""
    rest = dataset.source.removeprefix("hf:")
    records = Records(dataset.source, options, drops)
    with _explained(rest):
        rows: Any = _library(rest).load_dataset(
            dataset.path,
            dataset.config,
            split=dataset.split,
            revision=dataset.revision,
            streaming=True,
        )
        columns: list[str] | None = rows.column_names
    if columns is not None:
        rows = rows.select_columns(records.wanted_columns(columns))
    for number, row in enumerate(_each(rows, rest), start=1):
        text = records.text_of(row, number)
        if text is not None:
            yield Piece(text, number, last=True)
    records.finish()


def _each(rows: Any, rest: str) -> Iterator[object]:
    iterator = iter(rows)
    while True:
        with _explained(rest):
            try:
                row = next(iterator)
            except StopIteration:
                return
        yield row


@contextmanager
def _explained(rest: str) -> Generator[None]:
    """Turn what the libraries raise into a DataError that says what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    name = rest.split(":")[0]
    try:
        yield
    except GatedRepoError:
        problem = (
            f"is open only to those who accepted its terms: https://huggingface.co/datasets/{name}"
        )
        raise DataError(f"SOURCE `hf:{rest}` {problem}; then `hf auth login`.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise DataError(
            f"SOURCE `hf:{rest}`: the Hugging Face Hub has no dataset `{name}` that is "
            "open to you. Check its name (hf:roneneldan/TinyStories is one), or `hf auth login`."
        ) from None
    except OfflineModeIsEnabled:
        raise DataError(
            f"SOURCE `hf:{rest}` is on the Hugging Face Hub, but HF_HUB_OFFLINE is set. Unset it, "
            "or give a folder that has the dataset: hf:./FOLDER."
        ) from None
    except (HfHubHTTPError, ConnectionError) as error:
        raise _unreachable(rest, error) from error
    except Exception as error:  # for a file that is damaged, a reader of `datasets` raises its own
        if type(error).__module__.startswith(("httpx", "httpcore", "requests", "aiohttp")):
            raise _unreachable(rest, error) from error
        converted = f"hf://datasets/{name}@refs/convert/parquet/**/*.parquet"
        advice = f" Read what the Hub made of it: {converted}" if "scripts" in str(error) else ""
        raise DataError(
            f"SOURCE `hf:{rest}` cannot be read ({type(error).__name__}: {error}).{advice}"
        ) from error


def _unreachable(rest: str, error: Exception) -> DataError:
    return DataError(
        f"SOURCE `hf:{rest}`: the Hugging Face Hub could not be reached "
        f"({type(error).__name__}: {error}). Run the same command again when it can: it goes on "
        "from the last text that it had encoded."
    )
