"""The same comparison at several sizes and budgets, and what that foretells of larger ones.

DIR/request.json   as asked
DIR/rungs/NAME/    an experiment of `compare` for each size and budget
DIR/results.json   what was found; summary.txt says it in words

The verdict is that of the largest size and budget. What lies beyond is foretold, not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, model_validator

from seedbed.config import build, read_yaml
from seedbed.errors import DataError
from seedbed.experiments.compare import compare, plan_comparison
from seedbed.experiments.config import MINUTES, Budget, ExperimentConfig
from seedbed.experiments.executors import ExecutorName
from seedbed.experiments.ladder_fits import (
    PARAMETERS,
    WIDEST_EXPONENTS,
    Ladder,
    ScalingLaw,
    back_test,
    bootstrap_laws,
    fit_scaling_law,
    foretell,
    foretell_order,
)
from seedbed.experiments.ladder_words import ladder_in_words
from seedbed.experiments.least_squares import Floats
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.requests import follow_tokenizer, keep_request
from seedbed.experiments.results import Results, to_json
from seedbed.experiments.wording import listed
from seedbed.files import write_json, write_text
from seedbed.model.config import parse_size

FEWEST_SIZES, FEWEST_BUDGETS = 3, 2
BUDGET_SHARES = 0.25, 0.5, 1.0  # of the largest, where minutes decide
SEEDS = 3
MOST_EPOCHS = 4  # of a text, after which reading it again teaches much less
_BEYOND = 4  # times the largest size and budget, unless it is said

Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda text: text.split(",") if isinstance(text, str) else text),
    AfterValidator(lambda names: tuple(name.strip() for name in names)),
]


class LadderConfig(ExperimentConfig):
    """Datasets at several sizes of the model and several budgets in bytes of text.

    `minutes` are for all runs; they, or `budgets`, decide how much the runs read.
    """

    sizes: Names  # parameters of the models: 50k, 100k, 200k
    budgets: Names = ()  # what runs learn from, such as 1m bytes
    to_size: str | None = None  # the parameters to foretell the loss of; None: four times the most
    to_budget: str | None = None  # and the budget
    rates: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _is_a_ladder(self) -> Self:
        sizes = {parse_size(size) for size in self.sizes}
        if len(sizes) < max(FEWEST_SIZES, len(self.sizes)):
            raise ValueError(
                f"`sizes` is {', '.join(self.sizes)}. Give three or more, all different, as in "
                "50k,100k,200k: with fewer, no law can be fitted."
            )
        if self.to_size is not None:
            parse_size(self.to_size)
        if self.model.size or self.model.d_model or self.model.num_layers:
            raise ValueError("`sizes` say how large the models are: leave out `model`'s size.")
        if self.budget is not None or (self.budgets and self.minutes is not None):
            raise ValueError("Runs learn from one of `budgets` each, or `minutes` decide.")
        budgets = [Budget.parse(text) for text in self.budgets]
        if any(budget.unit != "bytes" for budget in [*budgets, *self._aim]):
            raise ValueError("The budgets of a ladder are bytes of text, as in 1m bytes.")
        amounts = {budget.amount for budget in budgets}
        if budgets and len(amounts) < max(FEWEST_BUDGETS, len(budgets)):
            raise ValueError(
                f"`budgets` is {', '.join(self.budgets)}. Give two or more, all different."
            )
        return self

    @property
    def _aim(self) -> list[Budget]:
        return [Budget.parse(self.to_budget)] if self.to_budget else []


_TARGET = {"to_size", "to_budget"}  # no run depends on them: a finished ladder can be asked anew
_NOT_ASKED = {"sizes", "budgets", *_TARGET}  # of an experiment


@dataclass(frozen=True)
class Rung:
    """A size and a budget: an experiment."""

    name: str  # its folder's
    size: str
    budget: float  # bytes


def climb(
    config: LadderConfig,
    out: Path,
    *,
    executor: ExecutorName = "local",
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    announce: Callable[[Sequence[Rung], Plan], object] = lambda _rungs, _top: None,
    quiet: bool = False,
) -> dict[str, Any] | None:
    """Return the verdict at the top of a ladder, and what it foretells; None when stopped.

    `announce` gets the rungs, and the plan of the last and largest, before the runs begin. What is
    returned is in `out`/results.json, which depends on no worker or executor. A ladder that was
    stopped or killed goes on where it was, and a finished one foretells another size or budget.
    Raises ConfigError when `out` holds something else, DataError for text that cannot be used or
    when a dataset has too few runs.
    """
    with ExperimentDir(out).lock():
        keep_request(out, "ladder", config, may_change=_TARGET)
        folder = top_folder(config, out)
        top = plan_comparison(top_config(config), folder, workers=workers, quiet=quiet)
        rungs = find_rungs(config, folder)
        announce(rungs, top)
        found: list[Results] = []
        for rung in rungs:
            asked = rung_config(config, rung, folder)
            follow_tokenizer(out / "rungs" / rung.name, asked.tokenizer)
            results = compare(
                asked,
                out / "rungs" / rung.name,
                executor=executor,
                workers=workers,
                options=options,
                report=rung is rungs[-1],
                quiet=quiet,
            )
            if results is None:
                return None
            found.append(results)
        told = extrapolate(config, rungs, found)
        write_text(out / "summary.txt", "\n".join(ladder_in_words(told)) + "\n")
        write_json(out / "results.json", told)
        return told


def top_folder(config: LadderConfig, out: Path) -> Path:
    """Return the folder of the largest size and budget."""
    budgets = len(config.budgets) or len(BUDGET_SHARES)
    return out / "rungs" / _rung_name(max(config.sizes, key=parse_size), budgets)


def _rung_name(size: str, number: int) -> str:
    return f"{size}.b{number}"


def top_config(config: LadderConfig) -> ExperimentConfig:
    """Return the experiment with the largest size and budget, which `minutes` may decide."""
    size = max(config.sizes, key=parse_size)
    if config.budgets:
        budget = max(config.budgets, key=lambda text: Budget.parse(text).amount)
        return _experiment(config, size, budget=budget)
    largest = parse_size(size)
    cost = sum(parse_size(s) / largest * share for s, share in product(config.sizes, BUDGET_SHARES))
    return _experiment(config, size, minutes=round((config.minutes or MINUTES) / cost, 3))


def find_rungs(config: LadderConfig, top: Path) -> list[Rung]:
    """Return the rungs, the largest last; `top` is the folder of that one, planned."""
    amount = Budget.parse(read_yaml(top / "experiment.yaml")["budget"]).amount
    amounts = [float(round(amount * share)) for share in BUDGET_SHARES]
    if config.budgets:
        amounts = sorted(Budget.parse(text).amount for text in config.budgets)
    return [
        Rung(_rung_name(size, number), size, budget)
        for size in sorted(config.sizes, key=parse_size)
        for number, budget in enumerate(amounts, 1)
    ]


def rung_config(config: LadderConfig, rung: Rung, top: Path) -> ExperimentConfig:
    """Return the experiment of a rung, with the tokenizer of the top."""
    if rung.name == top.name:
        return top_config(config)
    tokenizer = str(ExperimentDir(top).tokenizer.absolute())
    return _experiment(config, rung.size, budget=f"{rung.budget:.12g} bytes", tokenizer=tokenizer)


def _experiment(config: LadderConfig, size: str, **changes: Any) -> ExperimentConfig:
    settings = config.model_dump(exclude=_NOT_ASKED | {"minutes"})
    always = {"model": {"size": size}, "seeds": config.seeds or SEEDS, "race": False}
    return build(ExperimentConfig, settings, always, changes)


def extrapolate(
    config: LadderConfig, rungs: Sequence[Rung], found: Sequence[Results]
) -> dict[str, Any]:
    """Return the verdict of the last rung, the laws of all, and what they foretell: JSON values.

    Raises DataError where a dataset has too few cells with finished runs.
    """
    top = found[-1]
    ladders = {name: _ladder(name, found) for name in top.ranking}
    laws = {name: fit_scaling_law(ladder) for name, ladder in ladders.items()}
    draws = {
        name: bootstrap_laws(ladder, seed=config.seed + number)
        for number, (name, ladder) in enumerate(ladders.items())
    }
    size = float(parse_size(config.to_size) if config.to_size else _BEYOND * top.plan["parameters"])
    amount = _BEYOND * rungs[-1].budget
    if config.to_budget:
        amount = Budget.parse(config.to_budget).amount
    pairs = foretell_order(laws, draws, size, amount, config.alpha)
    whole = to_json(top)
    datasets: dict[str, Any] = {}
    for name, ladder in ladders.items():
        datasets[name] = {
            "law": asdict(laws[name]),
            "law_intervals": _law_intervals(draws[name], config.alpha),
            "rmse": float(np.sqrt(np.mean(np.square(_misses(laws[name], ladder))))),
            "back_test": _back_test(ladder, config.alpha),
            "foretold": asdict(foretell(laws[name], draws[name], size, amount, config.alpha)),
        }
    return {
        **{key: whole[key] for key in ("verdict", "ranking", "pairs", "judged_on", "alpha")},
        "rungs": [_rung_facts(rung, results) for rung, results in zip(rungs, found, strict=True)],
        "datasets": datasets,
        "foretold_at": {"parameters": size, "bytes": amount},
        "foretold_ranking": sorted(datasets, key=lambda n: datasets[n]["foretold"]["predicted"]),
        "foretold_pairs": [asdict(pair) for pair in pairs],
        "warnings": [*whole["warnings"], *_warnings(top, datasets, amount)],
    }


def _ladder(name: str, found: Sequence[Results]) -> Ladder:
    sizes: list[float] = []
    amounts: list[float] = []
    runs: list[Floats] = []
    for results in found:
        scores = {dataset.name: dataset.scores for dataset in results.datasets}
        facts = {dataset["name"]: dataset for dataset in results.plan["datasets"]}
        if name in scores:
            sizes.append(float(results.plan["parameters"]))
            amounts.append(float(facts[name]["bytes_per_run"]))
            runs.append(np.array(scores[name]))
    if len(runs) <= PARAMETERS or len(set(sizes)) < FEWEST_SIZES:
        raise DataError(
            f"`{name}` has finished runs at {len(runs)} sizes and budgets, too few to fit a law of "
            f"{PARAMETERS} numbers."
        )
    return Ladder(np.array(sizes), np.array(amounts), runs)


def _law_intervals(draws: Sequence[ScalingLaw], alpha: float) -> dict[str, list[float]]:
    values = [asdict(law) for law in draws]
    ends = [alpha / 2, 1 - alpha / 2]
    return {key: np.quantile([v[key] for v in values], ends).tolist() for key in values[0]}


def _misses(law: ScalingLaw, ladder: Ladder) -> Floats:
    return law(ladder.sizes, ladder.amounts) - ladder.losses


def _back_test(ladder: Ladder, alpha: float) -> dict[str, Any] | None:
    tested = back_test(ladder, alpha)
    return tested and {"observed": tested[0], **asdict(tested[1])}


def _rung_facts(rung: Rung, results: Results) -> dict[str, Any]:
    return {
        "name": rung.name,
        "parameters": results.plan["parameters"],
        "budget": results.plan["budget"],
        "ranking": results.ranking,
        "scores": {dataset.name: dataset.scores for dataset in results.datasets},
    }


def _warnings(top: Results, datasets: Mapping[str, Any], amount: float) -> list[str]:
    told: list[str] = []
    tests = {name: facts["back_test"] for name, facts in datasets.items() if facts["back_test"]}
    missed = [n for n, t in tests.items() if not t["low"] <= t["observed"] <= t["high"]]
    if missed:
        told.append(
            f"Foretold from the other cells, the loss at the top of the ladder of {listed(missed)} "
            "is not in its interval: intervals beyond the ladder are too narrow."
        )
    least, most = WIDEST_EXPONENTS
    loose = [
        name
        for name, facts in datasets.items()
        for exponent in (facts["law"]["alpha"], facts["law"]["beta"])
        if not 1.01 * least < exponent < 0.99 * most
    ]
    if loose:
        told.append(
            f"The runs of {listed(list(dict.fromkeys(loose)))} do not determine a law: an exponent "
            "is at its bound. Sizes and budgets farther apart would help."
        )
    small = [
        dataset["name"]
        for dataset in top.plan["datasets"]
        if not dataset["mixture"] and dataset["training_bytes"] * MOST_EPOCHS < amount
    ]
    if small:
        told.append(
            f"{listed(small)} would be read more than {MOST_EPOCHS} times: the law is of new text, "
            "and foretells too low a loss there."
        )
    return told
