"""`seedbed tokenizer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import (
    document_separator_option,
    json_option,
    print_result,
    text_field_option,
)
from seedbed.cli.runs import table

if TYPE_CHECKING:
    from seedbed.evaluation.tokenizer_comparison import TokenizerComparison, TokenizerFigures


def _names(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    return text and tuple(name.strip() for name in text.split(",") if name.strip())


def _counts(context: click.Context, option: click.Parameter, text: str | None) -> Any:
    names = _names(context, option, text)
    if names and not all(name.isdecimal() for name in names):
        raise click.BadParameter(f"`{text}` is not a list of numbers such as 2048,4096.")
    return names and tuple(int(name) for name in names)


@click.command(
    "tokenizer",
    epilog="Example: seedbed tokenizer sample:stories --kinds byte,bpe,sentencepiece --size 1m",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--kinds",
    metavar="KIND|PATH,...",
    callback=_names,
    help="byte, char, bpe, sentencepiece, gpt2, or paths to a tokenizer.json, a .model of "
    "SentencePiece, a checkpoint or a prepared dataset.  [default: all kinds]",
)
@click.option(
    "--vocab-size",
    "vocab_sizes",
    metavar="N,...",
    callback=_counts,
    help="Vocabularies of bpe and sentencepiece.  [default: 4096]",
)
@click.option(
    "--size",
    "sizes",
    metavar="SIZE,...",
    callback=_names,
    help="Sizes of model to tell the share of the vocabulary for.  [default: 10m]",
)
@click.option("--limit-bytes", metavar="SIZE", help="Read at most so much text.  [default: 16m]")
@text_field_option
@document_separator_option
@json_option
def command(
    sources: tuple[str, ...],
    limit_bytes: str | None,
    text_field: str | None,
    document_separator: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare tokenizers on a text.

    SOURCE is as for prepare. Each tokenizer is made from nine tenths of the documents and measured
    on the others. Told are: its vocabulary; bytes per token, so how many fewer tokens than bytes a
    model has to read; the speed of encoding; the share of characters that it does not know; how
    many documents do not come back as they were; and the share of a model's parameters that its
    vocabulary takes.
    """
    from seedbed.data.pieces import ReadOptions
    from seedbed.data.prepare import parse_bytes
    from seedbed.evaluation.tokenizer_comparison import compare_tokenizers
    from seedbed.progress import Progress

    given = {key: value for key, value in options.items() if value}
    if limit_bytes:
        try:
            given["limit_bytes"] = parse_bytes(limit_bytes)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    with Progress("comparing", None, unit="tokenizers") as progress:

        def show(kind: str, done: int, total: int) -> None:
            progress.title, progress.total = kind, total
            progress.update(done)

        compared = compare_tokenizers(
            sources,
            options=ReadOptions(text_field or "text", document_separator),
            progress=show,
            note=progress.note,
            **given,
        )
    print_result(compared, as_json, lambda: _lines(compared))


def _lines(compared: TokenizerComparison) -> list[str]:
    sizes = list(compared.tokenizers[0].vocabulary_shares) if compared.tokenizers else []
    heads = ["vocabulary", "bytes/token", "MB/s", "unknown", "changed"]
    rows = [["tokenizer", *heads, *(f"of {size}" for size in sizes)]]
    rows += [_row(figures) for figures in compared.tokenizers]
    return [
        f"{compared.documents:,} documents, {compared.bytes / 1e6:,.2f} MB; measured on "
        f"{compared.held_out_documents:,} held out, {compared.held_out_bytes / 1e6:,.2f} MB",
        *table(rows),
    ]


def _row(figures: TokenizerFigures) -> list[str]:
    shares = figures.vocabulary_shares.values()
    return [
        figures.tokenizer,
        f"{figures.vocab_size:,}",
        f"{figures.bytes_per_token:.3f}",
        f"{figures.megabytes_per_second:.1f}",
        f"{figures.unknown_share:.4%}" if figures.unknown_share else "0",
        f"{figures.changed_documents:,}",
        *("does not fit" if share is None else f"{share:.1%}" for share in shares),
    ]
