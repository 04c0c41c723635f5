"""What can be said of a comparison of datasets. No torch.

None means "chosen for you": the plan says what it was.
"""

# pyright: strict

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from seedbed.config import Settings, Tree
from seedbed.data.cleaning import Dedup
from seedbed.data.dataset_texts import dataset_names
from seedbed.data.filters import Filters
from seedbed.errors import did_you_mean
from seedbed.model.config import ModelSettings
from seedbed.training.config import OptimizerSettings, ScheduleSettings

BudgetUnit = Literal["bytes", "tokens", "flops", "epochs"]
MINUTES = 20.0  # of an experiment of which neither budget nor minutes are said
_NAME = re.compile(r"\w[\w.+-]*")  # of a dataset or an evaluation set: it becomes a file's name


@dataclass(frozen=True)
class Budget:
    """How much each run learns from. Bytes are of text, however many tokens they become."""

    amount: float
    unit: BudgetUnit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget that a text such as "2m bytes" or "3 epochs" says.

        >>> Budget.parse("1.5m bytes")
        Budget(amount=1500000.0, unit='bytes')
        """
        match = re.fullmatch(
            r"(\d[\d_,]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*([kmgbt]?)\s+(byte|token|flop|epoch)s?",
            text.strip().lower(),
        )
        amount = float(re.sub("[_,]", "", match[1])) if match else 0.0
        if not match or amount <= 0:
            raise ValueError(
                f"`budget` is {text!r}. Write what each run learns from: 2m bytes, 500k tokens, "
                "1e13 flops or 3 epochs."
            )
        scale = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}[match[2]]
        return cls(amount * scale, cast(BudgetUnit, f"{match[3]}s"))


def _names(value: object) -> object:
    """Return one source as a list of it; what is not text, as it is."""
    return (value,) if isinstance(value, str) else value


Sources = Annotated[tuple[str, ...], BeforeValidator(_names)]


class DatasetSettings(Settings):
    """One dataset: sources of `prepare`, or a prepared folder; or a mixture of other datasets."""

    sources: Sources = ()
    # The share of each other dataset, in bytes of text.
    mixture: dict[str, float] = Field(default_factory=dict[str, float])
    filters: Filters = Filters()  # of the sources

    @model_validator(mode="before")
    @classmethod
    def _sources_alone(cls, given: Any) -> Any:
        if isinstance(given, str | list | tuple):
            return {"sources": cast(object, given)}
        return given

    @model_validator(mode="after")
    def _is_one_of_the_two(self) -> Self:
        if bool(self.sources) == bool(self.mixture):
            raise ValueError("A dataset has either `sources` or a `mixture` of other datasets.")
        if any(weight <= 0 for weight in self.mixture.values()):
            raise ValueError("The weights of a `mixture` are above zero: leave out what has none.")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The mixture's weights, as shares of one."""
        total = sum(self.mixture.values())
        return {name: weight / total for name, weight in self.mixture.items()}


class ExperimentConfig(Settings):
    """One comparison of datasets.

    `budget` is what each run learns from; without it, `minutes` decide, and choose the model and
    the seeds too where they are not given.

    >>> config = ExperimentConfig(datasets={"a": "a.txt", "b": ["b.txt", "c.txt"]})
    >>> config.datasets["b"].sources
    ('b.txt', 'c.txt')
    """

    datasets: dict[str, DatasetSettings] = Field(min_length=1)  # what is compared
    # What mixtures are made of, not compared itself.
    ingredients: dict[str, DatasetSettings] = Field(default_factory=dict[str, DatasetSettings])
    # Texts to judge by, beside each dataset's own held-out part.
    evals: dict[str, Sources] = Field(default_factory=dict[str, Sources])
    eval_bytes: int = Field(default=200_000, gt=0)  # of each of them, at most
    tasks: tuple[str, ...] = ()  # kinds made of the evaluation texts, or folders of items
    task_items: int = Field(default=100, gt=0)  # of each kind and text, at most
    model: ModelSettings = ModelSettings()
    budget: str | None = None  # such as 2m bytes: the same for each run
    minutes: float | None = Field(default=None, gt=0)  # of this machine, for all runs
    seeds: int | None = Field(default=None, ge=1)  # runs of each dataset
    seed: int = Field(default=0, ge=0)  # what all random choices follow from
    max_epochs: float = Field(default=4.0, gt=0)  # of a part; beyond, replicates share all of it
    rates: tuple[float, ...] = (0.5, 2.0)  # multiples of the learning rates, to check the ranking
    rate_seeds: int = Field(default=1, ge=1)  # runs of each dataset at each of them
    race: bool = False  # seed by seed: datasets that cannot be the best any more leave
    margin: float = Field(default=0.01, gt=0)  # bits per byte: less is no difference that matters
    alpha: float = Field(default=0.05, gt=0, lt=0.5)  # the chance of a false verdict, over all
    seed_sd: float = Field(default=0.010, gt=0)  # bits per byte between seeds: what is planned with
    tokenizer: str = "bpe"  # a kind that `prepare` knows, or a path
    vocab_size: int = Field(default=1024, gt=0)
    dedup: Dedup = "exact"
    text_field: str = "text"
    document_separator: str | None = Field(default=None, min_length=1)
    batch_size: int | None = Field(default=None, gt=0)  # sequences in a step
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "cpu"

    @field_validator("budget")
    @classmethod
    def _budget_is_understood(cls, text: str | None) -> str | None:
        if text is not None:
            Budget.parse(text)
        return text

    @field_validator("rates")
    @classmethod
    def _rates_are_others(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if any(rate <= 0 or rate == 1 for rate in rates) or len(set(rates)) < len(rates):
            raise ValueError(
                f"`rates` is {list(rates)}: write different multiples of the learning rates, above "
                "zero and not 1, which is always run."
            )
        return rates

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name in [*self.datasets, *self.ingredients, *self.evals]:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"`{name}` is no name for a dataset. Use letters, digits and . _ + -"
                )
        texts = self.texts
        twice = (self.datasets.keys() & self.ingredients.keys()) | (texts.keys() & self.evals)
        if twice:
            raise ValueError(f"`{min(twice)}` names two texts: rename one.")
        for name, dataset in [*self.datasets.items(), *self.ingredients.items()]:
            for part in dataset.mixture:
                if part not in texts:
                    raise ValueError(
                        f"`{name}` is a mixture with `{part}`, which has no sources here."
                        f"{did_you_mean(part, texts)}"
                    )
        return self

    @model_validator(mode="after")
    def _one_says_how_long(self) -> Self:
        if self.budget is not None and self.minutes is not None:
            raise ValueError("`budget` and `minutes` both say how long to train: give one.")
        return self

    def rate_runs(self, seeds: int) -> int:
        """Return how many runs of a dataset with `seeds` check the ranking at other rates."""
        return len(self.rates) * min(self.rate_seeds, seeds)

    @property
    def texts(self) -> dict[str, DatasetSettings]:
        """The datasets and ingredients that have sources of their own."""
        both = {**self.datasets, **self.ingredients}
        return {name: dataset for name, dataset in both.items() if dataset.sources}


def settings_of_sources(sources: Sequence[str], evals: Sequence[str] = ()) -> Tree:
    """Return the settings for datasets that are one SOURCE each, named after their files.

    >>> settings_of_sources(["texts/a.txt", "sample:stories:60"], ["b.txt"])
    {'datasets': {'a': ['texts/a.txt'], 'sample-stories-60': ['sample:stories:60']}, \
'evals': {'b': ['b.txt']}}
    """
    names = _file_names(dataset_names(sources))
    eval_names = _file_names(dataset_names([*sources, *evals])[len(sources) :], taken=names)
    return {
        "datasets": {name: [source] for name, source in zip(names, sources, strict=True)},
        "evals": {name: [source] for name, source in zip(eval_names, evals, strict=True)},
    }


def _file_names(long_names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return for each name a different one that a file can have, none of them taken."""
    names = list(taken)
    for long_name in long_names:
        name = re.sub(r"[^\w.+-]+", "-", long_name).strip("-.+") or "text"
        numbered = (f"{name}-{number}" for number in count(2))
        names.append(name if name not in names else next(n for n in numbered if n not in names))
    return names[len(taken) :]
