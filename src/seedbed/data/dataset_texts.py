"""The datasets that are described: sources of `prepare` and prepared folders, as text; their names.

And the tokenizer that they share, made from equally much of each.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seedbed.data.cleaning import Cleaner
from seedbed.data.documents import Document, find_sources, read_documents
from seedbed.data.drops import Drops
from seedbed.data.formats import kind_of_file
from seedbed.data.ngrams import first_bytes
from seedbed.data.pieces import ReadOptions, Source
from seedbed.data.prepare import MADE_FROM_TEXT, make_tokenizer
from seedbed.data.prepared import KIND, PreparedDataset, open_dataset
from seedbed.data.survey import Samples
from seedbed.errors import DataError
from seedbed.files import MANIFEST, read_manifest
from seedbed.tokenizers.base import Tokenizer

VOCAB_SIZE = 4096
TOKENIZER_BYTES = 4_000_000  # of the beginning of each dataset


class DatasetText:
    """The documents of a source of `prepare`, or of both splits of a prepared folder.

    >>> sum(1 for _ in DatasetText("sample:stories:60").documents(Drops()))
    60
    """

    def __init__(self, name: str, options: ReadOptions | None = None) -> None:
        self.name = name
        self._options = options
        self._prepared: PreparedDataset | None = None
        self._sources: list[Source] = []
        folder = Path(name).expanduser()
        if is_prepared(folder):
            self._prepared = open_dataset(folder)
        else:
            self._sources = find_sources([name])

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The prepared folder's own."""
        return self._prepared.tokenizer if self._prepared else None

    @property
    def bytes(self) -> int | None:
        """How many bytes of text there are, where it is known beforehand."""
        if not self._prepared:
            return None
        return sum(self._prepared.manifest[split]["bytes"] for split in ("train", "val"))

    def documents(self, drops: Drops) -> Iterator[str]:
        """Yield the documents that are neither empty nor broken; the others go to `drops`."""
        cleaner = Cleaner("none", drops=drops)
        return (found.text for found in self._read(drops) if cleaner.encode(found))

    def _read(self, drops: Drops) -> Iterator[Document]:
        if not self._prepared:
            yield from read_documents(self._sources, self._options, drops=drops)
            return
        tokenizer = self._prepared.tokenizer
        for shards in (self._prepared.train, self._prepared.val):
            for number, ids in enumerate(shards.documents(), start=1):
                text = tokenizer.decode(tokenizer.special.inside(ids).tolist())
                yield Document(text, self.name, number)


def is_prepared(folder: Path) -> bool:
    """Return whether a folder is one that `prepare` wrote."""
    return (folder / MANIFEST).is_file() and (
        read_manifest(folder, error=DataError).get("kind") == KIND
    )


def dataset_names(sources: Iterable[str]) -> list[str]:
    """Return a short name for each source: its file's stem, with its folder's where two have it.

    >>> dataset_names(["a/train.txt", "b/train.jsonl.gz", "c/more.v2.txt", "sample:stories"])
    ['a/train', 'b/train', 'more.v2', 'sample:stories']
    """
    sources = list(sources)
    paths = [Path(source.rstrip("/")) for source in sources]
    stems = [_stem(path) or source for path, source in zip(paths, sources, strict=True)]
    longer = [f"{path.parent.name}/{stem}" for path, stem in zip(paths, stems, strict=True)]
    names = [b if stems.count(a) > 1 else a for a, b in zip(stems, longer, strict=True)]
    return [b if names.count(a) > 1 else a for a, b in zip(names, sources, strict=True)]


def _stem(path: Path) -> str:
    """Return a file's name without the suffixes that say how to read it."""
    suffixes = "".join(kind_of_file(path) or ())
    return path.name[: len(path.name) - len(suffixes)]


def shared_tokenizer(kind: str, texts: Sequence[DatasetText]) -> Tokenizer:
    """Return the tokenizer of that kind, made of equally much of each text, or that of a path.

    `kind` is one of TOKENIZERS or a path as for `prepare`; ConfigError when it is neither.
    """
    training: list[bytes] = []
    if kind in MADE_FROM_TEXT:
        beginnings = [_beginning(text) for text in texts]
        size = min(sum(map(len, beginning)) for beginning in beginnings)
        training = [data for beginning in beginnings for data in first_bytes(beginning, size)]
    return make_tokenizer(kind, Samples.of(training), VOCAB_SIZE)


def _beginning(text: DatasetText) -> list[bytes]:
    documents: list[bytes] = []
    size = 0
    for document in text.documents(Drops()):
        documents.append(document.encode())
        size += len(documents[-1])
        if size >= TOKENIZER_BYTES:
            break
    return documents
