"""`seedbed eval`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import (
    device_option,
    document_separator_option,
    json_option,
    print_result,
    text_field_option,
)
from seedbed.errors import ConfigError
from seedbed.progress import Progress

if TYPE_CHECKING:
    from seedbed.evaluation.evaluate import EvalReport, SplitsReport
    from seedbed.evaluation.figures import Estimate, TextFigures
    from seedbed.evaluation.generations import GenerationReport

SHOWN_TEXTS = 3
AT_LEAST_ONE = click.IntRange(min=1)
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
LEAVES_ALL = {"repetition_penalty": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
WRITING = ("max_new_tokens", "samples", "seed", "limit", "prompt_words", *SAMPLING)
PREDICTING = ("text", "split", "text_field", "document_separator")


@click.command(
    "eval",
    epilog="Example: seedbed eval runs/stories --prompts val --json",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Prepared dataset.")
@click.option("--text", metavar="SOURCE", help="Any text instead: a file, a folder, a glob.")
@click.option(
    "--split",
    type=click.Choice(["val", "train", "both"]),
    help="Which part of the dataset; both tell the gap between them.  [default: val]",
)
@click.option(
    "--limit-tokens",
    type=AT_LEAST_ONE,
    help="Read about so many tokens of a split: documents spread over it.  "
    "[default: all of val, as many of train (100,000 at least); to look for copies, all of train]",
)
@text_field_option
@document_separator_option
@click.option(
    "--prompts",
    metavar="FILE|val|train",
    help="Measure what the model writes after these: a prompt a line; or .jsonl records with "
    "prompt and, where known, reference or references; or the first words of documents of a split.",
)
@click.option("--samples", type=int, help="Texts for each prompt.  [default: 1]")
@click.option("--max-new-tokens", type=int, help="[default: 200]")
@click.option("--temperature", type=float, help="0 is greedy.  [default: 0.8]")
@click.option("--top-k", type=int, help="0 keeps all tokens.  [default: 50]")
@click.option("--top-p", type=float, help="[default: 1.0]")
@click.option("--min-p", type=float, help="[default: 0.0]")
@click.option("--repetition-penalty", type=float, help="[default: 1.0]")
@click.option("--seed", type=int, help="The same seed writes the same texts.  [default: 0]")
@click.option(
    "--limit", type=AT_LEAST_ONE, help="Prompts at most.  [default: 100 of a split, all of a file]"
)
@click.option("--prompt-words", type=AT_LEAST_ONE, help="Of a split's prompts.  [default: 16]")
@device_option
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    help="To read the model in; see `seedbed generate`.  [default: fp32]",
)
@json_option
def command(checkpoint: Path, prompts: str | None, as_json: bool, **options: Any) -> None:
    """Measure how well a model predicts a text, or what it writes.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). Without --data and --text, the
    dataset that the run was trained on. Bits per byte compare models with any tokenizers; loss and
    perplexity are per token. The n-gram baseline says what counting bytes alone would reach.

    With --prompts: how long and varied the texts are, how they repeat themselves, and what they
    share with the training text, word for word; with references, also BLEU and chrF, and the same
    figures of the texts that people wrote.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _check_mode(given, prompts)
    with Stages() as stages:
        if prompts is not None:
            texts = _evaluate_generations(checkpoint, prompts, given, stages)
            result, lines = texts, partial(_generation_lines, texts)
        elif given.get("split") == "both":
            splits = _evaluate_splits(checkpoint, given, stages)
            result, lines = splits, partial(_splits_lines, splits)
        else:
            report = _evaluate(checkpoint, given, stages)
            result, lines = report, partial(_lines, report)
    print_result(result, as_json, lines)


def _check_mode(given: dict[str, Any], prompts: str | None) -> None:
    """Raise ConfigError for an option of the other kind of evaluation."""
    for name in PREDICTING if prompts is not None else WRITING:
        if name in given:
            option = "--" + name.replace("_", "-")
            where = "not for --prompts" if prompts is not None else "for --prompts: give it too"
            raise ConfigError(f"`{option}` is {where}.")
    if "split" in given:
        for name in ("text", "text_field", "document_separator"):
            if name in given:
                raise ConfigError("`--split` is for a dataset and `--text` for any text: give one.")


def _evaluate(checkpoint: Path, given: dict[str, Any], stages: Stages) -> EvalReport:
    from seedbed.evaluation.evaluate import evaluate

    return evaluate(
        checkpoint,
        progress=lambda done, total: stages.show("evaluating", done, total),
        note=stages.note,
        **given,
    )


def _evaluate_splits(checkpoint: Path, given: dict[str, Any], stages: Stages) -> SplitsReport:
    from seedbed.evaluation.evaluate import evaluate_splits

    del given["split"]
    return evaluate_splits(
        checkpoint,
        progress=lambda split, done, total: stages.show(f"evaluating {split}", done, total),
        note=stages.note,
        **given,
    )


def _evaluate_generations(
    checkpoint: Path, prompts: str, given: dict[str, Any], stages: Stages
) -> GenerationReport:
    from seedbed.config import build
    from seedbed.evaluation.generations import evaluate_generations
    from seedbed.generation.sampling import SamplingSettings

    sampling = build(SamplingSettings, {n: given.pop(n) for n in SAMPLING if n in given})
    return evaluate_generations(
        checkpoint, prompts, sampling=sampling, progress=stages.show, note=stages.note, **given
    )


class Stages(ExitStack):
    """Shows one stage of the work after another, with its rate. Use it as a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self._name, self._progress = "", Progress("", None, unit="")
        self._start = (0.0, 0)  # time and amount at the first sight of the stage

    def show(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` is done in the stage `name`."""
        now = monotonic()
        if name != self._name:
            self.close()
            unit = "texts" if name == "writing" else "tokens"
            self._progress = self.enter_context(Progress(name, total, unit=unit))
            self._name, self._start = name, (now, done)
        start, first = self._start
        rate = (done - first) / max(now - start, 1e-9)
        facts = {f"{self._progress.unit}/s": f"{rate:,.{0 if rate >= 10 else 1}f}"}
        self._progress.update(done, **(facts if done > first else {}))

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._progress.note(text)


# --- for a person ---------------------------------------------------------------------------


def _lines(report: EvalReport) -> list[str]:
    lines = [
        f"bits per byte  {report.bits_per_byte:.4f}{_error(report.standard_error, '.4f')}",
        f"loss           {report.loss:.4f} nats per token",
        f"perplexity     {report.perplexity:.2f} per token",
        f"on             {report.documents:,} documents, {report.bytes:,} bytes, "
        f"{report.tokens:,} tokens",
    ]
    if report.baseline_bits_per_byte is not None:
        lines.append(f"baseline       {report.baseline_bits_per_byte:.4f} (byte n-grams)")
    return lines


def _splits_lines(report: SplitsReport) -> list[str]:
    gap = f"{report.gap_bits_per_byte:+.4f}{_error(report.gap_standard_error, '.4f')}"
    return [
        "validation",
        *("  " + line for line in _lines(report.val)),
        "training",
        *("  " + line for line in _lines(report.train)),
        f"gap              {gap} bits per byte, {report.gap_loss:+.4f} nats per token",
    ]


def _generation_lines(report: GenerationReport) -> list[str]:
    sampling = ", ".join(
        f"{name.replace('_', '-')} {value:g}"
        for name, value in report.sampling.items()
        if value is not None and value != LEAVES_ALL.get(name)
    )
    texts = f"{report.samples} texts for each" if report.samples > 1 else "a text for each"
    lines = [
        f"{report.prompts:,} prompts, {texts}, {report.max_new_tokens:,} tokens at most; "
        f"{sampling}, seed {report.seed}",
        "",
        *_table(report),
    ]
    for name, score in (("BLEU", report.bleu), ("chrF", report.chrf)):
        if score:
            value = f"{score.value:.1f}{_error(score.standard_error, '.1f')}"
            lines.append(f"{name:26}{value}  {score.signature}")
    if report.training_tokens is not None:
        lines.append(f"{'copies looked for in':26}{report.training_tokens:,} training tokens")
    for text in report.texts[:SHOWN_TEXTS]:
        lines += ["", "---", "", *f"{text.prompt} | {text.text.lstrip(' ')}".split("\n")]
    return lines


def _table(report: GenerationReport) -> list[str]:
    """Return a line for each figure: of the generated texts, and of people's beside it."""
    columns = [_column(report.generated, report.copied_run)]
    head = f"{'':26}generated"
    if report.human:
        columns.append(_column(report.human, report.copied_run))
        head = f"{'':26}{'generated':20}human"
    rows = zip(*(column.values() for column in columns), strict=False)
    named = zip(columns[0], rows, strict=True)
    return [head, *(f"{n:26}" + "".join(f"{c:20}" for c in row).rstrip() for n, row in named)]


def _column(figures: TextFigures, copied_run: int) -> dict[str, str]:
    """Return the figures of some texts by what a person calls them."""
    low, middle, high = figures.word_quantiles
    column = {
        "words a text": _shown(figures.words, ".1f"),
        "  at 10, 50 and 90 %": f"{low:.0f}, {middle:.0f}, {high:.0f}",
        "tokens a text": _shown(figures.tokens, ".1f"),
        "came to an end": _percent(figures.finished),
    }
    column |= {f"distinct-{n}": _shown(e, ".3f") for n, e in enumerate(figures.distinct, start=1)}
    column["repeated 4-grams"] = _percent(figures.repetition)
    column["texts that loop"] = _percent(figures.loops)
    if figures.copies:
        column["longest copy, words"] = _shown(figures.copies.longest, ".1f")
        column["  in any text"] = f"{figures.copies.longest_of_all:,}"
        column[f"in copies of {copied_run}+ words"] = _percent(figures.copies.share)
    return column


def _shown(estimate: Estimate, form: str) -> str:
    if estimate.value is None:
        return "-"
    return f"{estimate.value:{form}}{_error(estimate.standard_error, form)}"


def _percent(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    error = estimate.standard_error
    return f"{100 * estimate.value:.1f}{_error(error and 100 * error, '.1f')} %"


def _error(standard_error: float | None, form: str) -> str:
    return "" if standard_error is None else f" +- {standard_error:{form}}"
