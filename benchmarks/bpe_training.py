"""How long a BPE of 4,096 takes to train on 33 MB: ours, HF tokenizers, sentencepiece, rustbpe.

Each trains in a process of its own, on the same documents, which are in memory when the time
starts. The splits differ a little: sentencepiece has its own, the others have GPT-2's.

    python benchmarks/bpe_training.py [--litgpt PYTHON]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import harness
from harness import Measured, Report, median_of, ratio, table

VOCABULARY = 4096
MEGABYTES = 33
GPT2_SPLIT = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
MODULES = {
    "Seedbed": "seedbed",
    "HF tokenizers": "tokenizers",
    "sentencepiece": "sentencepiece",
    "rustbpe": "rustbpe",
}


# --- in the child --------------------------------------------------------------------------------


def child(peer: str, documents: str, vocabulary: int) -> Measured:
    """Return the seconds that training takes."""
    trainers: dict[str, Callable[[list[str], int], object]] = {
        "Seedbed": train_seedbed,
        "HF tokenizers": train_tokenizers,
        "sentencepiece": train_sentencepiece,
        "rustbpe": train_rustbpe,
    }
    texts: list[str] = json.loads(Path(documents).read_text(encoding="utf-8"))
    train = trainers[peer]
    train(["a first text, a first text"], 400)  # imports are not part of it
    start = time.perf_counter()
    train(texts, vocabulary)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": getrusage(RUSAGE_SELF).ru_maxrss * 1024}


def train_seedbed(texts: list[str], vocabulary: int) -> object:
    from seedbed.tokenizers.bpe import train_bpe

    return train_bpe(texts, vocabulary)


def train_tokenizers(texts: list[str], vocabulary: int) -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_sentencepiece(texts: list[str], vocabulary: int) -> object:
    import os

    import sentencepiece

    affinity = getattr(os, "sched_getaffinity", None)  # the cores that the others use too

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for text in texts for line in text.splitlines()),
            model_prefix=f"{folder}/model",
            model_type="bpe",
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=0.9995,
            max_sentence_length=1 << 20,
            num_threads=len(affinity(0)) if affinity else os.cpu_count() or 1,
            minloglevel=2,
        )
        return (Path(folder) / "model.model").read_bytes()


def train_rustbpe(texts: list[str], vocabulary: int) -> object:
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter(texts), vocabulary, pattern=GPT2_SPLIT)
    return tokenizer


# --- in the parent -------------------------------------------------------------------------------


def documents_of(megabytes: float) -> list[str]:
    """Return every document of SEEDBED_DATA, and some again in random order, up to a size."""
    unique = harness.unique_documents()
    documents, source = list(unique), random.Random(0)
    while sum(map(len, documents)) < megabytes * 1e6:
        documents += source.sample(unique, len(unique) // 10)
    return documents


def measure(documents: Path, asked: argparse.Namespace) -> dict[str, list[Measured]]:
    """Return what each measured in each round, with its peak memory in bytes."""
    contenders: dict[str, Callable[[], Measured]] = {}
    for peer, module in MODULES.items():
        python = harness.python_with(module, asked.litgpt)
        job = {
            "peer": peer,
            "documents": documents,
            "vocabulary": 400 if asked.quick else VOCABULARY,
        }
        if python:
            contenders[peer] = partial(harness.in_fresh_process, __file__, job, python=python)
    return harness.take_turns(contenders, asked.rounds)


def main() -> None:
    asked = harness.arguments(__doc__).parse_args()
    report = Report("bpe_training", asked)
    quick = [harness.made_up_stories(200)]
    documents = quick if asked.quick else documents_of(MEGABYTES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "documents.json"
        file.write_text(json.dumps(documents), encoding="utf-8")
        turns = measure(file, asked)
    medians = {peer: median_of(measured, "seconds") for peer, measured in turns.items()}
    best = min(seconds for peer, seconds in medians.items() if peer != "Seedbed")
    rows = [
        [
            peer,
            f"{seconds:.2f}",
            harness.spread_of(turns[peer], "seconds"),
            ratio(seconds, best),
            f"{median_of(turns[peer], 'peak') / 1e6:,.0f}",
        ]
        for peer, seconds in medians.items()
    ]
    header = ["", "seconds", "smallest to largest", "time to the best peer's", "peak MB"]
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    missing = [peer for peer in MODULES if peer not in turns]
    report.write(
        f"Training a BPE of {VOCABULARY:,}",
        table(header, rows),
        f"{megabytes:.1f} MB in {len(documents):,} documents, in memory before the time starts "
        f"(they count in the peak). Median of {asked.rounds} rounds, taking turns.",
        f"Not measured, as not found here: {', '.join(missing)}." if missing else "",
    )


if __name__ == "__main__":
    harness.run(main, child)
