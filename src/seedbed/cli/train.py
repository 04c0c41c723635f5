"""`seedbed train`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seedbed.cli.imports import import_at_once
from seedbed.cli.output import json_option, print_result

if TYPE_CHECKING:
    from seedbed.config import Tree
    from seedbed.training.job import RunResult

F = TypeVar("F", bound=Callable[..., Any])

UNITS = ("steps", "tokens", "epochs", "minutes")
SETTING_OF_OPTION = {
    "compile_": "compile",
    "checkpoint_every": "checkpoint.every",
    "eval_every": "evaluation.every",
}

SETTINGS = (
    click.option("--data", type=click.Path(), help="Prepared dataset."),
    click.option(
        "--out", type=click.Path(), help="Run folder.  [default: runs/NAME OF THE DATASET]"
    ),
    click.option(
        "--model", metavar="PRESET|FILE", help="modern (default), llama, gpt2, relu2, a file."
    ),
    click.option("--size", help="Parameters: 1m, 0.8m, 100m, tiny, small, medium."),
    click.option(
        "--recipe",
        metavar="NAME|FILE",
        help="Settings to start from: one of `seedbed recipes`, or a YAML file.",
    ),
    click.option(
        "--from",
        "from_checkpoint",
        metavar="CHECKPOINT",
        help="Go on from these weights, in a new run.",
    ),
    click.option("--steps", type=int, help="Train for so many steps."),
    click.option("--tokens", type=float, help="Train on so many tokens."),
    click.option("--epochs", type=float, help="Train on the text so many times."),
    click.option("--minutes", type=float, help="Train for at most so long.  [default: 10]"),
    click.option("--precision", help="auto (default), fp32, tf32, bf16 or fp16."),
    click.option("--compile", "compile_", help="auto (default), on or off."),
    click.option("--seed", type=int, help="Of weights, order and dropout.  [default: 1337]"),
    click.option("--checkpoint-every", type=int, help="Steps between checkpoints."),
    click.option("--eval-every", type=int, help="Steps between evaluations."),
)


def settings_options(command: F) -> F:
    """Give a command the options that say what to train; `layers` reads them."""
    for option in reversed(SETTINGS):
        command = option(command)
    return command


@click.command(
    "train",
    epilog="Example: seedbed train --data data/stories --out runs/stories --minutes 10",
)
@settings_options
@click.option(
    "--resume",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="auto: go on where the run in --out stopped.",
)
@click.option("--print-config", is_flag=True, help="Print every setting as resolved, and stop.")
@json_option
@click.argument("settings", nargs=-1, metavar="[KEY.PATH=VALUE]...")
def command(
    settings: tuple[str, ...], resume: Any, print_config: bool, as_json: bool, **options: Any
) -> int:
    """Train a model on a prepared dataset.

    Settings come from the recipe, then the options, then KEY.PATH=VALUE words, such as
    model.num_layers=4 or optimizer.learning_rate=1e-3; --print-config shows them all. Ctrl-C saves
    the state and stops (exit code 75); the same command goes on from there.
    """
    started = time.perf_counter()  # importing torch counts too

    from seedbed.config import build
    from seedbed.training.config import TrainConfig

    config = build(TrainConfig, *layers(settings, options))
    if print_config:
        click.echo(_resolved(config), nl=False)
        return 0
    import_at_once("seedbed.training.pretrain")
    from seedbed.training.loop import DivergedError
    from seedbed.training.pretrain import train
    from seedbed.training.stopping import STOPPED

    try:
        result = train(config, resume=resume, started=started)
    except DivergedError as error:
        raise click.ClickException(str(error)) from None
    print_result(result, as_json, lambda: result_lines(result))
    return STOPPED if result.state == "stopped" else 0


def layers(settings: tuple[str, ...], options: dict[str, Any]) -> list[Tree]:
    """Return the settings of the recipe, of the options, and of KEY=VALUE words."""
    from pathlib import Path

    from seedbed.config import merge, parse_overrides
    from seedbed.errors import ConfigError
    from seedbed.recipes import recipe_settings

    given: Tree = {key: value for key, value in options.items() if value is not None}
    recipe = recipe_settings(given.pop("recipe")) if "recipe" in given else {}
    model = _model(given.pop("model", None), given.pop("size", None))
    tree = merge(model, tree_of(given, SETTING_OF_OPTION))
    overrides = parse_overrides(settings)
    data = merge(recipe, tree, overrides).get("data")
    if data is None:
        raise ConfigError("`--data` is missing: a folder that `seedbed prepare` made.")
    return [{"out": str(Path("runs") / Path(str(data)).resolve().name)}, recipe, tree, overrides]


def tree_of(given: dict[str, Any], setting_of_option: Mapping[str, str]) -> Tree:
    """Return the settings that options give, which have the option's name unless another is told.

    How long to train is said in one of UNITS.
    """
    from decimal import Decimal

    from seedbed.config import merge
    from seedbed.errors import ConfigError

    asked = [unit for unit in UNITS if unit in given]
    if len(asked) > 1:
        raise ConfigError(f"--{asked[0]} and --{asked[1]} both say how long to train: give one.")
    tree: Tree = {}
    for option, value in given.items():
        if option in UNITS:
            tree["horizon"] = f"{Decimal(str(value)).normalize():f} {option}"  # no exponent
        else:
            *groups, last = setting_of_option.get(option, option).split(".")
            setting: Tree = {last: value}
            for group in reversed(groups):
                setting = {group: setting}
            tree = merge(tree, setting)
    return tree


def _model(model: str | None, size: str | None) -> Tree:
    """Return the `model` settings that --model and --size give."""
    from pathlib import Path

    from seedbed.config import merge, read_yaml
    from seedbed.errors import ConfigError, did_you_mean
    from seedbed.model.config import PRESETS

    tree: Tree = {}
    if model in PRESETS:
        tree = {"model": {"preset": model}}
    elif model is not None:
        if not Path(model).is_file():
            hint = did_you_mean(model, PRESETS) or f" Presets: {', '.join(PRESETS)}."
            raise ConfigError(f"`--model` is {model!r}, neither a preset nor a file.{hint}")
        tree = {"model": read_yaml(Path(model))}
    return merge(tree, {"model": {"size": size}}) if size else tree


def _resolved(config: Any) -> str:
    from seedbed.config import to_yaml
    from seedbed.data.prepared import open_dataset
    from seedbed.distributed import join_world
    from seedbed.training.resolve import resolve

    dataset = open_dataset(config.data, verify=False)
    return to_yaml(resolve(config, dataset, join_world(config.device)))


def result_lines(result: RunResult) -> list[str]:
    """Return what a person is told of how a run ended."""
    words = {
        "finished": f"finished after {result.step:,} steps",
        "stopped": f"stopped at step {result.step:,}; the same command goes on from there",
        "already finished": f"finished before, after {result.step:,} steps: nothing to do",
    }
    lines = [f"{result.run}: {words[result.state]}"]
    if result.val_loss is not None:
        lines.append(
            f"  best at step {result.best_step:,}: validation loss {result.val_loss:.4f}, "
            f"{result.val_bits_per_byte:.4f} bits per byte"
        )
        lines.append(f"  {result.run / 'checkpoints' / 'best'}")
    return lines
