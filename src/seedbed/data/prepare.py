"""Text to tokens: a first pass that surveys the text, a second one that writes token files.

Everything streams; workplace.py says how an interrupted run continues.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

import seedbed
from seedbed.config import Settings
from seedbed.data.cleaning import DROPPED, Cleaner, Dedup, content_hash
from seedbed.data.documents import Document, find_sources, read_documents
from seedbed.data.drops import Drops
from seedbed.data.encode_worker import dtype_for
from seedbed.data.encoding import Block, encode_blocks
from seedbed.data.filters import Filters
from seedbed.data.near_duplicates import THRESHOLD
from seedbed.data.ngrams import measure_baseline
from seedbed.data.normalise import Normaliser, UnicodeForm
from seedbed.data.pieces import ReadOptions, Source
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.survey import Samples, Survey, Surveyor
from seedbed.data.token_shards import ShardWriter, Split, Written
from seedbed.data.workplace import Workplace, finished_dataset
from seedbed.errors import ConfigError, DataError, did_you_mean
from seedbed.files import read_json, write_json
from seedbed.machine import this_machine
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.pretrained import load_gpt2
from seedbed.tokenizers.sentencepiece import train_sentencepiece
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer

Progress = Callable[[str, int, int | None], None]  # stage, bytes done, bytes in all where known

BLOCK_BYTES = 1 << 17  # of text, encoded together: one chunk of it; more would only cost memory
SAVE_BYTES = 1 << 25  # of text, between two savings of the state
_SMALL_BYTES = 1 << 22  # of text: encoded before other processes would have started

# To add a tokenizer, add a line: from the samples of the text and `vocab_size`.
TOKENIZERS: dict[str, Callable[[Samples, int], Tokenizer]] = {
    "byte": lambda _samples, _vocab_size: ByteTokenizer(),
    "char": lambda samples, _vocab_size: CharTokenizer(sorted(samples.characters)),
    "bpe": lambda samples, vocab_size: train_bpe(
        (text.decode("utf-8", "ignore") for text in samples.training), vocab_size
    ),
    "sentencepiece": lambda samples, vocab_size: train_sentencepiece(
        (text.decode("utf-8", "ignore") for text in samples.training), vocab_size
    ),
    "gpt2": lambda _samples, _vocab_size: load_gpt2(),
}
MADE_FROM_TEXT = ("char", "bpe", "sentencepiece")


def check_tokenizer(kind: str) -> None:
    """Raise ConfigError for what is neither one of TOKENIZERS nor a path to a tokenizer."""
    if kind not in TOKENIZERS and not Path(kind).expanduser().exists():
        raise ConfigError(
            f"There is no tokenizer `{kind}`: it is neither one of {', '.join(TOKENIZERS)} nor a "
            f"file or folder.{did_you_mean(kind, TOKENIZERS)}"
        )


def make_tokenizer(kind: str, samples: Samples, vocab_size: int) -> Tokenizer:
    """Return a tokenizer of that kind, or the one at that path; ConfigError for neither."""
    check_tokenizer(kind)
    make = TOKENIZERS.get(kind)
    return make(samples, vocab_size) if make else load_tokenizer(Path(kind).expanduser())


def parse_bytes(size: object) -> object:
    """Return the bytes that a size such as "10m" names; what is not text, as it is.

    >>> parse_bytes("10m"), parse_bytes("500k"), parse_bytes("1.5g"), parse_bytes(7)
    (10000000, 500000, 1500000000, 7)
    """
    if not isinstance(size, str):
        return size
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", size.strip().lower().replace("_", ""))
    if not match:
        raise ValueError(f"`limit_bytes` is {size!r}. Write a count of bytes, such as 10m or 500k.")
    return round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[match[2]])


class PrepareConfig(Settings):
    """What to make a dataset of, and how."""

    sources: tuple[str, ...] = Field(min_length=1)  # files, folders, globs, addresses, sample:...
    out: Path
    tokenizer: str = "bpe"  # one of TOKENIZERS, or a path to a tokenizer or a prepared dataset
    vocab_size: int = 4096  # of a bpe or sentencepiece
    # Validation text of its own; all of `sources` is then for training. Where neither it nor
    # `val_fraction` is given, nanogpt:FOLDER brings the one that nanoGPT held out.
    val: tuple[str, ...] = ()
    val_fraction: float | None = Field(default=None, gt=0, lt=1)  # None: by size, 10 % to 0.5 %
    text_field: str = "text"  # of JSON records, and of rows
    document_separator: str | None = Field(
        default=None, min_length=1
    )  # None: lines of <|endoftext|>
    limit_documents: int | None = Field(default=None, ge=1)  # read at most so many from `sources`
    # Read at most so many bytes of UTF-8 from `sources`; 10m and the like are understood.
    limit_bytes: Annotated[int | None, BeforeValidator(parse_bytes)] = Field(default=None, ge=1)
    unicode: UnicodeForm | None = None  # None: text stays as it is
    newlines: bool = False  # make all line ends LF
    filters: Filters = Filters()
    dedup: Dedup = "exact"
    workers: int | None = Field(default=None, ge=1)  # None: the cores, or one for a small text
    seed: int = 0  # of sample:stories
    overwrite: bool = False  # replace another dataset at `out`

    @model_validator(mode="after")
    def _one_validation_only(self) -> Self:
        if self.val and self.val_fraction is not None:
            raise ValueError("`val` and `val_fraction` both choose the validation text: give one.")
        return self


def prepare(
    config: PrepareConfig, *, progress: Progress | None = None, whole: bool = False
) -> PreparedDataset:
    """Return the dataset made of the sources, from `config.out`, where it is written.

    An unfinished run of the same settings is continued; a finished one is returned as it is, with
    `was_finished`. `whole` leaves documents whole, however few a source has. Raises DataError for
    text that cannot be used and for a full disk, ConfigError for settings.

    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "stories"
    >>> dataset = prepare(PrepareConfig(sources=("sample:stories:60",), out=out, tokenizer="byte"))
    >>> dataset.train.num_documents + dataset.val.num_documents
    60
    """
    job = _Job(config, progress or _no_progress, whole)
    out = config.out.expanduser().absolute()
    finished = finished_dataset(out, job.settings, job.all_sources, overwrite=config.overwrite)
    if finished:
        return replace(finished, was_finished=True)
    place = Workplace(out)
    with place.alone(), place.full_disk_explained():
        place.start_or_continue(job.settings, job.all_sources)
        if not place.survey.exists():
            try:
                _survey(job, place)
            except (ConfigError, DataError):  # there is nothing to continue from
                place.remove()
                raise
        written = _encode(job, place)
        place.publish(_facts(job, read_json(place.survey), written, place.dataset))
    return open_dataset(out, verify=False)


def _no_progress(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


class _Job:
    """What was asked for, looked up."""

    def __init__(self, config: PrepareConfig, progress: Progress, whole: bool) -> None:
        self.config = config
        self.progress = progress
        self.whole = whole
        self.normaliser = Normaliser(config.unicode, config.newlines)
        self.sources = find_sources(config.sources)
        own = [part.validation for source in self.sources for part in source.parts]
        brought = [name for name in own if name] if config.val_fraction is None else []
        self.validation_sources = find_sources(config.val or brought)
        self.all_sources: list[Source] = [*self.validation_sources, *self.sources]
        self.settings = config.model_dump(mode="json", exclude={"out", "workers", "overwrite"})
        if config.tokenizer not in TOKENIZERS:  # its file may change behind the path
            tokenizer = make_tokenizer(config.tokenizer, Samples.of([]), config.vocab_size)
            self.settings["tokenizer_fingerprint"] = tokenizer.fingerprint()

    def documents(self, split: Split, drops: Drops) -> Iterator[Document]:
        """Yield the documents of the validation sources, or of the others, normalised."""
        config = self.config
        options = ReadOptions(
            config.text_field, config.document_separator, config.seed, whole=self.whole
        )
        if split == "val":
            found = read_documents(self.validation_sources, options, drops=drops)
        else:
            found = read_documents(
                self.sources,
                options,
                limit=config.limit_documents,
                limit_bytes=config.limit_bytes,
                drops=drops,
            )
        return self.normaliser.each(found)


def _survey(job: _Job, place: Workplace) -> None:
    """Read all text once; make the tokenizer and the baseline; write down what was found."""
    config, drops = job.config, Drops()
    job.progress("reading", 0, None)
    with place.hashes.open("wb") as hashes:
        surveyor = Surveyor(
            Cleaner(config.dedup, filters=config.filters, drops=drops),
            hashes,
            characters=config.tokenizer == "char",
        )
        for split in ("val", "train"):
            for kept in surveyor.read(job.documents(split, drops), split):
                job.progress("reading", kept, None)
    survey, samples = surveyor.finish(place.hashes, config.val_fraction)
    job.progress("tokenizer", 0, None)
    tokenizer = make_tokenizer(config.tokenizer, samples, config.vocab_size)
    tokenizer.save(place.dataset)
    job.progress("baseline", 0, None)
    baseline = measure_baseline(samples.training, samples.validation)
    survey = replace(survey, normalised=job.normaliser.changed)
    write_json(place.survey, {"survey": asdict(survey), "baseline": baseline})


def _encode(job: _Job, place: Workplace) -> Written:
    """Write the token files, from where an interrupted run left off; return what they hold."""
    survey = Survey(**read_json(place.survey)["survey"])
    vocab_size = load_tokenizer(place.dataset).vocab_size
    writer = ShardWriter(place.dataset, place.written, token_size=dtype_for(vocab_size).itemsize)
    with closing(writer):
        saved = writer.written.bytes
        job.progress("encoding", saved, survey.bytes_kept)
        blocks = _blocks(_kept_documents(job, place, survey, writer.written.documents_read))
        workers = job.config.workers or _useful_workers(survey.bytes_kept - saved)
        with closing(encode_blocks(blocks, place.dataset, workers=workers)) as encoded_blocks:
            for encoded in encoded_blocks:
                writer.append(encoded)
                job.progress("encoding", writer.written.bytes, survey.bytes_kept)
                if writer.written.bytes - saved >= SAVE_BYTES:
                    saved = writer.written.bytes
                    writer.save_state()
        writer.save_state()
    return writer.written


def _useful_workers(num_bytes: int) -> int:
    return 1 if num_bytes < _SMALL_BYTES else this_machine().cores


class _Kept(NamedTuple):
    """A document that the survey kept."""

    data: bytes
    for_validation: bool
    number: int


def _kept_documents(job: _Job, place: Workplace, survey: Survey, first: int) -> Iterator[_Kept]:
    """Yield what the survey kept, from document number `first` on.

    Raises DataError when the sources no longer hold what the survey saw.
    """
    documents = chain(job.documents("val", Drops()), job.documents("train", Drops()))
    both = zip_longest(islice(documents, first, None), _read_hashes(place.hashes, first))
    for number, (document, key) in enumerate(both, start=first):
        if key == DROPPED and document:
            continue
        data = document.text.encode("utf-8", "surrogatepass") if document else b""
        if content_hash(data) != key:
            raise DataError("The sources changed while they were read. Run this again.")
        is_validation = number < survey.from_validation_source or key < survey.threshold
        yield _Kept(data, is_validation, number)


def _read_hashes(path: Path, first: int) -> Iterator[int]:
    with path.open("rb") as file:
        file.seek(8 * first)
        while data := file.read(1 << 16):
            yield from np.frombuffer(data, "<u8").tolist()


def _blocks(documents: Iterable[_Kept]) -> Iterator[Block]:
    """Yield documents in blocks of BLOCK_BYTES: enough to be worth sending to a process."""
    block = Block([], [], 0)
    size = 0
    for data, for_validation, number in documents:
        block.texts.append(data)
        block.for_validation.append(for_validation)
        block.documents_read = number + 1
        size += len(data)
        if size >= BLOCK_BYTES:
            yield block
            block, size = Block([], [], 0), 0
    if block.texts:
        yield block


def _facts(job: _Job, found: dict[str, Any], written: Written, dataset: Path) -> dict[str, Any]:
    """Return what the manifest says: nothing that a second making of the same would change."""
    tokenizer, survey = load_tokenizer(dataset), found["survey"]
    return {
        "version": seedbed.__version__,
        "dtype": dtype_for(tokenizer.vocab_size).name,
        "vocab_size": tokenizer.vocab_size,
        "tokenizer": {"kind": tokenizer.kind, "fingerprint": tokenizer.fingerprint()},
        "train": asdict(written.train),
        "val": asdict(written.val),
        "documents_read": survey["documents_read"],
        "drops": survey["drops"],
        "normalised": survey["normalised"],
        "near_duplicate_threshold": THRESHOLD if job.config.dedup == "near" else None,
        "content": survey["content"],
        "baseline": found["baseline"],
        "sources": [source.facts() for source in job.all_sources],
        "settings": job.settings,
    }
