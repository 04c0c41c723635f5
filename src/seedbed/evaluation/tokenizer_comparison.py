"""What `seedbed tokenizer` reports: tokenizers side by side on a text.

Each is made from one part of the text and measured on documents that it has not seen.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from seedbed.data.cleaning import Cleaner, content_hash
from seedbed.data.documents import find_sources, read_documents
from seedbed.data.drops import Drops
from seedbed.data.pieces import ReadOptions
from seedbed.data.prepare import TOKENIZERS, check_tokenizer, make_tokenizer
from seedbed.data.survey import FEWEST_BYTES, Samples
from seedbed.errors import ConfigError, DataError, UserError
from seedbed.model.config import DEFAULT_SIZE, ModelSettings, parse_size
from seedbed.tokenizers.base import Tokenizer

SAMPLE_BYTES = 16_000_000
VOCAB_SIZE = 4096
HELD_OUT = 0.1  # of the documents
_OF_ANY_SIZE = ("bpe", "sentencepiece")  # these are made for a vocabulary size


@dataclass(frozen=True)
class TokenizerFigures:
    """One tokenizer on a text. What is counted is of the held-out documents."""

    tokenizer: str  # as it was asked for
    vocab_size: int
    bytes_per_token: float
    megabytes_per_second: float  # encoding all of the text, in one process
    unknown_share: float  # of characters: those that do not come back from their tokens
    changed_documents: int  # those that do not come back as they were
    vocabulary_shares: dict[str, float | None]  # of a size's parameters; None: it does not fit


@dataclass(frozen=True)
class TokenizerComparison:
    """Tokenizers on one text. The names are those of the JSON that `tokenizer` prints."""

    documents: int
    bytes: int
    held_out_documents: int
    held_out_bytes: int
    tokenizers: list[TokenizerFigures]


def compare_tokenizers(
    sources: Sequence[str],
    *,
    kinds: Sequence[str] | None = None,
    vocab_sizes: Sequence[int] = (VOCAB_SIZE,),
    sizes: Sequence[str] = (DEFAULT_SIZE,),
    limit_bytes: int = SAMPLE_BYTES,
    options: ReadOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    note: Callable[[str], object] | None = None,
) -> TokenizerComparison:
    """Return the figures of tokenizers on the first `limit_bytes` of the sources.

    `kinds` are names and paths as for `prepare`. Without them, all named kinds: one that cannot be
    had is left out, and `note` is told why. `progress` gets (tokenizer, tokenizers done, in all).

    >>> compared = compare_tokenizers(["sample:stories:80"], kinds=["byte"], sizes=["1m"])
    >>> compared.tokenizers[0].bytes_per_token, compared.tokenizers[0].changed_documents
    (1.0, 0)
    """
    for size in sizes:
        parse_size(size)
    asked = list(_asked(kinds or tuple(TOKENIZERS), vocab_sizes))
    texts = _read(sources, options, limit_bytes)
    training, held_out = _split(texts)
    samples = Samples.of(training)
    figures: list[TokenizerFigures] = []
    for number, (kind, vocab_size) in enumerate(asked):
        if progress:
            progress(kind, number, len(asked))
        try:
            tokenizer = make_tokenizer(kind, samples, vocab_size)
        except UserError as error:
            if kinds or not note:
                raise
            note(f"{kind} is left out: {error}")
            continue
        figures.append(_measure(kind, tokenizer, texts, held_out, sizes))
    return TokenizerComparison(
        documents=len(texts),
        bytes=sum(map(len, texts)),
        held_out_documents=len(held_out),
        held_out_bytes=sum(map(len, held_out)),
        tokenizers=figures,
    )


def _asked(kinds: Sequence[str], vocab_sizes: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield each tokenizer to make: a kind that has no size of its own choice once."""
    for kind in kinds:
        check_tokenizer(kind)
        for vocab_size in vocab_sizes if kind in _OF_ANY_SIZE else vocab_sizes[:1]:
            yield kind, vocab_size


def _read(sources: Sequence[str], options: ReadOptions | None, limit_bytes: int) -> list[bytes]:
    """Return the first documents of the sources, copies left out: none is on both sides."""
    cleaner = Cleaner("exact", drops=Drops())
    documents = read_documents(
        find_sources(sources), options, limit_bytes=limit_bytes, drops=cleaner.drops
    )
    texts = [data for document in documents if (data := cleaner.encode(document))]
    size = sum(map(len, texts))
    if size < FEWEST_BYTES or len(texts) < 2:
        raise DataError(
            f"There is too little text to compare tokenizers on: {len(texts):,} documents, "
            f"{size:,} bytes. Give at least {FEWEST_BYTES:,} bytes, in two documents or more."
        )
    return texts


def _split(texts: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the documents to train on, and those held out: the tenth with the lowest hashes."""
    count = max(1, round(HELD_OUT * len(texts)))
    held_out = set(sorted(texts, key=content_hash)[:count])
    return [t for t in texts if t not in held_out], [t for t in texts if t in held_out]


def _measure(
    kind: str,
    tokenizer: Tokenizer,
    texts: Sequence[bytes],
    held_out: Sequence[bytes],
    sizes: Sequence[str],
) -> TokenizerFigures:
    whole = [text.decode() for text in texts]
    begin = time.perf_counter()
    tokenizer.encode_documents(whole)
    seconds = time.perf_counter() - begin
    documents = [text.decode() for text in held_out]
    ids = [tokenizer.encode(document) for document in documents]
    back = [tokenizer.decode(document_ids) for document_ids in ids]
    return TokenizerFigures(
        tokenizer=kind,
        vocab_size=tokenizer.vocab_size,
        bytes_per_token=sum(map(len, held_out)) / max(1, sum(map(len, ids))),
        megabytes_per_second=sum(map(len, texts)) / 1e6 / seconds,
        unknown_share=_unknown_share(tokenizer, documents),
        changed_documents=sum(a != b for a, b in zip(documents, back, strict=True)),
        vocabulary_shares={size: _vocabulary_share(size, tokenizer.vocab_size) for size in sizes},
    )


def _unknown_share(tokenizer: Tokenizer, documents: Sequence[str]) -> float:
    """Return the share of characters that do not come back, neither alone nor between others."""
    counts = Counter[str]()
    for document in documents:
        counts.update(document)

    def comes_back(text: str) -> bool:
        return tokenizer.decode(tokenizer.encode(text)) == text

    lost = sum(n for c, n in counts.items() if not comes_back(c) and not comes_back(f"a{c}a"))
    return lost / counts.total()


def _vocabulary_share(size: str, vocab_size: int) -> float | None:
    """Return what a vocabulary takes of the parameters of a model of the default shape."""
    try:
        counts = ModelSettings(size=size).resolve(vocab_size).parameters
    except ConfigError:
        return None
    return (counts.embedding + counts.head) / counts.total
