"""`seedbed eval`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.eval_lines import (
    against_lines,
    chat_lines,
    generation_lines,
    report_lines,
    splits_lines,
    tasks_lines,
)
from seedbed.cli.generation_options import sampling_options_if_given
from seedbed.cli.imports import import_at_once
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
    from seedbed.evaluation.chat_report import ChatReport
    from seedbed.evaluation.evaluate import AgainstReport, EvalReport, SplitsReport
    from seedbed.evaluation.generations import GenerationReport
    from seedbed.evaluation.task_report import TasksReport
    from seedbed.generation.sampling import SamplingSettings

UNITS = {"writing": "texts", "answering": "answers"}  # of what a stage does, where it is not tokens
AT_LEAST_ONE = click.IntRange(min=1)
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
PREDICTING, PROMPTS, CHAT, TASKS = "", "--prompts", "--chat", "--tasks"  # kinds of evaluation
KINDS = {  # that an option is for, where it is not for all
    **dict.fromkeys(("text", "split", "against"), (PREDICTING,)),
    **dict.fromkeys(("text_field", "document_separator"), (PREDICTING, TASKS)),
    **dict.fromkeys(("max_new_tokens", "samples", *SAMPLING), (PROMPTS, CHAT)),
    **dict.fromkeys(("seed", "limit"), (PROMPTS, CHAT, TASKS)),
    "save_tasks": (TASKS,),
    "prompt_words": (PROMPTS,),
    "limit_tokens": (PREDICTING, PROMPTS),
}


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
    "--against",
    type=click.Path(path_type=Path),
    metavar="CHECKPOINT",
    help="Compare with this one, on the same text. A run of `finetune` keeps what it began from in "
    "RUN/base: with --data, the text that was trained on, this tells what it has forgotten.",
)
@click.option(
    "--prompts",
    metavar="FILE|val|train",
    help="Measure what the model writes after these: a prompt a line; or .jsonl records with "
    "prompt and, where known, reference or references; or the first words of documents of a split.",
)
@click.option(
    "--chat",
    multiple=True,
    metavar="SOURCE|val|train",
    help="Measure how the model converses, on these conversations, or on those of a split; may be "
    "given several times.",
)
@click.option(
    "--tasks",
    multiple=True,
    metavar="SOURCE|val|train",
    help="Measure how often the model knows how a text goes on, with tasks made of these texts, or "
    "of a split, or read from a folder of them; may be given several times.",
)
@click.option(
    "--save-tasks",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the tasks to a new folder, which lm-evaluation-harness reads too.",
)
@click.option("--samples", type=int, help="Texts for each prompt.  [default: 1]")
@sampling_options_if_given
@click.option(
    "--seed", type=int, help="The same seed gives the same texts and tasks.  [default: 0]"
)
@click.option(
    "--limit",
    type=AT_LEAST_ONE,
    help="Prompts at most, or questions, or items of a task.  [default: 100; all of a file of "
    "prompts; 200 items]",
)
@click.option("--prompt-words", type=AT_LEAST_ONE, help="Of a split's prompts.  [default: 16]")
@device_option
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    help="To read the model in; see `seedbed generate`.  [default: fp32]",
)
@json_option
def command(
    checkpoint: Path,
    prompts: str | None,
    chat: tuple[str, ...],
    tasks: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Measure how well a model predicts a text, or what it writes.

    CHECKPOINT is a checkpoint or a run (its best checkpoint). Without --data and --text, the
    dataset that the run was trained on. Bits per byte compare models with any tokenizers; loss and
    perplexity are per token. The n-gram baseline says what counting bytes alone would reach. Of
    conversations, what the assistant says counts alone.

    With --prompts: how long and varied the texts are, how they repeat themselves, and what they
    share with the training text, word for word; with references, also BLEU and chrF, and the same
    figures of the texts that people wrote.

    With --chat: how well the assistant's words are predicted, and how much worse the first answers
    are after the questions of other conversations; of answers to the first questions, how many end,
    loop and differ, and how they agree with the answers that are there.

    With --tasks: how often the likelihood of what the author wrote is the highest, among the
    continuations of other passages, among other words of the text as the last of a sentence, and
    against the same sentence with words swapped or shuffled, or with was for were and the like.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _check_kind(given, {PROMPTS: prompts, CHAT: chat, TASKS: tasks})
    import_at_once("seedbed.evaluation.evaluate")
    with Stages() as stages:
        if prompts is not None:
            texts = _evaluate_generations(checkpoint, prompts, given, stages)
            result, lines = texts, partial(generation_lines, texts)
        elif chat:
            answers = _evaluate_chat(checkpoint, chat, given, stages)
            result, lines = answers, partial(chat_lines, answers)
        elif tasks:
            choices = _evaluate_tasks(checkpoint, tasks, given, stages)
            result, lines = choices, partial(tasks_lines, choices)
        elif "against" in given:
            both = _evaluate_against(checkpoint, given, stages)
            result, lines = both, partial(against_lines, both)
        elif given.get("split") == "both":
            splits = _evaluate_splits(checkpoint, given, stages)
            result, lines = splits, partial(splits_lines, splits)
        else:
            report = _evaluate(checkpoint, given, stages)
            result, lines = report, partial(report_lines, report)
    print_result(result, as_json, lines)


def _check_kind(given: dict[str, Any], asked: dict[str, str | tuple[str, ...] | None]) -> None:
    """Raise ConfigError for an option of another kind of evaluation than is asked for."""
    kinds_asked = [kind for kind, what in asked.items() if what is not None and what != ()]
    if len(kinds_asked) > 1:
        raise ConfigError(
            "`--prompts` is for texts, `--chat` for conversations and `--tasks` for choices: "
            "give one."
        )
    kind = kinds_asked[0] if kinds_asked else PREDICTING
    for name, kinds in KINDS.items():
        if name in given and kind not in kinds:
            option = "--" + name.replace("_", "-")
            where = f"not for {kind}" if kind else f"for {' or '.join(kinds)}: give it too"
            raise ConfigError(f"`{option}` is {where}.")
    if "split" in given:
        for name in ("text", "text_field", "document_separator"):
            if name in given:
                raise ConfigError("`--split` is for a dataset and `--text` for any text: give one.")
        if given["split"] == "both" and "against" in given:
            raise ConfigError("`--against` compares on one split: give `--split val` or `train`.")


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


def _evaluate_against(checkpoint: Path, given: dict[str, Any], stages: Stages) -> AgainstReport:
    from seedbed.evaluation.evaluate import evaluate_against

    return evaluate_against(
        checkpoint,
        progress=lambda name, done, total: stages.show(f"evaluating {name}", done, total),
        note=stages.note,
        **given,
    )


def _evaluate_generations(
    checkpoint: Path, prompts: str, given: dict[str, Any], stages: Stages
) -> GenerationReport:
    from seedbed.evaluation.generations import evaluate_generations

    sampling = _take_sampling(given)
    return evaluate_generations(
        checkpoint, prompts, sampling=sampling, progress=stages.show, note=stages.note, **given
    )


def _evaluate_chat(
    checkpoint: Path, sources: tuple[str, ...], given: dict[str, Any], stages: Stages
) -> ChatReport:
    from seedbed.evaluation.chat_report import evaluate_chat

    sampling = _take_sampling(given)
    return evaluate_chat(
        checkpoint, sources, sampling=sampling, progress=stages.show, note=stages.note, **given
    )


def _evaluate_tasks(
    checkpoint: Path, sources: tuple[str, ...], given: dict[str, Any], stages: Stages
) -> TasksReport:
    from seedbed.evaluation.task_report import evaluate_tasks

    save = given.pop("save_tasks", None)
    return evaluate_tasks(
        checkpoint, sources, save=save, progress=stages.show, note=stages.note, **given
    )


def _take_sampling(given: dict[str, Any]) -> SamplingSettings:
    from seedbed.config import build
    from seedbed.generation.sampling import SamplingSettings

    return build(SamplingSettings, {n: given.pop(n) for n in SAMPLING if n in given})


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
            unit = UNITS.get(name, "tokens")
            self._progress = self.enter_context(Progress(name, total, unit=unit))
            self._name, self._start = name, (now, done)
        start, first = self._start
        rate = (done - first) / max(now - start, 1e-9)
        facts = {f"{self._progress.unit}/s": f"{rate:,.{0 if rate >= 10 else 1}f}"}
        self._progress.update(done, **(facts if done > first else {}))

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._progress.note(text)
