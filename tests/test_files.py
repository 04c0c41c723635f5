"""Files are whole or not there; damage is seen."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from seedbed.errors import UserError
from seedbed.files import (
    append_json_line,
    check_seal,
    read_json_lines,
    replace_folder,
    seal_folder,
    write_json,
    write_text,
)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "sealed"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)))
    write_json(folder / "inner" / "b.json", {"text": "é"})
    seal_folder(folder, step=3, loss=1e-08, name="é")
    return folder


def test_a_sealed_folder_is_whole_and_says_its_facts(sealed: Path) -> None:
    manifest = check_seal(sealed)
    assert (manifest["step"], manifest["loss"], manifest["name"]) == (3, 1e-08, "é")
    assert set(manifest["files"]) == {"a.bin", "inner/b.json"}


@pytest.mark.parametrize("name", ["a.bin", "inner/b.json", "manifest.json"])
def test_every_flipped_bit_and_every_cut_of_a_sealed_folder_is_seen(
    sealed: Path, name: str
) -> None:
    path = sealed / name
    whole = path.read_bytes()
    for place, byte in enumerate(whole):
        bit = 1 << (place % 8)
        path.write_bytes(whole[:place] + bytes([byte ^ bit]) + whole[place + 1 :])
        with pytest.raises(UserError, match=path.name):
            check_seal(sealed)
        path.write_bytes(whole[:place])
        with pytest.raises(UserError, match=path.name):
            check_seal(sealed)
    path.write_bytes(whole + b"\n")
    with pytest.raises(UserError, match=path.name):
        check_seal(sealed)
    path.unlink()
    with pytest.raises(UserError, match=path.name):
        check_seal(sealed)
    path.write_bytes(whole)
    check_seal(sealed)


def test_a_changed_case_in_a_number_of_the_manifest_is_seen(sealed: Path) -> None:
    path = sealed / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("1e-08", "1E-08"), encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        check_seal(sealed)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with replace_folder(tmp_path / "folder") as aside:
            assert not list(aside.iterdir())
            (aside / content).write_text(content)
            assert not (tmp_path / "folder" / content).exists()
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_error_keeps_the_old_folder_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with replace_folder(tmp_path / "folder") as aside:
        (aside / "old").write_text("old")
    with suppress(KeyboardInterrupt), replace_folder(tmp_path / "folder") as aside:
        (aside / "new").write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_a_kill_left_half_written_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "folder.partial").mkdir()
    (tmp_path / "folder.partial" / "leftover").write_text("half")
    with replace_folder(tmp_path / "folder") as aside:
        (aside / "new").write_text("whole")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["new"]


def test_text_is_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    for text in ("old\n", "nëw\r\n"):
        write_text(tmp_path / "file", text)
    assert (tmp_path / "file").read_bytes() == "nëw\r\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_json_lines_come_back_without_a_last_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert read_json_lines(path) == []
    records = [{"step": 1, "text": "héllo\nthere"}, {"step": 2, "text": None}]
    for record in records:
        append_json_line(path, record)
    whole = path.read_bytes()
    assert read_json_lines(path) == records
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert read_json_lines(path) == records[: whole[:cut].count(b"\n")]
