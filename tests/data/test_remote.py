"""Addresses: the same files as here, and what is told when they are not to be had."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from seedbed.data.documents import find_sources, read_documents
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import DataError

Prepared = Callable[..., PreparedDataset]
MANY = [f"Document {n} with é and 🌱." for n in range(60)]


def texts(*sources: str) -> list[str]:
    return [d.text for d in read_documents(find_sources(sources))]


def told(*sources: str) -> str:
    with pytest.raises(DataError) as caught:
        texts(*sources)
    return str(caught.value)


@pytest.fixture
def folder() -> str:
    """Return a folder in memory with a file of each of some kinds."""
    folder = f"memory://{uuid4().hex}"
    files: dict[str, bytes] = {
        "a.txt": "\n<|endoftext|>\n".join(MANY).encode(),
        "b/c.jsonl.gz": gzip.compress(b"".join(json.dumps(t).encode() + b"\n" for t in MANY)),
        "d.png": b"picture",
        ".hidden/e.txt": b"hidden",
    }
    for name, data in files.items():
        with fsspec.open(f"{folder}/{name}", "wb") as file:
            file.write(data)
    return folder


def test_a_file_a_folder_and_a_glob_at_an_address_are_read(folder: str) -> None:
    assert texts(f"{folder}/a.txt") == MANY
    assert texts(f"{folder}/b/c.jsonl.gz") == MANY
    assert texts(folder) == MANY * 2
    assert texts(f"{folder}/*.txt") == MANY
    assert texts(f"{folder}/**/*.jsonl.gz") == MANY


def test_parquet_at_an_address_is_read(folder: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with fsspec.open(f"{folder}/p.parquet", "wb") as file:
        pq.write_table(pa.table({"text": MANY}), file)
    assert texts(f"{folder}/p.parquet") == MANY


def test_a_local_path_may_be_an_address(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(MANY), encoding="utf-8")
    assert texts(f"file://{tmp_path}/a.txt") == MANY


def test_what_is_not_at_an_address_is_told(folder: str) -> None:
    assert "does not exist" in told(f"{folder}/none.txt")
    assert "does not exist" in told(f"{folder}/nowhere")
    assert "not of a known kind" in told(f"{folder}/d.png")
    assert "no file of a known kind" in told(f"{folder}/*.png")
    assert "no file of a known kind" in told(f"{folder}/*.none")
    assert "Protocol not known: nonsense" in told("nonsense://a.txt")
    assert "could not be reached" in told("ftp://127.0.0.1:1/a.txt")


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is there")
def test_a_missing_package_is_named() -> None:
    assert "s3fs" in told("s3://bucket/a.txt")


@pytest.mark.skipif(find_spec("aiohttp") is not None, reason="aiohttp is there")
def test_the_package_that_web_addresses_need_is_named() -> None:
    message = told("https://example.org/a.txt")
    assert "aiohttp" in message
    assert "pip install" in message


def test_prepare_reads_an_address_twice_and_notices_that_it_changed(
    folder: str, prepared: Prepared
) -> None:
    stories = [f"{n} {'once upon a time ' * 5}" for n in range(100)]
    with fsspec.open(f"{folder}/s.jsonl", "wb") as file:
        file.write(b"".join(json.dumps(t).encode() + b"\n" for t in stories))
    dataset = prepared(f"{folder}/s.jsonl")
    assert dataset.manifest["documents_read"] == 100
    assert prepared(f"{folder}/s.jsonl").was_finished
    with fsspec.open(f"{folder}/s.jsonl", "wb") as file:
        file.write(b"".join(json.dumps(t.upper()).encode() + b"\n" for t in stories))
    with pytest.raises(DataError, match=r"s\.jsonl changed"):
        prepared(f"{folder}/s.jsonl")


class BrokenFile:
    """Wraps a file whose connection breaks, or ends, after some bytes."""

    def __init__(self, file: Any, after: int, error: Exception | None) -> None:
        self._file, self._left, self._error = file, after, error

    def read(self, size: int) -> bytes:
        if self._left <= 0 and self._error:
            raise self._error
        data = self._file.read(min(size, 1000, max(self._left, 0)))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


@pytest.mark.parametrize("error", [ConnectionResetError("reset by peer"), None])
def test_a_connection_that_breaks_is_an_error_and_the_same_command_continues(
    folder: str, prepared: Prepared, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = [f"{n} {'once upon a time ' * 5}" for n in range(100)]
    address = f"{folder}/s.txt"
    with fsspec.open(address, "wb") as file:
        file.write("\n<|endoftext|>\n".join(stories).encode())
    files = fsspec.filesystem("memory")
    open_file = files.open
    opened = 0

    def breaking(*args: object, **options: object) -> object:
        nonlocal opened
        opened += 1
        file = open_file(*args, **options)
        return BrokenFile(file, 5000, error) if opened >= 4 else file

    with monkeypatch.context() as patched:
        patched.setattr(files, "open", breaking)
        with pytest.raises(DataError, match=r"beyond byte 5,000 .*Run the same command again"):
            prepared(address)
    assert opened == 4  # in the second pass
    assert prepared(address).manifest["documents_read"] == 100


# --- http -----------------------------------------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; breaks off in the middle of files whose names say so.

    What is below /moved/ it leads on to an address that is signed anew each time.
    """

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if "broken" not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"once upon a time " * 100)
        self.wfile.flush()
        self.connection.close()
        return None

    def send_head(self) -> Any:
        if not self.path.startswith("/moved/"):
            return super().send_head()
        self.send_response(302)
        self.send_header("Location", f"{self.path.removeprefix('/moved')}?signed={uuid4().hex}")
        self.end_headers()
        return None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a server of `tmp_path` on this machine."""
    handler = partial(Handler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="web addresses need aiohttp")
def test_web_addresses_are_read_and_their_failures_told(server: str, tmp_path: Path) -> None:
    data = b"".join(json.dumps(t).encode() + b"\n" for t in MANY)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "broken.txt").write_bytes(b"x" * 100_000)
    assert texts(f"{server}/a.jsonl.gz") == MANY
    assert texts(f"{server}/a.jsonl.gz?download=true") == MANY
    assert texts(f"{server}/*.gz") == MANY
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    (tmp_path / "folder" / "a.jsonl").write_bytes(data)
    (tmp_path / "folder" / "deeper" / "b.jsonl").write_bytes(data)
    assert texts(f"{server}/folder/") == MANY  # a page of links, not followed
    assert "does not exist" in told(f"{server}/none.txt")
    assert "Run the same command again" in told(f"{server}/broken.txt")
    assert "could not be reached" in told("http://127.0.0.1:9/a.txt")


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="web addresses need aiohttp")
def test_an_address_that_leads_on_to_another_each_time_has_not_changed(
    server: str, tmp_path: Path, prepared: Prepared
) -> None:
    stories = [f"{n} {'once upon a time ' * 5}" for n in range(100)]
    (tmp_path / "s.txt").write_text("\n<|endoftext|>\n".join(stories))
    dataset = prepared(f"{server}/moved/s.txt")
    assert dataset.manifest["documents_read"] == 100
    assert prepared(f"{server}/moved/s.txt").was_finished
    (tmp_path / "s.txt").write_text("\n<|endoftext|>\n".join(stories[:99]))
    with pytest.raises(DataError, match=r"s\.txt changed"):
        prepared(f"{server}/moved/s.txt")
