"""A description of datasets as tables: a row for each figure, a column for each dataset."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from seedbed.data.comparisons import Square
from seedbed.data.describe import DatasetFigures, Description
from seedbed.data.estimates import Estimate, Figure

Style = Literal["count", "number", "share"]
Columns = Sequence[DatasetFigures]

_TEXT = {
    "flesch_reading_ease": "Flesch reading ease (100 is easy)",
    "flesch_kincaid_grade": "Flesch-Kincaid grade (years)",
    "stop_words": "stop words, of words",
    "code_like": "code-like lines, of characters",
    "digits": "digits, of characters",
    "capitals": "capitals, of letters",
    "symbols": "symbols, of characters",
    "self_repetition": "self-repetition, of characters",
}
_PERSONAL = {
    "emails": "email addresses",
    "phones": "telephone numbers",
    "streets": "street addresses",
    "urls": "web addresses",
}


@dataclass(frozen=True)
class Row:
    """A label and a cell for each column, as text."""

    label: str
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """Rows under a title; `columns` are their heads."""

    title: str
    columns: list[str]
    rows: list[Row]
    note: str = ""


def show(figure: Figure | str, style: Style = "number") -> str:
    """Return a figure for a person, an estimate with half the width of its interval.

    >>> show(12345, "count"), show(0.25, "share"), show(Estimate(2.5, 2.4, 2.7)), show(None)
    ('12,345', '25.0 %', '2.500 ±0.200', '-')
    """
    if figure is None or isinstance(figure, str):
        return figure or "-"
    value = figure.value if isinstance(figure, Estimate) else figure
    width = figure.half_width if isinstance(figure, Estimate) else None
    if style == "count":
        return f"{value:,.0f}"
    scale, digits, unit = (100, 1, " %") if style == "share" else (1, _digits(value), "")
    if style == "share" and 0 < abs(value) < 0.0995:
        digits = 2
    spread = f" ±{scale * width:,.{digits}f}" if width is not None else ""
    return f"{scale * value:,.{digits}f}{spread}{unit}"


def _digits(value: float) -> int:
    return 3 if abs(value) < 10 else 1


def tables(description: Description) -> list[Table]:
    """Return all that a description tells, in the order of reading."""
    datasets = description.datasets
    names = [dataset.name for dataset in datasets]
    parts = [
        ("size", _size(datasets), _SIZE_NOTE),
        ("length in words", _lengths(datasets), "All of the text is counted."),
        ("duplicates", _duplicates(datasets), _DUPLICATES_NOTE),
        ("vocabulary", _vocabulary(datasets), _vocabulary_note(datasets)),
        ("text", _text(datasets), _sample_note(datasets)),
        ("languages, of documents", _languages(datasets), _LANGUAGES_NOTE),
        ("personal data, per million characters", _personal(datasets), _PERSONAL_NOTE),
    ]
    found = [Table(title, names, rows, note) for title, rows, note in parts if rows]
    return [*found, *_comparison(description, names), *_evaluation(description)]


_SIZE_NOTE = (
    "All of the text is counted. A source with fewer than 50 documents is cut into blocks of about "
    "4 KB, and these are its documents. Tokens: those that end documents counted."
)
_DUPLICATES_NOTE = (
    "Copies: what is not the first of its group. Near duplicates: MinHash of runs of five words, "
    "from a similarity of about 0.7 on, among the first 262,144 documents. All of the text is "
    "counted, unless an interval is given."
)
_LANGUAGES_NOTE = "By py3langid, of up to 300 documents of the sample. ±: 95 % bootstrap interval."
_PERSONAL_NOTE = "What looks like one, by its form alone. All of the text is counted."


def _rows(
    datasets: Columns, style: Style, figures: dict[str, Callable[[DatasetFigures], Figure]]
) -> list[Row]:
    """Return a row for each figure that at least one dataset has."""
    found = [
        (label, [figure(dataset) for dataset in datasets]) for label, figure in figures.items()
    ]
    return [
        Row(label, [show(cell, style) for cell in cells])
        for label, cells in found
        if any(cell is not None for cell in cells)
    ]


def _size(datasets: Columns) -> list[Row]:
    counts = _rows(
        datasets,
        "count",
        {
            "documents": lambda d: d.documents,
            "bytes": lambda d: d.bytes,
            "characters": lambda d: d.characters,
            "words": lambda d: d.words,
            "sentences": lambda d: d.sentences,
            "tokens": lambda d: d.tokens,
        },
    )
    ratios = _rows(
        datasets,
        "number",
        {
            "bytes per token": lambda d: d.bytes_per_token,
            "words per sentence": lambda d: d.words / max(1, d.sentences),
            "zstd compression, whole text": lambda d: d.compression,
        },
    )
    if any(dataset.tokenizer for dataset in datasets):
        counts.append(Row("tokenizer", [dataset.tokenizer or "-" for dataset in datasets]))
    return [*counts, *ratios]


def _lengths(datasets: Columns) -> list[Row]:
    labels = {"p0": "shortest", "p5": "5 %", "p25": "25 %", "p50": "median", "p75": "75 %"}
    labels |= {"p95": "95 %", "p100": "longest"}
    return [
        Row(label, [show(d.words_per_document[key], "count") for d in datasets])
        for key, label in labels.items()
    ]


def _duplicates(datasets: Columns) -> list[Row]:
    shares = _rows(
        datasets,
        "share",
        {
            "copies of documents": lambda d: d.exact_duplicates.copies,
            "near copies (equal ones counted)": lambda d: (
                d.near_duplicates.copies if d.near_duplicates else None
            ),
            "copies of lines": lambda d: d.duplicate_lines,
            "copies of paragraphs": lambda d: d.duplicate_paragraphs,
            "copies of runs of 13 words": lambda d: d.repeated_runs,
        },
    )
    sizes = _rows(
        datasets,
        "count",
        {
            "groups of equal documents": lambda d: d.exact_duplicates.groups,
            "largest of them": lambda d: d.exact_duplicates.largest,
            "groups of near duplicates": lambda d: d.near_duplicates and d.near_duplicates.groups,
            "largest of these": lambda d: d.near_duplicates and d.near_duplicates.largest,
        },
    )
    return [*shares, *sizes, *_group_sizes(datasets)]


def _group_sizes(datasets: Columns) -> list[Row]:
    """Return how many groups of near duplicates there are of each size that occurs."""
    sizes = [d.near_duplicates.sizes if d.near_duplicates else {} for d in datasets]
    named = ("2", "3", "4", "5-9", "10-99", "100 or more")
    return [
        Row(f"near duplicates in groups of {name}", [f"{s.get(name, 0):,}" for s in sizes])
        for name in named
        if any(name in s for s in sizes)
    ]


def _vocabulary(datasets: Columns) -> list[Row]:
    return _rows(
        datasets,
        "number",
        {
            "type-token ratio": lambda d: d.vocabulary.type_token,
            "distinct-2": lambda d: d.vocabulary.distinct_2,
            "distinct-3": lambda d: d.vocabulary.distinct_3,
            "zstd compression": lambda d: d.vocabulary.compression,
            "Zipf exponent, 1,000 words": lambda d: d.vocabulary.zipf_exponent,
        },
    )


def _vocabulary_note(datasets: Columns) -> str:
    words = datasets[0].vocabulary.sample_words
    samples = "/".join(f"{dataset.vocabulary.samples}" for dataset in datasets)
    return (
        f"Means over {samples} samples of {words:,} words each, as lengths decide these. "
        "±: 95 % bootstrap interval over the samples."
    )


def _text(datasets: Columns) -> list[Row]:
    rows: list[Row] = []
    for key, label in _TEXT.items():
        style: Style = "number" if key.startswith("flesch") else "share"
        rows.append(Row(label, [show(dataset.text[key], style) for dataset in datasets]))
    return rows


def _sample_note(datasets: Columns) -> str:
    sizes = ", ".join(f"{dataset.sample_documents:,}" for dataset in datasets)
    return (
        "Readability, by vowel groups for syllables, and stop words are for English. Self-"
        "repetition: in lines, or runs of ten words, that stood before in the document. From "
        f"samples of {sizes} documents. ±: 95 % bootstrap interval over documents."
    )


def _languages(datasets: Columns) -> list[Row]:
    found = [dataset.languages or {} for dataset in datasets]
    names = list(dict.fromkeys(name for languages in found for name in languages))
    return [Row(name, [show(each.get(name), "share") for each in found]) for name in names]


def _personal(datasets: Columns) -> list[Row]:
    return [
        Row(label, [f"{dataset.per_million_characters[key]:,.1f}" for dataset in datasets])
        for key, label in _PERSONAL.items()
    ]


def _comparison(description: Description, names: list[str]) -> list[Table]:
    found = description.comparison
    if not found:
        return []
    counted = "Of the row's different {}, the share that the column has too."
    squares: list[tuple[str, Square | None, Style, str]] = [
        (
            "bits per byte of a byte n-gram model",
            found.bits_per_byte,
            "number",
            f"Trained on {found.training_bytes:,} bytes of the row, measured on held-out text of "
            "the column. ±: 95 % bootstrap interval over documents.",
        ),
        ("documents in common", found.documents, "share", counted.format("documents")),
        (
            "near duplicates in common",
            found.near_documents,
            "share",
            "Of the row's documents, the share with a near duplicate in the column.",
        ),
        ("13-grams in common", found.runs, "share", counted.format("runs of 13 words")),
    ]
    return [
        Table(title, names, _square_rows(names, square, style), note)
        for title, square, style, note in squares
        if square
    ]


def _square_rows(names: Sequence[str], square: Square, style: Style) -> list[Row]:
    return [
        Row(name, [show(cell, style) for cell in cells])
        for name, cells in zip(names, square, strict=True)
    ]


def _evaluation(description: Description) -> list[Table]:
    rows = [
        Row(
            f"{found.evaluation} in {found.dataset}",
            [f"{found.found:,} of {found.documents:,}", show(found.runs, "share")],
        )
        for found in description.evaluation
    ]
    note = (
        "Documents of the evaluation text that occur in the dataset: 30 % of their runs of 13 "
        "words, or a near duplicate; and how many of all different runs do."
    )
    return [Table("evaluation text", ["documents found", "13-grams"], rows, note)] if rows else []
