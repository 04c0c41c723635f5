"""One run at a closer look, and several side by side. No torch."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.config import Tree, differences, merge, parse_yaml
from seedbed.errors import CheckpointError, ConfigError
from seedbed.files import MANIFEST, read_json, read_json_lines
from seedbed.runs import RunDir
from seedbed.training.config import FinetuneSettings, TrainConfig
from seedbed.training.run_summary import RunSummary, read_config, summarise

EVALUATIONS_SHOWN = 8


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint of a run."""

    path: Path
    step: int
    bytes: int
    names: tuple[str, ...]  # "best", "latest"


@dataclass(frozen=True)
class RunDetails:
    """What a run's folder tells of it; what is missing there is empty here."""

    summary: RunSummary
    settings: Tree  # key.path -> value, of those asked for that are not the defaults
    model: Tree  # the shape, as resolved
    dataset: Tree  # of its manifest, where it still is there as it was
    machine: Tree  # env.json
    evaluations: list[dict[str, Any]]  # records of metrics.jsonl, evenly chosen; first and last
    samples: list[dict[str, Any]]  # of the last evaluation
    checkpoints: list[SavedCheckpoint]
    commands: list[str]  # to go on, evaluate, generate, plot


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side."""

    runs: list[RunSummary]
    settings: dict[str, list[Any]]  # key.path -> the value in each run, where they differ
    cautions: list[str]  # why some of the results cannot be compared


def show_run(path: Path | str) -> RunDetails:
    """Return what the folder of a run tells of it.

    Raises CheckpointError when it is not a run's folder.
    """
    run = RunDir(_run_folder(path))
    summary = summarise(run.path)
    asked = _asked(run)
    checkpoints = _checkpoints(run)
    return RunDetails(
        summary=summary,
        settings={k: v for k, v in asked.items() if k not in ("data", "out")},
        model=_settings(run).get("model", {}),
        dataset=run.manifest_of(summary.data),
        machine=_json(run.environment),
        evaluations=_evaluations(run),
        samples=_last_samples(run),
        checkpoints=checkpoints,
        commands=_commands(summary, asked, has_checkpoint=bool(checkpoints)),
    )


def compare_runs(paths: Sequence[Path | str]) -> RunComparison:
    """Return the settings in which runs differ, their results, and what cannot be compared.

    Raises CheckpointError when one is not a run's folder.
    """
    runs = [RunDir(_run_folder(path)) for path in paths]
    trees = [{k: v for k, v in _settings(run).items() if k != "out"} for run in runs]
    keys = [key for tree in trees[1:] for key in differences(trees[0], tree)]
    return RunComparison(
        runs=[summarise(run.path) for run in runs],
        settings={key: [_at(tree, key) for tree in trees] for key in dict.fromkeys(keys)},
        cautions=_cautions(runs, trees),
    )


def _run_folder(path: Path | str) -> Path:
    path = Path(path)
    if RunDir(path).config.is_file() or RunDir(path).metrics.is_file():
        return path
    what = "does not exist" if not path.exists() else "is not a run: it has no config.yaml"
    raise CheckpointError(f"{path} {what}. `seedbed runs` lists the runs.")


def _settings(run: RunDir) -> Tree:
    """Return the settings of a run as plain values, or {} where they are damaged."""
    try:
        return read_config(run).model_dump(mode="json")
    except ConfigError:
        return {}


def _asked(run: RunDir) -> Tree:
    """Return {key.path: value} of the settings that were asked for and are not the defaults."""
    asked = run.read_request().get("config", {})
    if not isinstance(asked, dict):
        return {}
    default = TrainConfig(data=Path(), out=Path()).model_dump(mode="json")
    default |= {"data": None, "out": None}  # they have none: all is said, the folder here too
    changed = differences(default, merge(default, asked))  # pyright: ignore[reportUnknownArgumentType]
    return _with_finetuning({key: new for key, (_, new) in changed.items()})


def _with_finetuning(asked: Tree) -> Tree:
    """Return the settings with those of fine-tuning one by one, without the folders they imply."""
    own = asked.pop("finetune", None)
    if own is None:
        return asked
    default = FinetuneSettings(checkpoint=Path(), sources=("",)).model_dump(mode="json")
    changed = {f"finetune.{k}": new for k, (_, new) in differences(default, own).items()}
    return {**changed, **{k: v for k, v in asked.items() if k not in ("data", "from_checkpoint")}}


def _json(file: Path) -> Tree:
    """Return the object in a JSON file, or {} where it is missing or damaged."""
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError):
        return {}


def _at(tree: Tree, key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return value  # pyright: ignore[reportUnknownVariableType]


def _evaluations(run: RunDir) -> list[dict[str, Any]]:
    """Return evaluations spread evenly over the run, the first and the last among them."""
    try:
        records = [r for r in run.read_metrics() if r.get("val_loss") is not None]
    except CheckpointError:
        return []
    gaps = min(EVALUATIONS_SHOWN, len(records)) - 1
    chosen = {round(i * (len(records) - 1) / max(1, gaps)) for i in range(gaps + 1)}
    return [records[i] for i in sorted(chosen)]


def _last_samples(run: RunDir) -> list[dict[str, Any]]:
    try:
        samples = read_json_lines(run.samples)
        return [s for s in samples if s["step"] == samples[-1]["step"]]
    except (ValueError, KeyError, TypeError):
        return []


def _checkpoints(run: RunDir) -> list[SavedCheckpoint]:
    names: dict[Path, list[str]] = {}
    for name in ("best", "latest"):
        names.setdefault((run.checkpoints / name).resolve(), []).append(name)
    return [
        SavedCheckpoint(
            folder,
            int(folder.name.removeprefix("step-")),
            sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            tuple(names.get(folder.resolve(), ())),
        )
        for folder in sorted(run.checkpoints.glob("step-*"))
        if folder.name.removeprefix("step-").isdecimal() and (folder / MANIFEST).is_file()
    ]


def _commands(summary: RunSummary, asked: Tree, *, has_checkpoint: bool) -> list[str]:
    """Return commands that can be copied: to go on, or further in a new run; and to use it."""
    run, commands = str(summary.run), list[str]()
    can_talk = "finetune.checkpoint" in asked
    if asked and summary.state not in ("running", "finished"):
        command = _finetune_words(asked) if can_talk else ["train", *_words(asked)]
        commands.append(shlex.join(["seedbed", *command]))
    if not has_checkpoint:
        return commands
    if summary.state == "finished" and summary.data is not None and not can_talk:
        further = ["--data", str(summary.data), "--out", f"{run}-further", "--from", run]
        commands.append(shlex.join(["seedbed", "train", *further, "--minutes", "10"]))
    return [
        *commands,
        shlex.join(["seedbed", "eval", run]),
        shlex.join(
            ["seedbed", "chat", run]
            if can_talk
            else ["seedbed", "generate", run, "--prompt", "Once upon a time"]
        ),
        shlex.join(["seedbed", "plot", run]),
    ]


def _finetune_words(asked: Tree) -> list[str]:
    """Return the words of the command that fine-tunes so."""
    named = {"finetune.checkpoint", "finetune.sources"}
    sources = [word for name in asked["finetune.sources"] for word in ("--data", name)]
    others = _words({key: value for key, value in asked.items() if key not in named})
    return ["finetune", str(asked["finetune.checkpoint"]), *sources, *others]


def _words(asked: Tree) -> Iterator[str]:
    """Yield the words of the command that asks for these settings."""
    options = {"data": "--data", "out": "--out", "from_checkpoint": "--from"}
    for key, value in asked.items():
        if key in options:
            yield from (options[key], str(value))
        elif isinstance(value, str) and _is_plain(value):
            yield f"{key}={value}"
        else:
            yield f"{key}={json.dumps(value, ensure_ascii=False)}"


def _is_plain(text: str) -> bool:
    """Return whether YAML takes a text for itself without quotes."""
    return bool(re.fullmatch(r"\w[\w .-]*", text)) and parse_yaml(text, origin=text) == text


def _cautions(runs: list[RunDir], trees: list[Tree]) -> list[str]:
    requests = [run.read_request() for run in runs]
    machines = [_json(run.environment) for run in runs]
    cautions: list[str] = []
    if _differ(request.get("data") for request in requests):
        cautions.append(
            "They were trained on different datasets, and each was measured on the validation text "
            "of its own: the scores cannot be compared. `seedbed eval RUN --text FILE` measures "
            "each on the same text."
        )
    elif _differ(_at(tree, "evaluation.tokens") for tree in trees):
        cautions.append(
            "They were measured on parts of the validation text of different lengths: the scores "
            "cannot be compared closely. `seedbed eval RUN` measures each on the whole of it."
        )
    if _differ(request.get("tokenizer") for request in requests):
        cautions.append("Their tokenizers differ: losses per token cannot be compared.")
    if _differ((machine.get("platform"), machine.get("cores")) for machine in machines):
        cautions.append("They ran on different machines: times cannot be compared.")
    return cautions


def _differ(values: Iterator[Any]) -> bool:
    first = next(values)
    return any(value != first for value in values)
