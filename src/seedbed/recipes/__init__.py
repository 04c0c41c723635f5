"""Ready configurations, named on the command line.

A recipe is a YAML file of TrainConfig's settings. What it is and which data it wants stands in it
under `about`, which is taken off before the settings are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from seedbed.config import Settings, Tree, build, parse_yaml, read_yaml
from seedbed.errors import ConfigError, did_you_mean
from seedbed.model.config import ModelConfig, ModelSettings

ABOUT = "about"


class About(Settings):
    """What a recipe is, and which dataset it wants."""

    description: str
    origin: str
    prepare: str  # the command that makes the dataset
    tokenizer: str
    vocab_size: int  # the published one, for which the parameters are counted


@dataclass(frozen=True)
class Recipe:
    """A recipe that ships with Seedbed."""

    name: str
    text: str  # its YAML
    about: About
    settings: Tree

    @property
    def shape(self) -> ModelConfig:
        """The model, for the vocabulary that the recipe names."""
        return build(ModelSettings, self.settings["model"]).resolve(self.about.vocab_size)

    @property
    def window(self) -> int:
        """Tokens of a training sequence."""
        return self.settings.get("window") or self.shape.context_length

    @property
    def tokens_per_step(self) -> int:
        """Tokens of all sequences of a step."""
        return self.settings["batch_size"] * self.window


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with Seedbed.

    >>> "smollm2-93m" in recipe_names()
    True
    """
    shipped = (file.name for file in files("seedbed.recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in shipped if name.endswith(".yaml"))


def read_recipe(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises ConfigError, with the nearest name, when there is none.

    >>> read_recipe("smollm2-93m").shape.parameters.total
    92837376
    """
    names = recipe_names()
    if name not in names:
        hint = did_you_mean(name, names) or f" Recipes: {', '.join(names)}."
        raise ConfigError(f"{name!r} is not a recipe.{hint}")
    text = (files("seedbed.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    settings: Tree = parse_yaml(text, origin=f"{name}.yaml")
    return Recipe(name, text, build(About, settings.pop(ABOUT)), settings)


def recipe_settings(name_or_file: str) -> Tree:
    """Return the settings of a recipe file, or of a recipe that ships with Seedbed.

    Raises ConfigError when it is neither.
    """
    path = Path(name_or_file)
    if path.is_file():
        return {key: value for key, value in read_yaml(path).items() if key != ABOUT}
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise ConfigError(
            f"`--recipe` is {name_or_file!r}, and there is no such file. "
            "`seedbed recipes` lists the recipes that need none."
        )
    return read_recipe(name_or_file).settings
