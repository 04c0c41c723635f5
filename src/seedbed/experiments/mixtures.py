"""The best mixture of some datasets for a target: small runs on mixtures, a fit, a confirmation.

DIR/request.json   as asked
DIR/design/        an experiment: one run on each designed mixture, the sources alone among them
DIR/fit.json       what these runs say, and the mixture that is proposed; written once
DIR/confirm/       an experiment: the proposal against others, with fresh seeds and documents
DIR/results.json   both together; summary.txt says it in words
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from seedbed.config import build, read_yaml
from seedbed.errors import DataError
from seedbed.experiments.compare import compare, plan_comparison
from seedbed.experiments.config import MINUTES, Budget, ExperimentConfig
from seedbed.experiments.evidence import Evidence
from seedbed.experiments.executors import ExecutorName, run_jobs
from seedbed.experiments.jobs import load_all_scores
from seedbed.experiments.least_squares import Floats
from seedbed.experiments.mixture_fits import Choice, Noise, choose_model, noise_ceiling
from seedbed.experiments.mixture_search import (
    Proposal,
    design,
    fewest_runs,
    limits,
    propose,
    rounded,
    usual_runs,
)
from seedbed.experiments.mixture_words import mixture_in_words
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.requests import keep_request
from seedbed.experiments.results import Results, to_json
from seedbed.files import held_alone, read_json, write_json, write_text

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
        taken = {PROPOSED, UNIFORM, PROPORTIONAL, *(name for name, _ in _design_rows(self))}
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


def _design_rows(config: MixtureConfig) -> list[tuple[str, Floats]]:
    """Return name and weights of each mixture that is no source alone."""
    sources = len(config.datasets)
    rows = design(sources, config.design_runs, seed=config.seed)[sources:]
    return [(f"mix-{number:02d}", row) for number, row in enumerate(rows, 1)]


def _weights(config: MixtureConfig, row: Floats) -> dict[str, float]:
    return {name: float(weight) for name, weight in zip(config.datasets, row, strict=True)}


def _mixture(config: MixtureConfig, row: Floats) -> dict[str, Any]:
    """Return the settings of a dataset that is a mixture."""
    return {"mixture": {name: w for name, w in _weights(config, row).items() if w > 0}}


def design_config(config: MixtureConfig) -> ExperimentConfig:
    """Return the experiment with a run on each source alone, and on each designed mixture."""
    settings = config.model_dump(exclude=_NOT_ASKED)
    mixtures = {name: _mixture(config, row) for name, row in _design_rows(config)}
    minutes = None
    if config.budget is None:
        confirming = 3 * (config.confirming_seeds + len(config.rates))
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


def mix(
    config: MixtureConfig,
    out: Path,
    *,
    executor: ExecutorName = "local",
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    announce: Callable[[Plan], object] = lambda _: None,
    quiet: bool = False,
) -> dict[str, Any] | None:
    """Return the best mixture of some datasets, and how sure that is; None when stopped on request.

    `announce` gets the plan of each of the two experiments before its runs begin. What is returned
    is in `out`/results.json, which depends on no worker or executor. A search that was stopped or
    killed goes on where it was. Raises ConfigError when `out` holds something else, DataError for
    text that cannot be used or runs that failed.
    """
    busy = DataError(f"{out} is in use by another process. Wait for it, or choose another --out.")
    with held_alone(out / ".lock", otherwise=busy):
        keep_request(out, "mixture", config)
        folder, fit_file = out / "design", out / "fit.json"
        if not fit_file.is_file():
            plan = plan_comparison(design_config(config), folder, workers=workers, quiet=quiet)
            announce(plan)
            outcome = run_jobs(
                folder, executor=executor, workers=workers, options=options, quiet=quiet
            )
            if outcome.stopped:
                return None
            write_json(fit_file, fit_runs(config, folder))
        found: dict[str, Any] = read_json(fit_file)
        confirmed = compare(
            confirming_config(config, folder, found["confirmed_mixtures"]),
            out / "confirm",
            executor=executor,
            workers=workers,
            options=options,
            announce=announce,
            quiet=quiet,
        )
        if confirmed is None:
            return None
        results = {**found, "confirmation": _confirmation(confirmed)}
        write_text(out / "summary.txt", "\n".join(mixture_in_words(results)) + "\n")
        write_json(out / "results.json", results)
        return results


@dataclass(frozen=True)
class _Runs:
    """The finished runs of a design."""

    names: list[str]
    weights: Floats  # (runs, sources)
    losses: Floats  # bits per byte: (runs, documents)
    shares: Floats  # of each document in the target: (documents,)
    judged_on: dict[str, Any]

    @property
    def observed(self) -> Floats:
        """The loss of each run on the target: (runs,)."""
        return self.losses @ self.shares


def _read_runs(config: MixtureConfig, plan: Plan, folder: Path) -> _Runs:
    """Return the finished runs of the design. Raises DataError where they are too few."""
    place = ExperimentDir(folder)
    kept = {e.name: ~place.contaminated(e.name) for e in plan.evals}
    evidence = Evidence(plan, load_all_scores(folder, plan), kept)
    sources = len(config.datasets)
    rows = dict(zip(config.datasets, np.eye(sources), strict=True)) | dict(_design_rows(config))
    finished = list(evidence.runs())
    if len(finished) < fewest_runs(sources):
        raise DataError(
            f"{len(finished)} of {len(rows)} runs on mixtures have finished, but "
            f"{fewest_runs(sources)} are needed. What failed says why in {place.failed}."
        )
    lens, table = evidence.lens, evidence.table()
    if not lens.evals:
        raise DataError(
            "Every document of the target occurs in the text that is mixed: give another --target."
        )
    columns = [table.evals.index(name) for name in lens.evals]
    return _Runs(
        names=finished,
        weights=np.stack([rows[name] for name in finished]),
        losses=np.concatenate([table.bits[at] / table.bytes[at] for at in columns], axis=1),
        shares=np.concatenate([table.bytes[at] / table.bytes[at].sum() for at in columns])
        / len(columns),
        judged_on={"mode": lens.mode, "evals": lens.evals},
    )


def fit_runs(config: MixtureConfig, folder: Path) -> dict[str, Any]:
    """Return what the finished runs of a design say, and the mixtures to confirm, as JSON values.

    Raises DataError where too few runs have finished, or where there is too little text.
    """
    plan = ExperimentDir(folder).read_plan()
    runs = _read_runs(config, plan, folder)
    choice = choose_model(runs.weights, runs.losses, runs.shares)
    truth = choice.fit(runs.weights)
    noise = noise_ceiling(runs.weights, runs.observed, truth, seed=config.seed)
    available = _available(config, plan)
    budget = _limiting_budget(config, plan)
    most = limits(available, budget, config.max_epochs)
    if most.sum() < 1:
        raise DataError(
            f"All the text is {sum(available):,.0f} bytes, too little for {budget:,.0f} bytes "
            f"that repeat nothing more than {config.max_epochs:g} times. Give more text, or a "
            "larger --max-epochs."
        )
    proposal = propose(choice.fit, runs.weights, runs.losses, runs.shares, most, seed=config.seed)
    sources = len(config.datasets)
    uniform = rounded(np.full(sources, 1 / sources))
    proportional = rounded(np.array(available) / sum(available))
    rivals = {PROPOSED: proposal.weights, UNIFORM: uniform, PROPORTIONAL: proportional}
    return {
        "sources": list(config.datasets),
        "target": runs.judged_on,
        "runs": [
            {"name": name, "weights": _weights(config, row), "bits_per_byte": float(loss)}
            for name, row, loss in zip(runs.names, runs.weights, runs.observed, strict=True)
        ],
        "fit": _fit_facts(choice),
        "noise": {key: _number(value) for key, value in asdict(noise).items()},
        "proposal": _proposal_facts(config, proposal, most, available, budget),
        "predictions": {n: float(choice.fit(row[None])[0]) for n, row in rivals.items()},
        "confirmed_mixtures": _different(config, rivals),
        "design": {
            "version": plan.version,
            "model": plan.model.model_dump(mode="json"),
            "parameters": plan.parameters,
            "budget": plan.budget,
        },
        "warnings": _warnings(config, plan, runs, choice, noise),
    }


def _available(config: MixtureConfig, plan: Plan) -> list[float]:
    """Return how many bytes of each source there are to learn from."""
    held_out = {e.origin: e.bytes for e in plan.evals}
    return [float(plan.dataset(name).found_bytes - held_out[name]) for name in config.datasets]


def _limiting_budget(config: MixtureConfig, plan: Plan) -> float:
    """Return how many bytes the run reads that limits are for."""
    if config.intended_budget is not None:
        return Budget.parse(config.intended_budget).amount
    return float(max(facts.bytes_per_run for facts in plan.datasets))


def _fit_facts(choice: Choice) -> dict[str, Any]:
    return {
        "model": choice.fit.name,
        "kinds": len(choice.fit.curves),
        "cross_validation_rmse": choice.errors,
        "held_out": {
            "rmse": choice.rmse,
            "rank_correlation": _number(choice.rank_correlation),
            "regret": choice.regret,
        },
    }


def _proposal_facts(
    config: MixtureConfig,
    proposal: Proposal,
    most: Floats,
    available: list[float],
    budget: float,
) -> dict[str, Any]:
    epochs = proposal.weights * budget / np.array(available)
    return {
        "weights": _weights(config, proposal.weights),
        "low": _weights(config, proposal.low),
        "high": _weights(config, proposal.high),
        "limits": _weights(config, most),
        "epochs": _weights(config, epochs),
        "budget_bytes": budget,
        "max_epochs": config.max_epochs,
        "predicted": proposal.predicted,
        "predicted_low": proposal.predicted_low,
        "predicted_high": proposal.predicted_high,
        "expected_regret": proposal.expected_regret,
        "largest_regret": proposal.largest_regret,
    }


def _different(
    config: MixtureConfig, mixtures: Mapping[str, Floats]
) -> dict[str, dict[str, float]]:
    """Return the mixtures by name, without those that are the same as one before."""
    kept: dict[str, dict[str, float]] = {}
    for name, row in mixtures.items():
        weights = _weights(config, row)
        if weights not in kept.values():
            kept[name] = weights
    return kept


def _warnings(
    config: MixtureConfig, plan: Plan, runs: _Runs, choice: Choice, noise: Noise
) -> list[str]:
    """Return what a reader of the proposal has to know."""
    told: list[str] = []
    missing = config.design_runs - len(runs.names)
    if missing:
        told.append(f"{missing} of {config.design_runs} runs on mixtures failed and are left out.")
    told += [
        f"{e.dropped} of the {e.documents} documents of the target `{e.name}` occur in the text "
        "that is mixed, and are left out."
        for e in plan.evals
        if e.dropped and e.name in runs.judged_on["evals"]
    ]
    if not choice.rank_correlation > 0.5:
        told.append(
            "The fit ranks unseen mixtures badly: the proposal is little more than a guess. More "
            "--runs, or more --minutes, would help."
        )
    spread = float(runs.observed.std(ddof=1))
    if spread < 2 * noise.sd:
        told.append("Mixtures differ by little more than runs of one mixture do.")
    return told


def _confirmation(results: Results) -> dict[str, Any]:
    """Return what the confirmation found, and how much worse the proposal is than the best."""
    whole = to_json(results)
    kept = ("verdict", "ranking", "pairs", "datasets", "seed_sd", "judged_on", "warnings")
    scores = {dataset.name: dataset.score for dataset in results.datasets}
    regret = scores[PROPOSED] - min(scores.values()) if PROPOSED in scores else None
    return {**{key: whole[key] for key in kept}, "regret": regret}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
