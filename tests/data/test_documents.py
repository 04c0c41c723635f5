"""Sources to documents: kinds of files, the contract on separators and blocks, errors."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from seedbed.data import text as text_module
from seedbed.data.compressions import COMPRESSIONS
from seedbed.data.documents import (
    Document,
    cut_into_blocks,
    find_sources,
    read_documents,
    whole_documents,
)
from seedbed.data.drops import Drops
from seedbed.data.pieces import Piece, ReadOptions
from seedbed.data.text import text_pieces
from seedbed.errors import DataError, how_to_install

MANY = [f"Document {n}.\n\nIt has é, 語 and 🌱." for n in range(60)]
END = "\n<|endoftext|>\n"


def documents(*sources: Path | str, drops: Drops | None = None, **options: str) -> list[Document]:
    found = find_sources(str(source) for source in sources)
    return list(read_documents(found, ReadOptions(**options), drops=drops))


def texts(*sources: Path | str, **options: str) -> list[str]:
    return [d.text for d in documents(*sources, **options)]


def write_text(path: Path) -> None:
    path.write_text(END.join(MANY), encoding="utf-8")


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"id": 1, "text": t}) + "\n" for t in MANY))


def write_json(path: Path) -> None:
    path.write_text(json.dumps([{"text": t} for t in MANY], ensure_ascii=False, indent=1))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"id": list(range(60)), "text": MANY}), path, row_group_size=7)


def write_table(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([["id", "text"], *enumerate(MANY)])


WRITERS: dict[str, Callable[[Path], None]] = {
    ".txt": write_text,
    ".md": write_text,
    ".jsonl": write_jsonl,
    ".json": write_json,
    ".csv": write_table,
    ".tsv": write_table,
    ".parquet": write_parquet,
}


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def compress(path: Path, suffix: str) -> Path:
    data = path.read_bytes()
    if suffix:
        path.unlink()
        path = path.with_name(path.name + suffix)
        half = len(data) // 2  # two frames, as concatenated files have
        path.write_bytes(PACKERS[suffix](data[:half]) + PACKERS[suffix](data[half:]))
    return path


@pytest.mark.parametrize("compression", ["", *COMPRESSIONS])
@pytest.mark.parametrize("suffix", WRITERS)
def test_every_kind_of_file_gives_the_same_documents(
    suffix: str, compression: str, tmp_path: Path
) -> None:
    path = tmp_path / f"data{suffix}"
    WRITERS[suffix](path)
    assert texts(compress(path, compression)) == MANY


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_documents_do_not_depend_on_how_the_bytes_are_read(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "CHUNK_BYTES", size)
    for suffix in (".txt", ".json"):
        WRITERS[suffix](tmp_path / f"data{suffix}")
        assert texts(tmp_path / f"data{suffix}") == MANY


def test_a_folder_a_glob_and_several_sources_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name, text in [("a.txt", "A"), ("b/c.md", "C"), ("z.txt", "Z"), (".hidden/h.txt", "H")]:
        (tmp_path / name).write_text(text)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert texts(tmp_path) == ["A", "C", "Z"]
    assert texts(tmp_path / "*.txt") == ["A", "Z"]
    assert texts(tmp_path / "z.txt", tmp_path / "**" / "c.md") == ["Z", "C"]


def test_sample_stories_are_a_source_of_any_size() -> None:
    assert len(texts("sample:stories:70")) == 70
    [source] = find_sources(["sample:stories"])
    assert len(list(read_documents([source], limit=200))) == 200


# --- the contract ---------------------------------------------------------------------------


def whole(text: str, separator: str | None = None, size: int = 10**6) -> list[str]:
    chunks = (text[i : i + size] for i in range(0, len(text), size))
    return [text for text, _ in whole_documents(text_pieces(chunks, separator))]


@pytest.mark.parametrize("size", [1, 3, 10**6])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\n<|endoftext|>\ntwo", ["one", "two"]),
        ("one\n<|endoftext|>\ntwo\n<|endoftext|>\n  \n", ["one", "two"]),
        ("one\r\n<|endoftext|>\r\ntwo", ["one", "two"]),
        ("\n\n one \n\n", ["one"]),
        ("say <|endoftext|> inside", ["say <|endoftext|> inside"]),
        ("x<|endoftext|>\ny", ["x<|endoftext|>\ny"]),
        ("one\n<|endoftext|>\n\n<|endoftext|>\ntwo", ["one", "", "two"]),
        ("<|endoftext|>\none", ["", "one"]),
        ("", [""]),
    ],
)
def test_lines_of_endoftext_separate_documents(text: str, expected: list[str], size: int) -> None:
    assert whole(text, size=size) == expected


@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_a_given_separator_is_found_anywhere_and_replaces_the_other(size: int) -> None:
    text = "one===two\n<|endoftext|>\nstill two===\n"
    assert whole(text, "===", size) == ["one", "two\n<|endoftext|>\nstill two"]


def test_a_source_with_few_documents_is_cut_at_blank_lines_into_its_documents(
    tmp_path: Path,
) -> None:
    paragraphs = [f"Paragraph {n}. " + "word " * 80 for n in range(100)]
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(paragraphs))
    blocks = texts(path)
    assert "\n\n".join(blocks).split() == "\n\n".join(paragraphs).split()
    assert all(block.startswith("Paragraph") for block in blocks)
    assert all(2048 < len(block) <= 4096 for block in blocks[:-1])


def test_fifty_documents_are_left_whole_and_forty_nine_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    long = "\n\n".join("word " * 100 for _ in range(20))
    path.write_text(END.join(f"{n} {long}" for n in range(50)))
    assert len(texts(path)) == 50
    path.write_text(END.join(f"{n} {long}" for n in range(49)) + END + "  " + END)
    assert len(texts(path)) == 49 * 3 + 1  # the empty one is yielded, for cleaning to count


def test_documents_are_left_whole_where_that_is_asked(tmp_path: Path) -> None:
    books = [f"{n} " + "\n\n".join("word " * 100 for _ in range(20)).strip() for n in range(3)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": book}) + "\n" for book in books))
    assert len(texts(path)) > 3
    [source] = find_sources([str(path)])
    assert [d.text for d in read_documents([source], ReadOptions(whole=True))] == books


def test_a_block_never_spans_two_documents_and_a_short_source_is_not_merged() -> None:
    pieces = [Piece("short", 1, last=True), Piece("words " * 2, 2, last=False), Piece("x", 3, True)]
    assert [t for t, _ in cut_into_blocks(pieces, size=8)] == ["short", "words", "words x"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a line of it\nand another one of it", "a line of it"),
        ("A sentence is here. Another is there", "A sentence is here."),
        ("only words with spaces between them", "only words with"),
        ("x" * 60, "x" * 20),
    ],
)
def test_a_long_paragraph_is_cut_at_a_line_a_sentence_a_space_or_anywhere(
    text: str, first: str
) -> None:
    blocks = [t for t, _ in cut_into_blocks([Piece(text, 1, last=True)], size=20)]
    assert blocks[0] == first
    assert "".join("".join(blocks).split()) == "".join(text.split())


def test_documents_know_where_they_were_found(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo\n<|endoftext|>\nthree\n")
    assert [d.place for d in documents(path)] == [f"{path} line 1", f"{path} line 5"]


# --- what is wrong with a source ------------------------------------------------------------


def told(*sources: Path | str, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        documents(*sources, **options)
    return str(caught.value)


def test_a_source_that_is_not_there_names_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "stories.txt").write_text("x")
    assert "Did you mean" in told(tmp_path / "storys.txt")
    assert "stories.txt" in told(tmp_path / "storys.txt")


def test_an_unknown_kind_of_file_is_told_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("x")
    assert ".parquet" in told(tmp_path / "a.docx")
    assert ".docx" in told(tmp_path)
    assert "sample:stories:COUNT" in told("sample:poems")


def test_a_missing_field_is_told_with_the_line_and_the_fields_that_are_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"content": "x", "id": 1}\n' * 20)
    message = told(path)
    assert f"{path} line 1" in message
    assert "`content`, `id`" in message
    assert "--text-field" in message
    assert texts(path, text_field="content") == ["x"] * 20


def test_a_missing_parquet_column_is_told_with_the_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"story": ["x"]}), tmp_path / "a.parquet")
    assert "`story`" in told(tmp_path / "a.parquet")


def test_a_few_bad_records_are_skipped_and_counted_with_the_first_line(tmp_path: Path) -> None:
    lines = [json.dumps({"text": t}) for t in MANY]
    lines[3:3] = ['{"text": "cut', '{"text": 7}', "[1]", "{}"]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    drops = Drops()
    assert [d.text for d in documents(path, drops=drops)] == MANY
    assert drops.counts == {"malformed JSON": 1, "no text field": 3}
    assert f"{path} line 4: malformed JSON" in drops.first["malformed JSON"]
    assert "holds a number" in drops.first["no text field"]


def test_malformed_lines_throughout_are_an_error_and_so_is_more_than_half(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("not json\n" * 11)
    assert f"{path} line 1: malformed JSON" in told(path)
    path.write_text('{"text": "x"}\n{}\n{}\n')
    assert "2 of the first 3 records" in told(path)


def test_a_malformed_list_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[\n{"text": "x"},\n{"text": nonsense}\n]')
    assert f"{path} line 3: malformed JSON" in told(path)
    path.write_text('[\n{"text": "x"},\n{"text": "cut')
    assert f"{path} line 3: malformed JSON" in told(path)


def test_lists_and_records_one_after_the_other_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a"}]\n[{"text": "b"},\n"c"]\n{"text": "d"} {"text": "e"}[]')
    assert texts(path) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("rest", [" garbage", "]", "\n]", "}", "\n[{"])
def test_what_follows_a_list_and_is_no_json_is_an_error(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a"}]' + rest)
    assert f"{path} line {1 + rest.count(chr(10))}: malformed JSON" in told(path)


@pytest.mark.parametrize("end", ["", ",", "\n", ", ", "[", "7"])
def test_a_list_cut_short_between_records_is_an_error(end: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" + ",\n".join('{"text": "a long enough story"}' for _ in range(20_000)))
    whole = path.read_text()
    path.write_text(whole + "]")
    assert len(texts(path)) == 20_000
    path.write_text(whole + end.replace("[", ",[1").replace("7", ",7"))
    assert "cut short" in told(path) or "malformed JSON" in told(path)
    path.write_text(whole)
    assert f"{path} ends inside a list: it is cut short" in told(path)


@pytest.mark.parametrize(
    ("value", "problem"),
    [("1" * 5000, "a number of too many digits"), ("[" * 100_000, "nested too deeply")],
)
def test_json_that_python_cannot_hold_is_malformed(
    value: str, problem: str, tmp_path: Path
) -> None:
    path, drops = tmp_path / "a.jsonl", Drops()
    path.write_text(f'{{"text": "x"}}\n{{"text": {value}}}\n{{"text": "y"}}\n')
    assert [d.text for d in documents(path, drops=drops)] == ["x", "y"]
    assert problem in drops.first["malformed JSON"]
    (tmp_path / "a.json").write_text(f'[{{"text": "x"}},\n{{"text": {value}}}]')
    assert f"line 2: malformed JSON: {problem}" in told(tmp_path / "a.json")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_compressed_file_cut_short_is_an_error(suffix: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    path = compress(tmp_path / "a.jsonl", suffix)
    path.write_bytes(path.read_bytes()[:-20])
    assert "damaged or cut short" in told(path)


def test_a_cut_parquet_file_is_an_error(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-100])
    assert "not a whole parquet file" in told(tmp_path / "a.parquet")


def test_a_parquet_file_damaged_anywhere_is_read_or_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path)
    whole, said = path.read_bytes(), 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            texts(path)
        except DataError as error:
            said += str(path) in str(error)
    assert said > 50


def test_text_that_parquet_holds_as_bytes_is_read(tmp_path: Path) -> None:
    column = pa.array([text.encode() for text in MANY] + [b"caf\xe9"])
    for kind in (column, column.view(pa.string()), column.cast(pa.large_binary())):
        pq.write_table(pa.table({"text": kind}), tmp_path / "a.parquet")
        assert texts(tmp_path / "a.parquet") == [*MANY, "caf\udce9"]


def test_utf16_is_an_error_that_says_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-16")
    assert "iconv -f UTF-16" in told(tmp_path / "a.txt")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-8-sig")
    (tmp_path / "a.json").write_text('[{"text": "text"}]', encoding="utf-8-sig")
    assert texts(tmp_path / "a.txt", tmp_path / "a.json") == ["text", "text"]


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert f"needs pyarrow: {how_to_install('data')}" in told(tmp_path / "a.parquet")
