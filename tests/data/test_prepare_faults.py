"""Kills, full disks and damaged files: nothing is lost, doubled, or taken for whole."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from killing import KILL_AT
from seedbed import files
from seedbed.data import prepare as prepare_module
from seedbed.data.encode_worker import read_message, write_message
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.data.token_shards import TokenShards
from seedbed.errors import DataError

Prepared = Callable[..., PreparedDataset]
Bytes = Callable[[Path], dict[str, bytes]]

CHILD = f"""{KILL_AT}
import sys
from seedbed.data import prepare

source, out, workers, overwrite, module, name, moment, count = sys.argv[1:]
prepare.BLOCK_BYTES, prepare.SAVE_BYTES = 4_000, 10_000
kill_at(module, name, moment, int(count))
prepare.prepare(prepare.PrepareConfig(
    sources=(source,), out=out, tokenizer="bpe", vocab_size=300,
    workers=int(workers), overwrite=bool(int(overwrite))))
"""

MOMENTS = [
    ("seedbed.data.survey", "content_hash", "before", 30),  # in the first pass
    ("seedbed.data.prepare", "measure_baseline", "after", 1),
    ("seedbed.data.prepare", "write_json", "before", 1),  # the survey is not written down
    ("seedbed.data.prepare", "write_json", "after", 1),
    ("seedbed.data.prepare", "content_hash", "before", 20),  # no state saved yet
    ("seedbed.data.token_shards", "write_json", "before", 1),  # tokens flushed, state not
    ("seedbed.data.token_shards", "write_json", "after", 2),
    ("seedbed.data.prepare", "content_hash", "before", 100),  # beyond a saved state
    ("seedbed.files", "write_text", "before", 6),  # in a save
    ("seedbed.data.workplace", "seal_folder", "before", 1),
    ("seedbed.files", "sha256_of", "after", 3),  # sealing
    ("seedbed.data.workplace", "seal_folder", "after", 1),
    ("pathlib.Path", "rename", "after", 1),  # published, not cleaned up
]


def run_and_be_killed(
    source: Path,
    out: Path,
    moment: tuple[str, str, str, int],
    *,
    workers: int = 1,
    overwrite: int = 0,
) -> None:
    command = [sys.executable, "-c", CHILD, source, out, str(workers), str(overwrite)]
    done = subprocess.run([*command, *map(str, moment)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.fixture
def undisturbed(prepared: Prepared, story_file: Path, bytes_of: Bytes) -> dict[str, bytes]:
    return bytes_of(prepared(story_file, out="undisturbed", tokenizer="bpe", vocab_size=300).folder)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[1]}-{m[2]}-{m[3]}")
def test_a_killed_run_run_again_gives_the_bytes_of_an_undisturbed_one(
    moment: tuple[str, str, str, int],
    prepared: Prepared,
    story_file: Path,
    bytes_of: Bytes,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    run_and_be_killed(story_file, tmp_path / "out", moment)
    published = moment[1] == "rename"
    assert (tmp_path / "out").exists() == published  # what looks whole is whole
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    assert dataset.was_finished == published
    assert bytes_of(dataset.folder) == undisturbed


def test_a_run_killed_time_after_time_ends_with_the_same_bytes(
    prepared: Prepared,
    story_file: Path,
    bytes_of: Bytes,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    kill_after_two_saves = ("seedbed.data.token_shards", "write_json", "after", 2)
    for workers in (1, 2, 3):
        run_and_be_killed(story_file, tmp_path / "out", kill_after_two_saves, workers=workers)
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    assert bytes_of(dataset.folder) == undisturbed


def test_a_continued_run_does_not_encode_again_what_was_saved(
    prepared: Prepared, story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_be_killed(
        story_file, tmp_path / "out", ("seedbed.data.token_shards", "write_json", "after", 3)
    )
    monkeypatch.setattr(prepare_module, "_survey", None)  # the first pass is not repeated either
    read: list[bytes] = []
    original = prepare_module.content_hash
    monkeypatch.setattr(
        prepare_module, "content_hash", lambda data: (read.append(data), original(data))[1]
    )
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    documents = dataset.train.num_documents + dataset.val.num_documents
    assert 0 < len(read) < documents - 20


def test_workers_end_with_the_process_that_started_them(story_file: Path, tmp_path: Path) -> None:
    moment = ("seedbed.data.token_shards", "write_json", "after", 2)
    run_and_be_killed(story_file, tmp_path / "out", moment, workers=2)

    def workers() -> list[psutil.Process]:
        tokenizer = str(tmp_path / "out.partial")
        lines = ((p, p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
        return [p for p, line in lines if any(tokenizer in word for word in line)]

    deadline = time.monotonic() + 10
    while workers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers()


def test_a_kill_between_the_old_and_the_new_dataset_leaves_both_whole(
    prepared: Prepared,
    story_file: Path,
    bytes_of: Bytes,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    prepared(story_file, dedup="none")
    moment = ("pathlib.Path", "rename", "after", 1)  # the old one is aside
    run_and_be_killed(story_file, tmp_path / "out", moment, overwrite=1)
    open_dataset(tmp_path / "out.partial" / "old")
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    assert bytes_of(dataset.folder) == undisturbed


def test_an_interrupted_run_continues(
    prepared: Prepared,
    story_file: Path,
    bytes_of: Bytes,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare_module, "BLOCK_BYTES", 4_000)
        patched.setattr(prepare_module.ShardWriter, "save_state", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared(story_file, tokenizer="bpe", vocab_size=300, workers=2)
    assert not [p for p in psutil.Process().children() if "encode_worker" in " ".join(p.cmdline())]
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    assert bytes_of(dataset.folder) == undisturbed


def test_changed_settings_or_sources_start_over(
    prepared: Prepared, story_file: Path, stories: list[str], tmp_path: Path
) -> None:
    run_and_be_killed(story_file, tmp_path / "out", MOMENTS[6])
    story_file.write_text("\n<|endoftext|>\n".join(stories[:90]))
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    assert dataset.train.num_documents + dataset.val.num_documents == 90


def test_a_source_that_changes_between_the_passes_is_an_error(
    prepared: Prepared, story_file: Path, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = prepare_module.measure_baseline

    def change(*args: list[bytes]) -> object:
        story_file.write_text("\n<|endoftext|>\n".join(stories[:100]))
        return original(*args)

    monkeypatch.setattr(prepare_module, "measure_baseline", change)
    with pytest.raises(DataError, match="changed while they were read"):
        prepared(story_file)


def test_two_processes_do_not_prepare_the_same_folder(
    prepared: Prepared, story_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*_: object) -> None:
        with pytest.raises(DataError, match="Another process is preparing"):
            prepared(story_file)
        raise InterruptedError

    monkeypatch.setattr(prepare_module, "_survey", second)
    with pytest.raises(InterruptedError):
        prepared(story_file)


# --- a full disk ----------------------------------------------------------------------------


def test_a_full_disk_is_told_and_a_later_run_continues(
    prepared: Prepared,
    story_file: Path,
    bytes_of: Bytes,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare_module, "BLOCK_BYTES", 4_000)
    monkeypatch.setattr(prepare_module, "SAVE_BYTES", 8_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(undisturbed["train.bin"]) // 2, hard))
    try:
        with pytest.raises(DataError, match=r"disk is full.*about .* MB more.*continues"):
            prepared(story_file, tokenizer="bpe", vocab_size=300)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.partial" / "written.json").exists()
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    assert bytes_of(dataset.folder) == undisturbed


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8])
def test_a_disk_full_at_any_save_leaves_nothing_that_looks_whole(
    nth: int, prepared: Prepared, story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= nth:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="disk is full"):
            prepared(story_file)
    assert not (tmp_path / "out").exists()
    assert prepared(story_file).train.num_documents == 108


# --- damage ---------------------------------------------------------------------------------

FILES = "train.bin train.idx val.bin val.idx tokenizer.json tokenizer_config.json"
FILES += " chat_template.jinja manifest.json"


@pytest.mark.parametrize("name", FILES.split())
def test_a_file_cut_short_or_with_a_flipped_bit_or_missing_is_detected(
    name: str, prepared: Prepared, story_file: Path
) -> None:
    folder = prepared(story_file).folder
    path = folder / name
    whole = path.read_bytes()
    places = {0, 1, len(whole) // 2, len(whole) - 2}
    flipped = [whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :] for i in places]
    cut = [whole[:i] for i in (0, 1, len(whole) // 2, len(whole) - 2)]
    for damaged in [*flipped, *cut, whole + b"\0"]:
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            open_dataset(folder)
    path.unlink()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        open_dataset(folder)
    path.write_bytes(whole)
    open_dataset(folder)


def test_without_verification_only_the_manifest_is_read(
    prepared: Prepared, story_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(story_file).folder
    monkeypatch.setattr(files, "sha256_of", None)
    assert open_dataset(folder, verify=False).train.num_documents == 108
    assert TokenShards.open(folder, "val").num_documents == 12


def test_a_message_cut_short_anywhere_is_the_end_of_the_stream() -> None:
    whole = io.BytesIO()
    write_message(whole, [b"some", b"", b"parts"])
    data = whole.getvalue()
    assert read_message(io.BytesIO(data)) == [b"some", b"", b"parts"]
    assert [read_message(io.BytesIO(data[:n])) for n in range(len(data))] == [None] * len(data)
