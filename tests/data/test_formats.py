"""Kinds of files and compressions: every cut is noticed, and what is odd is read or told."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from seedbed.data import tables
from seedbed.data import text as text_module
from seedbed.data.compressions import DamageError, decompressed
from seedbed.data.drops import Drops
from seedbed.data.formats import FORMATS, read_file
from seedbed.data.pieces import ReadOptions
from seedbed.errors import DataError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def texts_in(
    data: bytes | str, suffix: str, drops: Drops | None = None, **options: str
) -> list[str]:
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    found = FORMATS[suffix](stream, f"a{suffix}", ReadOptions(**options), drops or Drops())
    return [piece.text for piece in found]


def told(data: bytes | str, suffix: str, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        texts_in(data, suffix, **options)
    return str(caught.value)


# --- JSON -----------------------------------------------------------------------------------

RECORDS = [{"text": 'a "b" \\ é\n', "n": [1.5e3, -2]}, {"text": "two", "x": {"y": [None, True]}}]


@pytest.mark.parametrize("size", [1, 5, 1 << 18])
def test_a_json_list_cut_at_any_byte_is_an_error(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "CHUNK_BYTES", size)
    data = json.dumps(RECORDS, indent=1, ensure_ascii=False).encode()
    assert texts_in(data, ".json") == [r["text"] for r in RECORDS]
    for end in range(1, len(data)):
        assert "a.json" in told(data[:end], ".json")


@pytest.mark.parametrize("number", ["1.5", "-2e10", "3E-7", "-0.25e+3", "12"])
def test_a_number_is_whole_however_the_bytes_come(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in range(1, len(number) + 1):
        monkeypatch.setattr(text_module, "CHUNK_BYTES", size)
        assert texts_in(f'["x", {number}, "y"]', ".json") == ["x", "y"]
        assert texts_in(f'"x" "y" {number}', ".json") == ["x", "y"]


@pytest.mark.parametrize("number", ["1.", "1e", "-2.5e+"])
def test_a_number_cut_short_is_told_as_one(number: str) -> None:
    assert "line 2: malformed JSON: a number is cut short" in told(f'"x"\n{number}', ".json")


def test_marks_of_byte_order_and_windows_line_ends_are_no_text() -> None:
    bom = b"\xef\xbb\xbf"
    assert texts_in(bom + b'{"text": "a"}\r\n{"text": "b"}\r\n', ".jsonl") == ["a", "b"]
    assert texts_in(bom + b'[{"text": "a"}]', ".json") == ["a"]
    assert texts_in(bom + b"text\r\na\r\n", ".csv") == ["a"]
    assert "".join(texts_in(bom + b"a\r\nb", ".txt")) == "a\r\nb"
    for suffix in (".txt", ".json", ".csv"):
        assert "iconv -f UTF-16" in told("text\na\n".encode("utf-16"), suffix)


def test_empty_files_have_no_records() -> None:
    assert [texts_in("", suffix) for suffix in (".jsonl", ".json", ".csv", ".tsv")] == [[]] * 4
    assert texts_in("id,text\n", ".csv") == []


# --- tables ---------------------------------------------------------------------------------


def test_quoted_fields_hold_separators_quotes_and_line_ends() -> None:
    data = 'text,id\n"One, ""two""\nand\r\nthree",1\n\nplain,2\n"",3\n'
    assert texts_in(data, ".csv") == ['One, "two"\nand\r\nthree', "plain", ""]
    assert texts_in(data.replace(",", "\t"), ".tsv")[0] == 'One\t "two"\nand\r\nthree'


def test_a_column_is_chosen_by_name_and_a_wrong_name_is_told_with_the_columns() -> None:
    data = "title,story\nA,B\n"
    assert texts_in(data, ".csv", text_field="story") == ["B"]
    assert "its fields are `story`, `title`" in told(data, ".csv")
    assert "Did you mean `story`?" in told(data, ".csv", text_field="storys")
    one_column = "Once upon a time there was a very small dog that ran\nAnother line\n"
    assert "its fields are `Once upon a time there was a very small `" in told(one_column, ".csv")


@pytest.mark.parametrize("field", ["messages", "conversations"])
def test_of_conversations_it_is_told_what_they_are_for(field: str) -> None:
    assert "Conversations are for `seedbed finetune`" in told(json.dumps({field: []}), ".jsonl")


def test_rows_of_another_shape_are_counted_and_told() -> None:
    drops = Drops()
    data = 'id,text\n1,a\n2\n3,b\n4,c,d\n5,"e"f\n6,g\n7,h,\n'
    assert texts_in(data, ".csv", drops) == ["a", "b", "g", "h"]
    assert drops.counts == {"no text field": 1, "malformed row": 2}
    assert drops.first["no text field"].startswith("a.csv line 3: ")
    assert drops.first["malformed row"] == "a.csv line 5: 3 columns, but 2 names"
    assert "2 of the first 3 records" in told("id,text\n1,a\n2\n3\n", ".csv")


def test_a_table_cut_inside_a_quoted_field_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "line 3: a quoted field does not end" in told('text\na\n"b\nc\nd', ".csv")
    monkeypatch.setattr(tables, "_LONGEST_FIELD", 1000)
    assert "line 2: a quoted field does not end" in told('text\n"' + "b\n" * 600 + '"', ".csv")


def test_a_very_long_field_is_read() -> None:
    long = "word " * 200_000  # beyond the csv module's own limit
    assert texts_in(f'text\n"{long}"\n', ".csv") == [long]


def test_broken_utf8_in_a_table_is_marked_for_cleaning() -> None:
    assert texts_in(b"text\ncaf\xe9\n", ".csv") == ["caf\udce9"]


# --- compressions ---------------------------------------------------------------------------


@pytest.mark.parametrize("compression", PACKERS)
def test_a_compressed_stream_cut_at_any_byte_is_an_error(compression: str) -> None:
    pack = PACKERS[compression]
    data = pack(b"once upon a time " * 20 + bytes(range(256)))
    for end in range(len(data)):
        with pytest.raises(DamageError):
            decompressed(io.BytesIO(data[:end]), compression).read()
    two = data + pack(b"the end")
    assert decompressed(io.BytesIO(two), compression).read().endswith(b"\xffthe end")
    for end in range(len(data) + 1, len(two)):
        with pytest.raises(DamageError):
            decompressed(io.BytesIO(two[:end]), compression).read()


@pytest.mark.parametrize("compression", PACKERS)
def test_a_damaged_byte_is_never_read_as_text(compression: str) -> None:
    text = b"once upon a time " * 20
    data = PACKERS[compression](text)
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]
        with suppress(DamageError):
            assert decompressed(io.BytesIO(damaged), compression).read() == text  # a header's date


def test_garbage_after_a_stream_is_an_error_and_padding_is_not() -> None:
    for compression, pack in PACKERS.items():
        data = pack(b"text")
        assert decompressed(io.BytesIO(data + bytes(8)), compression).read() == b"text"
        with pytest.raises(DamageError):
            decompressed(io.BytesIO(data + b"garbage"), compression).read()


def test_zstandard_with_a_window_beyond_the_usual_is_read() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=30)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    data = packer.compress(b"once upon a time") + packer.flush()
    assert decompressed(io.BytesIO(data), ".zst").read() == b"once upon a time"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.bz2"
    path.write_bytes(b"not a bz2 file")
    with pytest.raises(DataError, match=r"a\.txt\.bz2 is damaged or cut short: Invalid data"):
        list(read_file(path, ReadOptions(), Drops()))
