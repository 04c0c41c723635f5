"""Tables to pieces of documents: .csv, .tsv and .parquet files, whose rows are documents."""

# pyright: strict

from __future__ import annotations

import csv
import importlib
import io
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, cast

from seedbed.data.drops import MALFORMED_ROW, Drops
from seedbed.data.pieces import Piece, ReadOptions
from seedbed.data.records import Records
from seedbed.data.text import CHUNK_BYTES, utf16_error
from seedbed.errors import DataError, how_to_install

_LONGEST_FIELD = 1 << 27  # characters: beyond it, a quotation mark was never closed
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")  # its two first bytes, decoded as UTF-8


class _Rows(Protocol):
    """A csv.reader, whose type has no name."""

    line_num: int

    def __next__(self) -> list[str]: ...


def read_csv(stream: BinaryIO, name: str, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    r"""Yield a document for each row below the header, which names the columns.

    Quoted fields may hold line breaks. A row that is not quoted as CSV wants is left out and
    counted. Raises DataError for a file that ends inside a quoted field.

    >>> data = io.BytesIO(b'id,text\r\n1,"One, two\nand three"\r\n2,Four\r\n')
    >>> list(read_csv(data, "a.csv", ReadOptions(), Drops()))  # doctest: +NORMALIZE_WHITESPACE
    [Piece(text='One, two\nand three', line=2, last=True),
     Piece(text='Four', line=4, last=True)]
    """
    return _rows_of(stream, name, options, drops, delimiter=",")


def read_tsv(stream: BinaryIO, name: str, options: ReadOptions, drops: Drops) -> Iterator[Piece]:
    """Yield a document for each row, as `read_csv` does, from columns that tabs separate."""
    return _rows_of(stream, name, options, drops, delimiter="\t")


def _rows_of(
    stream: BinaryIO, name: str, options: ReadOptions, drops: Drops, *, delimiter: str
) -> Iterator[Piece]:
    csv.field_size_limit(_LONGEST_FIELD)
    lines = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    records = Records(name, options, drops)
    found = _whole_rows(rows, records, name)
    header = next(found, (list[str](), 1))[0]
    if header and header[0].startswith(_UTF16_MARKS):
        raise utf16_error(name)
    if header:
        records.wanted_columns(header)  # or it raises
    for row, line in found:
        if any(row[len(header) :]):
            text = records.skip(MALFORMED_ROW, line, f"{len(row)} columns, but {len(header)} names")
        else:
            text = records.text_of(dict(zip(header, row, strict=False)), line)
        if text is not None:
            yield Piece(text, line, last=True)
    records.finish()


def _whole_rows(rows: _Rows, records: Records, name: str) -> Iterator[tuple[list[str], int]]:
    """Yield the rows that are not empty and the lines where they begin; count the malformed."""
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error) or "field limit" in str(error):
                raise DataError(
                    f"{name} line {line:,}: a quoted field does not end: the file is cut short, "
                    "or a quotation mark is missing or too many."
                ) from None
            records.skip(MALFORMED_ROW, line, f"malformed row: {error}")
            continue
        if row:
            yield row, line


def read_parquet(
    stream: BinaryIO, name: str, options: ReadOptions, drops: Drops
) -> Iterator[Piece]:
    """Yield a document for each row. Needs pyarrow, which the extra `data` brings."""
    try:
        pyarrow, parquet = (importlib.import_module(m) for m in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise DataError(f"{name} needs pyarrow: {how_to_install('data')}") from None
    records = Records(name, options, drops)
    with _seekable(stream) as file:
        try:
            table = parquet.ParquetFile(file)
            columns = records.wanted_columns(table.schema_arrow.names)
            number = 0
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                for row in zip(*map(_values, batch.columns), strict=True):
                    number += 1
                    record = dict(zip(batch.schema.names, row, strict=True))
                    text = records.text_of(record, number)
                    if text is not None:
                        yield Piece(text, number, last=True)
        except (pyarrow.ArrowException, OSError, ValueError) as error:  # as the damage is
            raise DataError(f"{name} is not a whole parquet file: {error}") from error
    records.finish()


def _values(column: Any) -> Iterator[object]:
    """Yield the values of a column; bytes, as some writers store text, are decoded.

    Parquet does not check that text is UTF-8: what is not, is marked for cleaning.
    """
    pyarrow: Any = importlib.import_module("pyarrow")
    bytes_of = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    if column.type in bytes_of:
        column = column.cast(bytes_of[column.type])
    for value in column.to_pylist():
        is_bytes = isinstance(value, bytes)
        yield value.decode("utf-8", "surrogateescape") if is_bytes else value


def _seekable(stream: BinaryIO) -> BinaryIO:
    """Return the stream itself when it is a plain file, else a temporary file with its bytes."""
    if stream.seekable() and isinstance(getattr(stream, "raw", None), io.FileIO):
        return stream
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    while chunk := stream.read(CHUNK_BYTES):
        file.write(chunk)
    file.seek(0)
    return file
