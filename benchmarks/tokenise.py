"""How fast a BPE of 4,096 encodes real text, and in how much memory: ours, tiktoken, HF tokenizers.

Each encodes in a process of its own, from texts in memory, through what its users call: ours
through the function that `prepare` uses. All have the same merges and must give the same ids.

The first pass meets every document of SEEDBED_DATA for the first time; getting ready is part of it,
so reading the tokenizer and starting processes too, but not what Python imports in the process that
asks. The second pass has the same documents in another order: so it goes on in much text, though
the repetition flatters a table of words that were seen.

    python benchmarks/tokenise.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import harness
import numpy as np
from harness import Measured, Report, median_of, ratio, spread_of, table
from meters import MemoryWatch, memory_of

VOCABULARY = 4096
BATCH_CHARACTERS = 1 << 20  # of the peers; ours are as large as in `prepare`
MEMORY_SECONDS = 4  # so that the peak is seen
GPT2_SPLIT = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
BASE = "tiktoken, 2 threads"

Batch = list[str]


# --- in the child --------------------------------------------------------------------------------


def child(contender: str, folder: str, measure: str, quick: bool) -> Measured:
    """Return seconds, the memory that encoding adds, or a hash of the ids."""
    import tiktoken  # noqa: F401  imports are not part of it
    import tokenizers  # noqa: F401

    from seedbed.data.prepare import BLOCK_BYTES

    with (Path(folder) / "documents.jsonl").open(encoding="utf-8") as file:
        documents: list[str] = [json.loads(line) for line in file]
    half = len(documents) // 2
    size = BLOCK_BYTES if contender.startswith("Seedbed") else BATCH_CHARACTERS
    first, second = batches_of(documents[:half], size), batches_of(documents[half:], size)
    encode = partial(CONTENDERS[contender], Path(folder))
    if measure == "ids":
        return hash_of_ids(encode(first + second), end=len(json_of(Path(folder) / "tokens.json")))
    if measure == "memory":
        return memory(lambda: encode(first + second), 0.5 if quick else MEMORY_SECONDS)
    return seconds(encode(first + second), len(first))


def batches_of(documents: list[str], size: int) -> list[Batch]:
    batches: list[Batch] = [[]]
    held = 0
    for document in documents:
        batches[-1].append(document)
        held += len(document)
        if held >= size:
            batches.append([])
            held = 0
    return [batch for batch in batches if batch]


def seconds(encoded: Iterator[Any], in_first: int) -> Measured:
    """Return the seconds of the first pass and of the second, and of processors in both."""
    before, start = processor_seconds(), time.perf_counter()
    taken = [time.perf_counter() - start for _ in encoded]
    first = taken[in_first - 1]
    used = processor_seconds() - before
    return {"first": first, "second": taken[-1] - first, "processor": used}


def processor_seconds() -> float:
    usages = [getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def memory(encode: Callable[[], Iterator[Any]], long: float) -> Measured:
    """Return how much memory both passes add at most, that of all processes added up, in bytes."""
    before = memory_of(os.getpid())
    watch = MemoryWatch(os.getpid(), every=0.05)
    end = time.perf_counter() + long
    while time.perf_counter() < end:
        for _ in encode():
            pass
    return {"extra": watch.peak - before}


def hash_of_ids(encoded: Iterator[Any], end: int) -> Measured:
    """Return a hash of all ids, the end of each document included."""
    digest = hashlib.sha256()
    for batch in encoded:
        ours = isinstance(batch, np.ndarray)
        flat = batch if ours else np.concatenate([np.array([*ids, end]) for ids in batch])
        digest.update(flat.astype("<u2").tobytes())
    return {"hash": digest.hexdigest()}


def seedbed_in(processes: int, folder: Path, batches: list[Batch]) -> Iterator[np.ndarray]:
    from seedbed.data.encoding import Block, encode_blocks

    blocks = (Block([t.encode() for t in batch], [False] * len(batch), 0) for batch in batches)
    for encoded in encode_blocks(blocks, folder, workers=processes):
        yield encoded.ids


def tiktoken_in(threads: int, folder: Path, batches: list[Batch]) -> Iterator[list[list[int]]]:
    import tiktoken

    ranks = {bytes.fromhex(token): i for i, token in enumerate(json_of(folder / "tokens.json"))}
    encoding = tiktoken.Encoding(
        "same", pat_str=GPT2_SPLIT, mergeable_ranks=ranks, special_tokens={}
    )
    for batch in batches:
        if threads == 1:
            yield list(map(encoding.encode_ordinary, batch))
        else:
            yield encoding.encode_ordinary_batch(batch, num_threads=threads)


def tokenizers_batch(folder: Path, batches: list[Batch]) -> Iterator[list[list[int]]]:
    from tokenizers import Tokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stock.encode_special_tokens = True
    for batch in batches:
        yield [each.ids for each in stock.encode_batch_fast(batch, add_special_tokens=False)]


def json_of(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


CONTENDERS: dict[str, Callable[..., Iterator[Any]]] = {
    "Seedbed, 2 processes": partial(seedbed_in, 2),
    "Seedbed, 1 process": partial(seedbed_in, 1),
    BASE: partial(tiktoken_in, 2),
    "tiktoken, 1 thread": partial(tiktoken_in, 1),
    "HF tokenizers, encode_batch_fast": tokenizers_batch,
}


# --- in the parent -------------------------------------------------------------------------------


def write_texts(documents: list[str], folder: Path) -> None:
    """Write the documents, twice, and the tokenizer in each form that is asked for."""
    from seedbed.tokenizers.bpe import train_bpe

    again = random.Random(0).sample(documents, len(documents))
    lines = (json.dumps(document) + "\n" for document in [*documents, *again])
    (folder / "documents.jsonl").write_text("".join(lines), encoding="utf-8")
    tokenizer = train_bpe(documents[::2], VOCABULARY)
    tokenizer.save(folder)
    tokens = [tokenizer.token_bytes(i).hex() for i in range(tokenizer.special.eos)]
    (folder / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")


def measure(folder: Path, what: str, rounds: int, quick: bool) -> dict[str, list[Measured]]:
    common = {"folder": folder, "measure": what, "quick": quick}
    contenders = {
        name: partial(harness.in_fresh_process, __file__, {"contender": name} | common)
        for name in CONTENDERS
    }
    return harness.take_turns(contenders, rounds)


def rows_of(
    timed: dict[str, list[Measured]], extra: dict[str, list[Measured]], megabytes: float
) -> Iterator[list[str]]:
    for name, turns in timed.items():
        row = [name]
        for which in ("first", "second"):
            taken, base = median_of(turns, which), median_of(timed[BASE], which)
            row += [f"{megabytes / taken:.1f}", ratio(base, taken)]
        row.append(f"{2 * megabytes / median_of(turns, 'processor'):.1f}")
        row.append(spread_of(turns, "second"))
        yield [*row, f"{max(each['extra'] for each in extra[name]) / 1e6:.0f}"]


def main() -> None:
    asked: argparse.Namespace = harness.arguments(__doc__).parse_args()
    report = Report("tokenise", asked)
    stories = harness.made_up_stories(2000).split("\n\n")
    documents = stories if asked.quick else harness.unique_documents()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(documents, folder)
        ids = measure(folder, "ids", 1, asked.quick)
        assert len({each["hash"] for [each] in ids.values()}) == 1, f"the ids differ: {ids}"
        extra = measure(folder, "memory", min(asked.rounds, 2), asked.quick)
        timed = measure(folder, "seconds", asked.rounds, asked.quick)
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    header = ["", "first pass, MB/s", f"to {BASE}", "second pass, MB/s", f"to {BASE}"]
    header += ["MB per second of a processor", "second pass, s", "extra memory, MB"]
    report.write(
        f"Tokenising with a BPE of {VOCABULARY:,}",
        table(header, rows_of(timed, extra, megabytes)),
        f"{len(documents):,} documents, {megabytes:.1f} MB of UTF-8, each once in either pass. The "
        f"ids of all were compared and are equal. Median of {asked.rounds} rounds, taking turns. "
        "Extra memory: the most that encoding added, all processes together, in other rounds.",
    )


if __name__ == "__main__":
    harness.run(main, child)
