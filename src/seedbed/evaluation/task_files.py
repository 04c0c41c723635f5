"""Folders of tasks: a file of JSON lines for each, which lm-evaluation-harness reads too.

A line is an item: {"context": ..., "choices": [...], "answer": place of the right one}, and `group`
where items share text. The folders of others are read all the same, without a network.
"""

# pyright: strict

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from seedbed.errors import DataError
from seedbed.evaluation.task_items import Item
from seedbed.files import replace_folder, write_text

_SUFFIX = ".jsonl"
HARNESS_PREFIX = "seedbed_"  # of the tasks' names there, which has many
HARNESS_TAG = "seedbed"  # all of them

# The choices follow the context as they stand, and the names are quoted: JSON is YAML.
_HARNESS_TASK = """\
# lm_eval --model hf --model_args pretrained=CHECKPOINT,dtype=float32,logits_cache=False \\
#   --device cpu --tasks {tag} --include_path {folder}
# acc compares choices by likelihood, acc_norm by likelihood per character. Without logits_cache,
# which mistakes a text for the same text cut elsewhere into context and choice (seen in 0.4.13).
task: {name}
tag: {tag}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: {text}
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
  - metric: acc_norm
"""


def save_tasks(folder: Path, tasks: Mapping[str, Sequence[Item]], *, bos: str = "") -> None:
    """Write NAME.jsonl for each task, and NAME.yaml, with which lm-evaluation-harness finds it.

    The harness puts `bos` before each context, as `score_tasks` does: the token's name in the
    tokenizers of the models that it is for. It wants to know where a file is, so save the tasks
    again when the folder moves. Raises DataError for a folder that is not empty.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder} is there already. Name a new folder for the tasks.")
    place = folder.resolve()
    with replace_folder(folder) as aside:
        for name, items in tasks.items():
            lines = (json.dumps(_as_json(item), ensure_ascii=False) + "\n" for item in items)
            write_text(aside / f"{name}{_SUFFIX}", "".join(lines))
            described = _HARNESS_TASK.format(
                name=_quoted(HARNESS_PREFIX + name),
                tag=HARNESS_TAG,
                folder=_quoted(str(place)),
                text=_quoted(bos + "{{context}}"),
                file=_quoted(str(place / f"{name}{_SUFFIX}")),
            )
            write_text(aside / f"{name}.yaml", described)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _as_json(item: Item) -> dict[str, Any]:
    return {
        "context": item.context,
        "choices": item.choices,
        "answer": item.answer,
        "group": item.group,
    }


def holds_tasks(path: Path) -> bool:
    """Return whether `path` is a folder or file of items rather than of documents."""
    for file in _task_files(path):
        with file.open(encoding="utf-8", errors="replace") as lines:
            first = next((line for line in lines if line.strip()), "")
        try:
            return "choices" in json.loads(first)
        except (ValueError, TypeError, RecursionError):
            return False
    return False


def load_tasks(path: Path) -> dict[str, list[Item]]:
    """Return the items of each .jsonl file of a folder, or of that one file, by its stem.

    Raises DataError, naming the line, for what is no item.
    """
    tasks: dict[str, list[Item]] = {}
    for file in _task_files(path):
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not UTF-8: {error.reason} at {error.start:,}.") from None
        items = [
            _read_item(line, f"{file} line {number:,}", number)
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        if items:
            tasks[file.stem] = items
    if not tasks:
        raise DataError(f"{path} holds no task: a folder with .jsonl files of items.")
    return tasks


def _task_files(path: Path) -> list[Path]:
    """Return the files that may hold items."""
    if path.is_dir():
        return sorted(path.glob(f"*{_SUFFIX}"))
    return [path] if path.is_file() and path.suffix == _SUFFIX else []


def _read_item(line: str, place: str, number: int) -> Item:
    """Return the item in a line; without a `group` it stands for itself."""
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}.") from None
    if not isinstance(record, dict):
        raise DataError(f"{place} is no item: {line[:60]}")
    record = cast("dict[str, Any]", record)
    context, choices, answer = (record.get(key) for key in ("context", "choices", "answer"))
    if not isinstance(context, str) or not _is_choices(choices):
        raise DataError(
            f'{place} is no item. Write {{"context": "Two and two are", "choices": [" four", '
            '" five"], "answer": 0}.'
        )
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise DataError(
            f"{place}: `answer` is {json.dumps(answer)[:60]} but must be the place of a choice, "
            f"0 to {len(choices) - 1}."
        )
    group = record.get("group", number)
    if type(group) is not int:
        raise DataError(f"{place}: `group` is {json.dumps(group)[:60]} but must be a number.")
    return Item(context, tuple(choices), answer, group)


def _is_choices(value: Any) -> bool:
    """Return whether `value` is a list of two texts or more, none of them empty."""
    if not isinstance(value, list):
        return False
    texts = cast("list[Any]", value)
    return len(texts) > 1 and all(isinstance(text, str) and text for text in texts)
