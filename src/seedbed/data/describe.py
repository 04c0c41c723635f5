"""What datasets are like, side by side, and how they stand to each other and to evaluation texts.

Each dataset is read once. What is counted on the way is exact (dataset_counts.py); what takes
longer is measured on a sample of its documents and told with an interval (estimates.py). 20 MB
took 14 s of one core and 295 MB of memory, a BPE made from it included; 60 MB took 28 s and 297 MB.
"""

# pyright: strict

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seedbed.data.comparisons import Comparison, compare
from seedbed.data.dataset_counts import DatasetCounts
from seedbed.data.dataset_texts import DatasetText, dataset_names, shared_tokenizer
from seedbed.data.drops import Drops
from seedbed.data.duplicates import Clusters, exact_clusters
from seedbed.data.estimates import Figure, estimate, mean_of
from seedbed.data.filters import language_of
from seedbed.data.near_duplicates import Sketcher
from seedbed.data.overlap import ContaminationIndex
from seedbed.data.pieces import ReadOptions
from seedbed.data.text_statistics import MEASURES, text_sums
from seedbed.data.vocabulary import Vocabulary, measure_vocabulary, sample_words_for
from seedbed.errors import DataError

LANGUAGE_DOCUMENTS = 300
OTHER = "other"  # languages beyond the most frequent ones
TOO_SHORT = "too short to tell"
_LANGUAGES_TOLD = 4

Progress = Callable[[str, int, int | None], None]  # stage, bytes done, bytes in all where known
Note = Callable[[str], object]


@dataclass(frozen=True)
class DatasetFigures:
    """What a dataset is like. A number is exact, an Estimate comes from `sample_documents`."""

    name: str
    source: str
    documents: int
    bytes: int
    characters: int
    words: int  # what white space separates
    sentences: int
    tokenizer: str | None
    tokens: int | None  # those that begin and end documents counted, as `prepare` does
    bytes_per_token: float | None  # of the text alone
    words_per_document: dict[str, int]  # quantiles: p0 is the shortest, p50 the median
    exact_duplicates: Clusters
    near_duplicates: Clusters | None  # None: datasketch is not installed
    duplicate_lines: Figure  # the share of lines that are not the first of their kind
    duplicate_paragraphs: Figure
    repeated_runs: Figure  # the same of runs of 13 words
    compression: float  # bytes per byte that zstd leaves of the whole text
    vocabulary: Vocabulary
    text: dict[str, Figure]  # text_statistics.MEASURES
    languages: dict[str, Figure] | None  # shares of documents; None: py3langid is not installed
    per_million_characters: dict[str, float]  # what looks like email addresses and the like
    sample_documents: int
    sample_bytes: int
    left_out: dict[str, dict[str, int | str]]  # empty and broken documents


@dataclass(frozen=True)
class EvaluationOverlap:
    """How much of an evaluation text a dataset holds."""

    evaluation: str
    dataset: str
    documents: int  # of the evaluation text
    found: int  # of these: those that occur in the dataset (overlap.py)
    runs: float | None  # the share of their different runs of 13 words that occur in it


@dataclass(frozen=True)
class Description:
    """Datasets side by side. The names are those of the JSON that `describe` prints."""

    datasets: list[DatasetFigures]
    comparison: Comparison | None  # None: there is only one dataset
    evaluation: list[EvaluationOverlap]


def describe(
    sources: Sequence[str],
    *,
    tokenizer: str | None = None,
    evaluation: Sequence[str] = (),
    options: ReadOptions | None = None,
    progress: Progress = lambda stage, done, total: None,  # noqa: ARG005
    note: Note = lambda text: None,  # noqa: ARG005
) -> Description:
    """Return what each source is like: a SOURCE of `prepare`, or a prepared folder (both splits).

    `tokenizer` is one of `prepare`'s kinds or a path; bpe, sentencepiece and char are made from
    equally much of each source. Without it, the tokens of a prepared folder are counted with its
    own. `note` is told what cannot be measured because a package is missing. Raises DataError for
    text that cannot be read, ConfigError for a tokenizer that is none.

    >>> found = describe(["sample:stories:80"], tokenizer="byte").datasets[0]
    >>> found.documents, found.bytes_per_token, found.exact_duplicates.copies
    (80, 1.0, 0.0)
    """
    names = dataset_names(sources)
    texts = [DatasetText(source, options) for source in sources]
    evaluation_texts = [DatasetText(source, options) for source in evaluation]
    shared = shared_tokenizer(tokenizer, texts) if tokenizer else None
    sketcher = _sketcher(note)
    indexes = {
        name: ContaminationIndex(text.documents(Drops()), near=sketcher is not None)
        for name, text in zip(dataset_names(evaluation), evaluation_texts, strict=True)
    }
    counted = [
        DatasetCounts(
            tokenizer=shared or text.tokenizer, sketcher=sketcher, indexes=list(indexes.values())
        )
        for text in texts
    ]
    for name, text, counts in zip(names, texts, counted, strict=True):
        _read(name, text, counts, progress)
    progress("measuring samples", 0, None)
    samples = [counts.sample() for counts in counted]
    sample_words = sample_words_for(samples)
    found = zip(names, sources, counted, samples, strict=True)
    return Description(
        datasets=[_figures(*dataset, sample_words, note) for dataset in found],
        comparison=compare(counted, samples) if len(counted) > 1 else None,
        evaluation=[
            EvaluationOverlap(
                name, dataset, index.documents, len(scan.matches()), scan.share_of_runs
            )
            for dataset, counts in zip(names, counted, strict=True)
            for (name, index), scan in zip(indexes.items(), counts.scans, strict=True)
        ],
    )


def _sketcher(note: Note) -> Sketcher | None:
    try:
        return Sketcher()
    except DataError as error:
        note(f"Near duplicates are left out. {error}")
        return None


def _read(name: str, text: DatasetText, counts: DatasetCounts, progress: Progress) -> None:
    """Count all documents of a dataset. Raises DataError where there are none."""
    told = 0
    for document in text.documents(counts.drops):
        counts.add(document)
        if counts.bytes - told >= 1 << 20:
            told = counts.bytes
            progress(name, told, text.bytes)
    if not counts.documents:
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in counts.drops.counts.items())
        raise DataError(f"{text.name} holds no text{f' ({dropped})' if dropped else ''}.")
    counts.finish()
    progress(name, counts.bytes, counts.bytes)


def _figures(
    name: str,
    source: str,
    counts: DatasetCounts,
    sample: Sequence[str],
    sample_words: int,
    note: Note,
) -> DatasetFigures:
    tokenizer = counts.tokenizer
    sums = [text_sums(document) for document in sample]
    columns = {key: [document[key] for document in sums] for key in sums[0]}
    personal = {kind: 1e6 * n / counts.characters for kind, n in counts.personal.items()}
    return DatasetFigures(
        name=name,
        source=source,
        documents=counts.documents,
        bytes=counts.bytes,
        characters=counts.characters,
        words=counts.words,
        sentences=counts.sentences,
        tokenizer=f"{tokenizer.kind}, {tokenizer.vocab_size:,} tokens" if tokenizer else None,
        tokens=counts.tokens if tokenizer else None,
        bytes_per_token=counts.bytes_per_token,
        words_per_document=counts.word_quantiles(),
        exact_duplicates=exact_clusters(counts.contents),
        near_duplicates=counts.sketches.clusters() if len(counts.sketches) else None,
        duplicate_lines=counts.lines.share_of_copies(),
        duplicate_paragraphs=counts.paragraphs.share_of_copies(),
        repeated_runs=counts.runs.share_of_copies(),
        compression=counts.bytes / counts.compressed,
        vocabulary=measure_vocabulary(sample, sample_words),
        text=dict(estimate(columns, MEASURES)),
        languages=_languages(sample[:LANGUAGE_DOCUMENTS], note),
        per_million_characters=personal,
        sample_documents=len(sample),
        sample_bytes=sum(len(document.encode()) for document in sample),
        left_out=counts.drops.facts(),
    )


def _languages(texts: Sequence[str], note: Note) -> dict[str, Figure] | None:
    """Return the shares of documents in the most frequent languages, the largest first."""
    try:
        found = [language_of(text) or TOO_SHORT for text in texts]
    except DataError as error:
        note(f"Languages are left out. {error}")
        return None
    told = [language for language, _ in Counter(found).most_common(_LANGUAGES_TOLD)]
    named = [language if language in told else OTHER for language in found]
    order = [language for language, _ in Counter(named).most_common()]
    return {language: mean_of([float(other == language) for other in named]) for language in order}
