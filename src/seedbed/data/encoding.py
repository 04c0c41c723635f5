"""Blocks of documents to token ids, over several processes, answered in the order asked.

Processes are started anew and spoken to over pipes, rather than forked or spawned by
multiprocessing: forking a process with threads is unsafe, spawning runs the caller's script again,
and a pipe ends with its parent however that dies.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

import seedbed
from seedbed.data.encode_worker import encode_texts, read_message, write_message
from seedbed.errors import DataError
from seedbed.tokenizers.load import load_tokenizer

WORKER = "seedbed.data.encode_worker"


@dataclass
class Block:
    """Documents to encode together, and what the writer has to know about them."""

    texts: list[bytes]  # UTF-8
    for_validation: list[bool]
    documents_read: int  # up to here, dropped ones counted


@dataclass(frozen=True)
class Encoded:
    """A block with its token ids: each document's, ended by eos, one after the other."""

    block: Block
    ids: NDArray[np.unsignedinteger]
    lengths: NDArray[np.int64]


def encode_blocks(
    blocks: Iterable[Block], tokenizer_folder: Path, *, workers: int
) -> Generator[Encoded]:
    """Yield every block with its ids, in order, for any number of worker processes.

    With one worker the work is done here, in this process.
    """
    if workers <= 1:
        tokenizer = load_tokenizer(tokenizer_folder)
        for block in blocks:
            yield Encoded(block, *encode_texts(tokenizer, block.texts))
        return
    with _processes(tokenizer_folder, workers) as processes:
        encode = _encoder(processes)
        with ThreadPoolExecutor(workers) as threads:
            try:
                yield from _in_order(threads, encode, blocks, ahead=workers + 1)
            except BaseException:
                for process in processes:
                    process.kill()  # so that the threads that wait for answers end too
                raise


def _in_order(
    threads: ThreadPoolExecutor,
    encode: Callable[[Block], Encoded],
    blocks: Iterable[Block],
    *,
    ahead: int,
) -> Iterator[Encoded]:
    asked: deque[Future[Encoded]] = deque()
    for block in blocks:
        asked.append(threads.submit(encode, block))
        if len(asked) >= ahead:
            yield asked.popleft().result()
    while asked:
        yield asked.popleft().result()


def _encoder(processes: list[subprocess.Popen[bytes]]) -> Callable[[Block], Encoded]:
    """Return a function that gives a block to an idle process and waits for its answer."""
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def encode(block: Block) -> Encoded:
        process = idle.get()
        try:
            dtype, ids, lengths = _ask(process, block)
        finally:
            idle.put(process)  # a dead one too: the next to take it is told so, and does not wait
        return Encoded(block, np.frombuffer(ids, dtype.decode()), np.frombuffer(lengths, "<i8"))

    return encode


def _ask(process: subprocess.Popen[bytes], block: Block) -> list[bytes]:
    questions, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
    sizes = np.array([len(text) for text in block.texts], "<i8")
    try:
        write_message(questions, [sizes.tobytes(), b"".join(block.texts)])
        answer = read_message(answers)
    except (BrokenPipeError, ValueError):
        answer = None
    if answer is None:
        raise DataError(
            f"An encoding process ended (exit status {process.wait()}; -9 often means that memory "
            "ran out). Run the same command again to continue, perhaps with --workers 1."
        )
    return answer


@contextmanager
def _processes(tokenizer_folder: Path, count: int) -> Generator[list[subprocess.Popen[bytes]]]:
    package_root = str(Path(seedbed.__file__).parents[1])
    search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", WORKER, str(tokenizer_folder)]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
        )
        for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()
