"""How fast a BPE of 4,096 encodes real text: ours in two processes, tiktoken, Hugging Face.

    .venv/bin/python benchmarks/tokenise.py

All three have the same merges and must give the same ids. The text is every document of
SEEDBED_DATA (default ../shared/data) that is there once, then repeated to `MEGABYTES`: repetition
makes a table of seen words look better, so the rate of one cold pass over the unique text, in a
process that has seen none of it, stands beside it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tiktoken
import tokenizers
from harness import RESULTS, TEXT_FOLDERS, load_average, machine, table, unique_documents
from tokenizers import Tokenizer as StockTokenizer

from seedbed.tokenizers.bpe import BpeTokenizer, train_bpe

RESULT = RESULTS / "tokenise-cpu.md"
PROCESSES = 2
MEGABYTES = 30
ROUNDS = 5
BATCH_CHARACTERS = 1 << 20
GPT2_SPLIT = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

ours: BpeTokenizer  # of a worker process


def batches_of(documents: list[str]) -> list[list[str]]:
    batches: list[list[str]] = [[]]
    size = 0
    for document in documents:
        batches[-1].append(document)
        size += len(document)
        if size >= BATCH_CHARACTERS:
            batches.append([])
            size = 0
    return batches


def start_worker(merges: list[tuple[str, str]]) -> None:
    global ours
    ours = BpeTokenizer(merges)


def encode_batch(batch: list[str]) -> np.ndarray:
    return ours.encode_documents(batch)[0].astype(np.uint16)


def merges_of(tokenizer: BpeTokenizer) -> list[tuple[str, str]]:
    merges = tokenizer.to_json()["model"]["merges"]
    return [(left, right) for left, right in (merge.split(" ") for merge in merges)]


def tiktoken_of(tokenizer: BpeTokenizer) -> tiktoken.Encoding:
    eos = tokenizer.special.eos
    ranks = {tokenizer.token_bytes(i): i for i in range(eos)}
    return tiktoken.Encoding(
        "same", pat_str=GPT2_SPLIT, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": eos}
    )


def seconds_of(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def cold_pass(merges: list[tuple[str, str]], batches: list[list[str]]) -> list[float]:
    """Return the seconds that a fresh pool of one process needs for one pass, a few times."""
    times: list[float] = []
    for _ in range(3):
        with multiprocessing.get_context("fork").Pool(1, start_worker, (merges,)) as pool:
            pool.map(len, [[]])  # started
            times.append(seconds_of(lambda pool=pool: pool.map(encode_batch, batches))[0])
    return times


def measure(tokenizer: BpeTokenizer, documents: list[str], unique: list[str]) -> dict[str, float]:
    """Return megabytes per second by name; the contenders take turns."""
    merges = merges_of(tokenizer)
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    unique_megabytes = sum(len(document.encode()) for document in unique) / 1e6
    batches = batches_of(documents)
    tik = tiktoken_of(tokenizer)
    stock = StockTokenizer.from_str(json.dumps(tokenizer.to_json()))
    stock.encode_special_tokens = True
    start_worker(merges)
    cold = cold_pass(merges, batches_of(unique))
    pool = multiprocessing.get_context("fork").Pool(PROCESSES, start_worker, (merges,))
    contenders: dict[str, Callable[[], Any]] = {
        f"Seedbed, {PROCESSES} processes": lambda: pool.map(encode_batch, batches, chunksize=1),
        "Seedbed, 1 process": lambda: [encode_batch(batch) for batch in batches],
        "tiktoken, 2 threads": lambda: [
            tik.encode_ordinary_batch(batch, num_threads=2) for batch in batches
        ],
        "tiktoken, 1 thread": lambda: [list(map(tik.encode_ordinary, batch)) for batch in batches],
        "Hugging Face tokenizers, encode_batch": lambda: [
            [encoding.ids for encoding in stock.encode_batch(batch, add_special_tokens=False)]
            for batch in batches
        ],
    }
    check_equal_ids(contenders, tokenizer.special.eos)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, function in contenders.items():
            times[name].append(seconds_of(function)[0])
    pool.close()
    rates = {name: megabytes / statistics.median(taken) for name, taken in times.items()}
    return rates | {
        "Seedbed, 1 process, one cold pass over the unique text": unique_megabytes
        / statistics.median(cold)
    }


def check_equal_ids(contenders: dict[str, Callable[[], Any]], eos: int) -> None:
    """Stop unless all give the same ids, where ours have `eos` after each document."""
    flat: list[np.ndarray] = []
    for name, function in contenders.items():
        result = function()
        if not name.startswith("Seedbed"):
            result = [np.array([*ids, eos], np.uint16) for batch in result for ids in batch]
        flat.append(np.concatenate(result))
    assert all(np.array_equal(flat[0], other) for other in flat[1:]), "the ids differ"


def report(rates: dict[str, float], documents: list[str], unique: list[str]) -> str:
    total, once = (sum(len(d.encode()) for d in each) / 1e6 for each in (documents, unique))
    rows = table(("", "MB/s of UTF-8"), ((name, f"{rate:.1f}") for name, rate in rates.items()))
    return f"""# Tokenising with a BPE of 4,096

{rows}

The ids of all contenders were compared and are equal. Median of {ROUNDS} rounds, taking turns.
Text: {total:.1f} MB in {len(documents):,} documents, {once:.1f} MB ({once / total:.0%}) unique,
repeated in random order;
{", ".join(TEXT_FOLDERS)} of the shared data.
The text goes to our processes and the ids (uint16) come back within the time. Only the cold pass
starts with an empty table of words.

Machine: {machine()}, load average {load_average()} at the end.
Python {platform.python_version()}, numpy {np.__version__},
tiktoken {tiktoken.__version__}, tokenizers {tokenizers.__version__}.
Command: `python benchmarks/tokenise.py`.
"""


def main() -> None:
    unique = unique_documents()
    source = random.Random(0)
    documents: list[str] = []
    while sum(map(len, documents)) < MEGABYTES * 1e6:
        documents += source.sample(unique, len(unique))
    tokenizer = train_bpe(unique[::2], 4096)
    text = report(measure(tokenizer, documents, unique), documents, unique)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    main()
