"""Files at addresses such as https://..., s3://... and gs://..., through fsspec.

What an address needs beyond fsspec (aiohttp for http, s3fs for s3, gcsfs for gs) is told when it is
missing. Files are read as they come, and never kept.
"""

# pyright: strict

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from seedbed.data.drops import Drops
from seedbed.data.formats import kind_of_file, known_kinds, read_stream
from seedbed.data.pieces import Part, Piece, ReadOptions
from seedbed.errors import DataError

_BUFFER_BYTES = 1 << 20
# Facts of a file that change without it: where a server leads on to (the Hub and GitHub sign that
# address anew each time), and when the file was last read.
_PASSING_FACTS = {"url", "time", "accessTime"}


def is_remote(name: str) -> bool:
    """Return whether a SOURCE is an address.

    >>> is_remote("https://example.org/a.txt"), is_remote("sample:stories")
    (True, False)
    """
    return "://" in name


def remote_files(address: str) -> tuple[Part, ...]:
    """Return the file at an address, or all files of a known kind in a folder or of a glob.

    Raises DataError when there is none, or the address cannot be reached.
    """
    files, path = _file_system(address)
    with _explained(address):
        if kind_of_file(_path_in(path)) and not _is_glob(path):
            return (_part(files, path),)
        if _is_glob(path):
            found: Sequence[str] = files.glob(path)
        elif files.isdir(path):
            is_web = path.startswith("http")  # whose folders are pages of links
            found = files.find(path, maxdepth=1 if is_web else None)
        else:
            raise FileNotFoundError(path)
    known = sorted(p for p in found if kind_of_file(_path_in(p)) and not _is_hidden(p, path))
    if not known:
        raise DataError(f"SOURCE `{address}` has no file of a known kind ({known_kinds()}).")
    with _explained(address):
        return tuple(_part(files, path) for path in known)


def _file_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the address as that system calls it."""
    core: Any = importlib.import_module("fsspec.core")
    with _explained(address):  # some connect at once
        return core.url_to_fs(address)


def _path_in(path: str) -> PurePosixPath:
    """Return a path whose suffixes are those of the file: without what a web address asks for."""
    return PurePosixPath(path.partition("?")[0] if path.startswith("http") else path)


def _is_glob(path: str) -> bool:
    return any(mark in path for mark in "*[")


def _is_hidden(path: str, root: str) -> bool:
    return "/." in path.removeprefix(root)


def _part(files: Any, path: str) -> Part:
    facts: dict[str, Any] = files.info(path)
    lasting = sorted((k, v) for k, v in facts.items() if k not in _PASSING_FACTS)
    version = hashlib.sha256(repr(lasting).encode()).hexdigest()[:16]
    name, size = str(files.unstrip_protocol(path)), int(facts.get("size") or 0)
    return Part(name, size, 0, partial(_read, files, path, name, size), version)


def _read(
    files: Any, path: str, name: str, size: int, options: ReadOptions, drops: Drops
) -> Iterator[Piece]:
    with _explained(name):
        file = files.open(path, "rb", block_size=_BUFFER_BYTES, cache_type="readahead")
    with closing(file):
        stream = cast(BinaryIO, io.BufferedReader(_Watched(file, name, size), _BUFFER_BYTES))
        yield from read_stream(stream, _path_in(path), name, options, drops)


class _Watched(io.RawIOBase):
    """A remote file whose connection, when it breaks, is a DataError."""

    def __init__(self, file: Any, name: str, size: int) -> None:
        self._file, self._name, self._size = file, name, size
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:  # each kind of address has errors of its own
            raise self._broken(f"{type(error).__name__}: {error}") from error
        self._read += len(data)
        if not data and self._read < self._size:
            raise self._broken("the server sent no more")
        buffer[: len(data)] = data
        return len(data)

    def _broken(self, problem: str) -> DataError:
        return DataError(
            f"{self._name} could not be read beyond byte {self._read:,} ({problem}). Run the same "
            "command again: it goes on from the last text that it had encoded."
        )


@contextmanager
def _explained(address: str) -> Generator[None]:
    """Turn what a file system raises into a DataError that names the address."""
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        name = "pip install aiohttp" if address.startswith("http") else "install it with pip"
        raise DataError(f"SOURCE `{address}` needs another package: {error} ({name}).") from None
    except ValueError as error:
        raise DataError(f"SOURCE `{address}` cannot be an address: {error}.") from error
    except FileNotFoundError as error:
        cause = error.__cause__  # of a web address: what else went wrong is raised as this too
        is_network = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
        if cause and (is_network or getattr(cause, "status", 404) != 404):
            raise _unreachable(address, cause) from error
        raise DataError(
            f"SOURCE `{address}` does not exist, or is not of a known kind: {known_kinds()}."
        ) from None
    except PermissionError as error:
        raise DataError(
            f"SOURCE `{address}` is not open to you: {error}. Give the credentials that its "
            "service asks for."
        ) from None
    except Exception as error:  # each kind of address has errors of its own
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: BaseException) -> DataError:
    return DataError(
        f"SOURCE `{address}` could not be reached ({type(error).__name__}: {error}). Check the "
        "address and the network, and run the same command again."
    )
