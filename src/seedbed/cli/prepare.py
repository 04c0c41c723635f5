"""`seedbed prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import (
    document_separator_option,
    json_option,
    print_result,
    text_field_option,
)

if TYPE_CHECKING:
    from seedbed.data.prepared import PreparedDataset


FILTERS = ("min_chars", "max_chars", "max_repetition", "languages")


def _codes(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    return text and tuple(code.strip().lower() for code in text.split(","))


@click.command(
    "prepare",
    epilog="Example: seedbed prepare sample:stories --out data/stories",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "--tokenizer",
    metavar="KIND|PATH",
    help="byte, char, bpe (the default, trained on this text), sentencepiece (so too), gpt2, or a "
    "path to a tokenizer.json, a SentencePiece .model, a checkpoint or another prepared dataset.",
)
@click.option("--vocab-size", type=int, help="Vocabulary of bpe or sentencepiece.  [default: 4096]")
@click.option("--val", multiple=True, metavar="SOURCE", help="Validation text of its own.")
@click.option(
    "--val-fraction",
    type=float,
    help="Share of documents held out.  [default: 0.1, less for large text]",
)
@text_field_option
@document_separator_option
@click.option("--limit-documents", type=int, help="Read at most so many documents.")
@click.option("--limit-bytes", metavar="SIZE", help="Read at most so much text, such as 10m or 1g.")
@click.option(
    "--unicode",
    type=click.Choice(["nfc", "nfkc"]),
    help="Give characters that can be written in several ways one form.",
)
@click.option("--newlines", is_flag=True, default=None, help="Make all line ends LF.")
@click.option("--min-chars", type=int, help="Leave out shorter documents.")
@click.option("--max-chars", type=int, help="Leave out longer documents.")
@click.option(
    "--max-repetition",
    type=float,
    metavar="SHARE",
    help="Leave out documents with more of their characters in lines, or in runs of ten words, "
    "that stood in them before; 0.2 is usual.",
)
@click.option(
    "--language",
    "languages",
    metavar="CODE,...",
    callback=_codes,
    help="Leave out documents in other languages: en, or en,fr.",
)
@click.option(
    "--dedup",
    type=click.Choice(["none", "exact", "near"]),
    help="Which duplicates are dropped.  [default: exact]",
)
@click.option("--workers", type=int, help="Processes that encode.  [default: one a core]")
@click.option("--seed", type=int, help="Of generated sources.  [default: 0]")
@click.option("--overwrite", is_flag=True, help="Replace another dataset at --out.")
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Turn text into a dataset of tokens.

    A SOURCE is a file, a folder or a glob of .txt, .md, .jsonl, .json, .csv, .tsv or .parquet
    files, each also compressed as .bz2, .gz, .xz or .zst; the same at an address (https://...,
    s3://..., gs://...); hf:NAME[:CONFIG][:SPLIT], a dataset of the Hugging Face Hub, such as
    hf:roneneldan/TinyStories; nanogpt:FOLDER, the train.bin and val.bin that nanoGPT wrote, whose
    split is kept; or sample:stories, stories written for this project (sample:stories:500 for 500
    of them). Interrupted at any moment, the same command goes on where it was.
    """
    from seedbed.config import build
    from seedbed.data.prepare import PrepareConfig, prepare
    from seedbed.progress import Progress

    given = {key: value for key, value in options.items() if value not in (None, ())}
    filters = {key: given.pop(key) for key in FILTERS if key in given}
    config = build(PrepareConfig, given, {"filters": filters})
    with Progress("reading", None, unit="bytes") as progress:

        def show(stage: str, done: int, total: int | None) -> None:
            progress.title, progress.total = stage, total
            progress.update(done)

        dataset = prepare(config, progress=show)
    print_result(dataset.manifest, as_json, lambda: _lines(dataset))


def _lines(dataset: PreparedDataset) -> list[str]:
    manifest = dataset.manifest
    verb = "was prepared already" if dataset.was_finished else "prepared"
    lines = [f"{dataset.folder} {verb}"]
    for split in ("train", "val"):
        facts = manifest[split]
        lines.append(
            f"  {split}: {facts['documents']:,} documents, {facts['bytes'] / 1e6:,.2f} MB, "
            f"{facts['tokens']:,} tokens"
        )
    for reason, drop in manifest["drops"].items():
        lines.append(f"  left out, {reason}: {drop['documents']:,} (first: {drop['first']})")
    if manifest["normalised"]:
        lines.append(f"  normalised: {manifest['normalised']:,} documents")
    lines.append(f"  tokenizer: {manifest['tokenizer']['kind']}, {manifest['vocab_size']:,} tokens")
    lines.append(
        f"  a byte n-gram model reaches {dataset.baseline_bits_per_byte:.3f} bits per byte"
    )
    return lines
