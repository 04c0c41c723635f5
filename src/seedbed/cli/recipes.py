"""`seedbed recipes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.output import json_option, print_result

if TYPE_CHECKING:
    from seedbed.recipes import Recipe


@click.command("recipes", epilog="Example: seedbed recipes tinystories-gpt")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List ready settings for `train`, or print one.

    A recipe holds the settings of a published project; its comments say where each comes from and
    what was corrected. The command that prepares its data stands at the top. Save what this
    prints, change it, and give the file to --recipe; or give key.path=value words to `train`.
    Parameters are counted for the vocabulary that is named.
    """
    from seedbed.recipes import read_recipe, recipe_names

    if name is not None:
        recipe = read_recipe(name)
        print_result(_facts(recipe), as_json, lambda: [recipe.text.rstrip("\n")])
        return
    recipes = [read_recipe(each) for each in recipe_names()]
    print_result([_facts(recipe) for recipe in recipes], as_json, lambda: _lines(recipes))


def _facts(recipe: Recipe) -> dict[str, Any]:
    shape, about = recipe.shape, recipe.about
    counts = shape.parameters
    return {
        "name": recipe.name,
        **about.model_dump(),
        "parameters": counts.total,
        "embedding_parameters": counts.total - counts.blocks,
        "context_length": shape.context_length,
        "window": recipe.window,
        "tokens_per_step": recipe.tokens_per_step,
        "horizon": recipe.settings["horizon"],
        "settings": recipe.settings,
    }


def _lines(recipes: list[Recipe]) -> list[str]:
    lines: list[str] = []
    for recipe in recipes:
        about, shape, steps = recipe.about, recipe.shape, _with_commas(recipe.settings["horizon"])
        window = "" if recipe.window == shape.context_length else f", windows of {recipe.window:,}"
        lines += [
            recipe.name,
            f"  {about.description}",
            f"  from: {about.origin}",
            f"  {shape.parameters}, with a {about.tokenizer} vocabulary of {about.vocab_size:,}",
            f"  context {shape.context_length:,}{window}; "
            f"{recipe.tokens_per_step:,} tokens a step, {steps}",
            "",
        ]
    return [*lines, "seedbed recipes NAME prints one, and how to prepare its data."]


def _with_commas(horizon: str) -> str:
    amount, unit = horizon.split()
    return f"{int(amount):,} {unit}"
