"""What `seedbed eval` shows a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedbed.evaluation.chat_report import ChatReport
    from seedbed.evaluation.evaluate import AgainstReport, EvalReport, SplitsReport
    from seedbed.evaluation.figures import Estimate, TextFigures
    from seedbed.evaluation.generations import GenerationReport
    from seedbed.evaluation.task_report import TasksReport

SHOWN_TEXTS = 3
LEAVES_ALL = {"repetition_penalty": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def report_lines(report: EvalReport, of: str = "documents") -> list[str]:
    """Return the figures of a model on a text."""
    lines = [
        f"bits per byte  {report.bits_per_byte:.4f}{_error(report.standard_error, '.4f')}",
        f"loss           {report.loss:.4f} nats per token",
        f"perplexity     {report.perplexity:.2f} per token",
        f"on             {report.documents:,} {of}, {report.bytes:,} bytes, "
        f"{report.tokens:,} tokens",
    ]
    if report.baseline_bits_per_byte is not None:
        lines.append(f"baseline       {report.baseline_bits_per_byte:.4f} (byte n-grams)")
    return lines


def splits_lines(report: SplitsReport) -> list[str]:
    """Return the figures on both splits, and the gap."""
    gap = f"{report.gap_bits_per_byte:+.4f}{_error(report.gap_standard_error, '.4f')}"
    return [
        "validation",
        *("  " + line for line in report_lines(report.val)),
        "training",
        *("  " + line for line in report_lines(report.train)),
        f"gap              {gap} bits per byte, {report.gap_loss:+.4f} nats per token",
    ]


def against_lines(report: AgainstReport) -> list[str]:
    """Return the figures of two models, and their difference."""
    error = _error(report.difference_standard_error, ".4f")
    return [
        "checkpoint",
        *("  " + line for line in report_lines(report.checkpoint)),
        "against",
        *("  " + line for line in report_lines(report.against)),
        f"difference       {report.difference_bits_per_byte:+.4f}{error} bits per byte, "
        f"{100 * report.difference_share:+.1f} %",
    ]


def generation_lines(report: GenerationReport) -> list[str]:
    """Return the figures of texts that a model wrote, and some of the texts."""
    lines = [
        f"{report.prompts:,} prompts, {_settings(report, 'a text', 'texts')}",
        "",
        *_table(report.generated, report.human, report.copied_run),
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


def _settings(report: GenerationReport | ChatReport, one: str, more: str) -> str:
    """Return how the texts of a report were written."""
    sampling = ", ".join(
        f"{name.replace('_', '-')} {value:g}"
        for name, value in report.sampling.items()
        if value is not None and value != LEAVES_ALL.get(name)
    )
    each = f"{report.samples} {more}" if report.samples > 1 else one
    most = f"{report.max_new_tokens:,} tokens at most"
    return f"{each} for each, {most}; {sampling}, seed {report.seed}"


def chat_lines(report: ChatReport) -> list[str]:
    """Return the figures of how a model converses, and some of its answers."""
    lines = [
        "the assistant's words",
        *("  " + line for line in report_lines(report.assistant, "conversations")),
    ]
    if shuffled := report.shuffled:
        lines += [
            f"first answers, of {shuffled.conversations:,} conversations",
            f"  after their own questions  {shuffled.own_bits_per_byte:.4f} bits per byte",
            f"  after those of others      {shuffled.others_bits_per_byte:.4f}, "
            f"{_percent(shuffled.worsening)} worse",
        ]
    if report.answers is None:
        return lines
    lines += [
        f"{report.questions:,} questions, {_settings(report, 'an answer', 'answers')}",
        "",
        *_table(report.answers.texts, report.human, 0),
        f"{'distinct answers':26}{_percent(report.answers.distinct)}",
        f"{'exact match':26}{_percent(report.answers.exact_match)}",
        f"{'token F1':26}{_percent(report.answers.token_f1)}",
    ]
    for text in report.texts[:SHOWN_TEXTS]:
        question = text.messages[-1].content
        lines += ["", "---", "", *f"{question} | {text.answer.strip()}".split("\n")]
    return lines


def tasks_lines(report: TasksReport) -> list[str]:
    """Return how often a model was right, a task in each line."""
    width = max(len("task"), *map(len, report.tasks)) + 2
    lines = [f"{'task':{width}}right     95 % interval     chance    items  by likelihood alone"]
    for name, task in report.tasks.items():
        interval = f"{100 * task.low:.1f} to {100 * task.high:.1f} %"
        lines.append(
            f"{name:{width}}{100 * task.accuracy:5.1f} %   {interval:17} {100 * task.chance:4.1f} %"
            f"  {task.items:7,}  {100 * task.plain_accuracy:5.1f} %"
        )
    return lines


def _table(generated: TextFigures, human: TextFigures | None, copied_run: int) -> list[str]:
    """Return a line for each figure: of the generated texts, and of people's beside it."""
    columns = [_column(generated, copied_run)]
    head = f"{'':26}generated"
    if human:
        columns.append(_column(human, copied_run))
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
