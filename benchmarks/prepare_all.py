"""Every text of the shared data through `prepare` with every kind of tokenizer.

    .venv/bin/python benchmarks/prepare_all.py [WORD...]

Each source of SEEDBED_DATA (default ../shared/data) is prepared with each entry of TOKENIZERS, or
only those whose names hold one of the WORDs. A conversation's record is no text, so for the chat
files in JSON the error that says so is shown, and their tagged form is prepared; Alpaca and
instruction records have a text field, which is chosen. The rate is that of the whole of `prepare`:
both passes over the text, the tokenizer's training, the baseline and the writing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness import DATA, RESULTS, machine
from meters import load_average

from seedbed.data.prepare import TOKENIZERS, PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import UserError

RESULT = RESULTS / "prepare-all-cpu.md"
FOLDERS = ("tinystories", "tinyshakespeare", "wikitext-2", "literature", "childrens", "speeches")
FOLDERS += ("web", "code", "lowquality")
TEXT_FIELDS = {  # of chat files whose records have one
    "chat/gpteacher_roleplay.alpaca.json": "output",
    "chat/self_instruct_seed_tasks.jsonl": "instruction",
}


@dataclass(frozen=True)
class Row:
    """What became of a source with a tokenizer."""

    source: str
    tokenizer: str
    outcome: str  # the cells that follow
    refused: str = ""


def sources() -> list[str]:
    """Return the folders that hold text only, each of their files, and each chat file."""
    files = [p for folder in (*FOLDERS, "chat") for p in sorted((DATA / folder).iterdir())]
    return [*FOLDERS, *(p.relative_to(DATA).as_posix() for p in files)]


def prepared(source: str, tokenizer: str) -> Row:
    """Prepare a source in a temporary folder, and say what became of it."""
    field = TEXT_FIELDS.get(source, "text")
    name = f"{source} (field `{field}`)" if source in TEXT_FIELDS else source
    with tempfile.TemporaryDirectory() as folder:
        config = PrepareConfig(
            sources=(str(DATA / source),),
            out=Path(folder) / "out",
            tokenizer=tokenizer,
            text_field=field,
        )
        start = time.perf_counter()
        try:
            dataset = prepare(config)
        except UserError as error:
            message = str(error).replace(f"{DATA}/", "").splitlines()[0]
            return Row(name, tokenizer, "", refused=message)
        return Row(name, tokenizer, cells(dataset, time.perf_counter() - start))


def cells(dataset: PreparedDataset, seconds: float) -> str:
    splits = [dataset.manifest[split] for split in ("train", "val")]
    documents, size, tokens = (
        sum(split[key] for split in splits) for key in ("documents", "bytes", "tokens")
    )
    drops = dataset.manifest["drops"].items()
    dropped = ", ".join(f"{drop['documents']:,} {reason}" for reason, drop in drops) or "none"
    around = 1 + len(dataset.tokenizer.special.before_document)  # tokens that stand for no bytes
    text_tokens = tokens - documents * around
    return (
        f"{documents:,} | {dropped} | {dataset.manifest['vocab_size']:,} | "
        f"{size / text_tokens:.2f} | {size / 1e6 / seconds:.2f}"
    )


def report(rows: list[Row]) -> str:
    table = "\n".join(f"| {r.source} | {r.tokenizer} | {r.outcome} |" for r in rows if r.outcome)
    refused = dict.fromkeys(f"- {r.refused}" for r in rows if r.refused)
    none_refused = ["- none"]
    return f"""# Every text with every tokenizer

| source | tokenizer | documents | drops | vocabulary | bytes per token | MB/s |
|---|---|---|---|---|---|---|
{table}

Refused, with the message that a user sees:

{chr(10).join(refused or none_refused)}

Bytes are UTF-8; what marks the begin and end of a document is not counted as a token of text.
MB/s is of the whole of `prepare`, once. These texts are small: the tokenizer's training and the
n-gram baseline weigh.

Machine: {machine()}, load average {load_average()} at the end.
Command: `python benchmarks/prepare_all.py`.
"""


def main(words: list[str]) -> None:
    chosen = [s for s in sources() if not words or any(word in s for word in words)]
    rows: list[Row] = []
    for source in chosen:
        for tokenizer in TOKENIZERS:
            row = prepared(source, tokenizer)
            rows.append(row)
            print(f"{row.source} | {row.tokenizer} | {row.outcome or row.refused}", flush=True)
    if not words:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(report(rows), encoding="utf-8")
    print(report(rows))


if __name__ == "__main__":
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(DATA / "tiktoken_cache"))
    main(sys.argv[1:])
