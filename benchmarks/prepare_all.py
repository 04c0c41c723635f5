"""Every text of the shared data through `prepare` with every kind of tokenizer.

    python benchmarks/prepare_all.py [WORD...]

Each source of SEEDBED_DATA is prepared with each entry of TOKENIZERS; with WORDs, only those whose
names hold one of them, which are shown and not written. A conversation's record is no text, so for
the chat files in JSON the error that says so is shown, and their tagged form is prepared; Alpaca
and instruction records have a text field, which is chosen. The rate is that of the whole of
`prepare`: both passes over the text, the tokenizer's training, the baseline and the writing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import DATA, Report, real_text, table

if TYPE_CHECKING:
    from seedbed.data.prepared import PreparedDataset

FOLDERS = ("tinystories", "tinyshakespeare", "wikitext-2", "literature", "childrens", "speeches")
FOLDERS += ("web", "code", "lowquality")
TEXT_FIELDS = {  # of chat files whose records have one
    "chat/gpteacher_roleplay.alpaca.json": "output",
    "chat/self_instruct_seed_tasks.jsonl": "instruction",
}
QUICK_TOKENIZERS = ("byte", "bpe")
HEADER = ("source", "tokenizer", "documents", "drops", "vocabulary", "bytes per token", "MB/s")


@dataclass(frozen=True)
class Outcome:
    """What became of a source with a tokenizer: a row of the table, or a refusal."""

    row: list[str]
    refused: str = ""


def sources() -> list[Path]:
    """Return the folders that hold text only, each of their files, and each chat file."""
    folders = [real_text(folder) for folder in FOLDERS]
    files = [p for folder in (*folders, real_text("chat")) for p in sorted(folder.iterdir())]
    return [*folders, *files]


def prepared(source: Path, tokenizer: str, root: Path) -> Outcome:
    """Prepare a source in a temporary folder, and say what became of it."""
    from seedbed.data.prepare import PrepareConfig, prepare
    from seedbed.errors import UserError

    name = source.relative_to(root).as_posix()
    field = TEXT_FIELDS.get(name, "text")
    shown = f"{name} (field `{field}`)" if name in TEXT_FIELDS else name
    with tempfile.TemporaryDirectory() as folder:
        config = PrepareConfig(
            sources=(str(source),),
            out=Path(folder) / "out",
            tokenizer=tokenizer,
            text_field=field,
        )
        start = time.perf_counter()
        try:
            dataset = prepare(config)
        except UserError as error:
            message = str(error).replace(f"{root}/", "").splitlines()[0]
            return Outcome([shown, tokenizer], refused=message)
        return Outcome([shown, tokenizer, *cells(dataset, time.perf_counter() - start)])


def cells(dataset: PreparedDataset, seconds: float) -> list[str]:
    splits = [dataset.manifest[split] for split in ("train", "val")]
    documents, size, tokens = (
        sum(split[key] for split in splits) for key in ("documents", "bytes", "tokens")
    )
    drops = dataset.manifest["drops"].items()
    dropped = ", ".join(f"{drop['documents']:,} {reason}" for reason, drop in drops) or "none"
    around = 1 + len(dataset.tokenizer.special.before_document)  # tokens that stand for no bytes
    text_tokens = tokens - documents * around
    return [
        f"{documents:,}",
        dropped,
        f"{dataset.manifest['vocab_size']:,}",
        f"{size / text_tokens:.2f}",
        f"{size / 1e6 / seconds:.2f}",
    ]


def outcomes(asked: argparse.Namespace) -> list[Outcome]:
    """Prepare each source that is asked for with each tokenizer."""
    from seedbed.data.prepare import TOKENIZERS

    with tempfile.TemporaryDirectory() as folder:
        made_up = Path(folder) / "stories.txt"
        made_up.write_text(harness.made_up_stories(60), encoding="utf-8")
        root, chosen = (made_up.parent, [made_up]) if asked.quick else (DATA, sources())
        found: list[Outcome] = []
        for source in chosen:
            name = source.relative_to(root).as_posix()
            if asked.words and not any(word in name for word in asked.words):
                continue
            for tokenizer in QUICK_TOKENIZERS if asked.quick else TOKENIZERS:
                found.append(prepared(source, tokenizer, root))
                harness.tell(" | ".join(found[-1].row) + found[-1].refused)
        return found


def main() -> None:
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(DATA / "tiktoken_cache"))
    parser = harness.arguments(__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    asked = parser.parse_args()
    if asked.words:
        outcomes(asked)
        return
    report = Report("prepare-all", asked)
    found = outcomes(asked)
    refused = dict.fromkeys(f"- {each.refused}" for each in found if each.refused)
    report.write(
        "Every text with every tokenizer",
        table(HEADER, [each.row for each in found if not each.refused]),
        "Refused, with the message that a user sees:",
        "\n".join(refused) or "- none",
        "Bytes are UTF-8; what marks the begin and end of a document is not counted as a token of "
        "text. MB/s is of the whole of `prepare`, once. These texts are small: the tokenizer's "
        "training and the n-gram baseline weigh.",
    )


if __name__ == "__main__":
    main()
