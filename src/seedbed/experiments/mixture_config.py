"""What can be said of a search for the best mixture, and the two experiments that it comes to.

No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from seedbed.config import build, read_yaml
from seedbed.experiments.config import MINUTES, Budget, ExperimentConfig
from seedbed.experiments.least_squares import Floats
from seedbed.experiments.mixture_search import design, fewest_runs, usual_runs
from seedbed.experiments.plan import ExperimentDir

CONFIRMING_SEEDS = 3
PROPOSED, UNIFORM, PROPORTIONAL = "proposed", "uniform", "proportional"

_NOT_ASKED = {"runs", "intended_budget"}  # of an experiment


class MixtureConfig(ExperimentConfig):
    """A search for the best mixture: `datasets` are mixed, and `evals` are the target.

    `minutes` are for all runs. Without `evals`, the target is the sources' held-out parts. `seeds`
    are those of the confirmation, and `max_epochs` is how often a run may read a source at most.
    """

    runs: int | None = Field(default=None, ge=1)  # on designed mixtures
    intended_budget: str | None = None  # that limits are for: of a larger run than the small ones
    rates: tuple[float, ...] = ()  # in the confirmation

    @field_validator("intended_budget")
    @classmethod
    def _is_in_bytes(cls, text: str | None) -> str | None:
        if text is not None and Budget.parse(text).unit != "bytes":
            raise ValueError(f"`intended_budget` is {text!r}. Write bytes of text: 100m bytes.")
        return text

    @model_validator(mode="after")
    def _can_be_mixed(self) -> Self:
        sources = len(self.datasets)
        if sources < 2:
            raise ValueError("A mixture needs two datasets or more.")
        if self.ingredients or any(dataset.mixture for dataset in self.datasets.values()):
            raise ValueError("What is mixed has `sources` of its own: no mixtures, no ingredients.")
        taken = {PROPOSED, UNIFORM, PROPORTIONAL, *(name for name, _ in design_rows(self))}
        twice = taken & self.datasets.keys()
        if twice:
            raise ValueError(f"`{min(twice)}` is what a mixture is called: rename the dataset.")
        if self.design_runs < fewest_runs(sources):
            raise ValueError(
                f"`runs` is {self.runs}, but {sources} datasets need {fewest_runs(sources)}."
            )
        return self

    @property
    def design_runs(self) -> int:
        """How many runs on designed mixtures there are."""
        return self.runs or usual_runs(len(self.datasets))

    @property
    def confirming_seeds(self) -> int:
        """How many runs of each mixture confirm."""
        return self.seeds or CONFIRMING_SEEDS


def design_rows(config: MixtureConfig) -> list[tuple[str, Floats]]:
    """Return name and weights of each mixture that is no source alone."""
    sources = len(config.datasets)
    rows = design(sources, config.design_runs, seed=config.seed)[sources:]
    return [(f"mix-{number:02d}", row) for number, row in enumerate(rows, 1)]


def weights_of(config: MixtureConfig, row: Floats) -> dict[str, float]:
    """Return the weight of each source."""
    return {name: float(weight) for name, weight in zip(config.datasets, row, strict=True)}


def _mixture(config: MixtureConfig, row: Floats) -> dict[str, Any]:
    """Return the settings of a dataset that is a mixture."""
    return {"mixture": {name: w for name, w in weights_of(config, row).items() if w > 0}}


def design_config(config: MixtureConfig) -> ExperimentConfig:
    """Return the experiment with a run on each source alone, and on each designed mixture."""
    settings = config.model_dump(exclude=_NOT_ASKED)
    mixtures = {name: _mixture(config, row) for name, row in design_rows(config)}
    minutes = None
    if config.budget is None:
        seeds = config.confirming_seeds
        confirming = 3 * (seeds + config.rate_runs(seeds))
        share = config.design_runs / (config.design_runs + confirming)
        minutes = round(share * (config.minutes or MINUTES), 3)
    changes = {"datasets": mixtures, "minutes": minutes, "seeds": 1, "rates": (), "race": False}
    return build(ExperimentConfig, settings, changes)


def confirming_config(
    config: MixtureConfig, folder: Path, mixtures: Mapping[str, Mapping[str, float]]
) -> ExperimentConfig:
    """Return the experiment that compares `mixtures`, at the size and budget of the design.

    `folder` is the design's. Weights and documents are drawn with another seed.
    """
    settings = read_yaml(folder / "experiment.yaml")
    sources = {name: settings["datasets"][name] for name in config.datasets}
    parts = {
        name: {"mixture": {source: w for source, w in weights.items() if w > 0}}
        for name, weights in mixtures.items()
    }
    changes = {
        "datasets": parts,
        "ingredients": sources,
        "seeds": config.confirming_seeds,
        "seed": config.seed + 1,
        "rates": config.rates,
        "race": config.race,
        "tokenizer": str(ExperimentDir(folder).tokenizer.absolute()),
    }
    return build(ExperimentConfig, {**settings, **changes})
