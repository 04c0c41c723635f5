"""What the runs of a search for the best mixture say, of design and confirmation: JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.errors import DataError
from seedbed.experiments.config import Budget
from seedbed.experiments.evidence import Evidence
from seedbed.experiments.jobs import load_all_scores
from seedbed.experiments.least_squares import Floats
from seedbed.experiments.mixture_config import (
    PROPORTIONAL,
    PROPOSED,
    UNIFORM,
    MixtureConfig,
    design_rows,
    weights_of,
)
from seedbed.experiments.mixture_fits import Choice, Noise, choose_model, noise_ceiling
from seedbed.experiments.mixture_search import Proposal, fewest_runs, limits, propose, rounded
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.results import Results, finite, to_json


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
    rows = dict(zip(config.datasets, np.eye(sources), strict=True)) | dict(design_rows(config))
    finished = list(evidence.runs())
    if len(finished) < fewest_runs(sources):
        raise DataError(
            f"{len(finished)} of {len(rows)} runs on mixtures have finished, but "
            f"{fewest_runs(sources)} are needed. What failed says why in {place.failed}."
        )
    lens, table = evidence.lens, evidence.table()
    if not lens.evals:
        raise DataError(
            "Too few documents of the target occur in none of the text that is mixed: give another "
            "--target, or more of it."
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
    most = weight_limits(config, plan)
    proposal = propose(choice.fit, runs.weights, runs.losses, runs.shares, most, seed=config.seed)
    sources = len(config.datasets)
    uniform = rounded(np.full(sources, 1 / sources))
    proportional = rounded(np.array(available) / sum(available))
    rivals = {PROPOSED: proposal.weights, UNIFORM: uniform, PROPORTIONAL: proportional}
    return {
        "sources": list(config.datasets),
        "target": runs.judged_on,
        "runs": [
            {"name": name, "weights": weights_of(config, row), "bits_per_byte": float(loss)}
            for name, row, loss in zip(runs.names, runs.weights, runs.observed, strict=True)
        ],
        "fit": _fit_facts(choice),
        "noise": {key: finite(value) for key, value in asdict(noise).items()},
        "proposal": _proposal_facts(config, plan, proposal, most),
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


def weight_limits(config: MixtureConfig, plan: Plan) -> Floats:
    """Return the largest weight of each source: (sources,). The plan is the design's.

    Raises DataError where there is too little text for any mixture.
    """
    available, budget = _available(config, plan), _limiting_budget(config, plan)
    most = limits(available, budget, config.max_epochs)
    if most.sum() < 1:
        raise DataError(
            f"All the text is {sum(available):,.0f} bytes, too little for {budget:,.0f} bytes "
            f"that repeat nothing more than {config.max_epochs:g} times. Give more text, a larger "
            "--max-epochs or a smaller --for-budget, and another --out."
        )
    return most


def _available(config: MixtureConfig, plan: Plan) -> list[float]:
    """Return how many bytes of each source there are to learn from."""
    return [float(plan.dataset(name).training_bytes) for name in config.datasets]


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
            "rank_correlation": finite(choice.rank_correlation),
            "regret": choice.regret,
        },
    }


def _proposal_facts(
    config: MixtureConfig, plan: Plan, proposal: Proposal, most: Floats
) -> dict[str, Any]:
    budget = _limiting_budget(config, plan)
    epochs = proposal.weights * budget / np.array(_available(config, plan))
    return {
        "weights": weights_of(config, proposal.weights),
        "low": weights_of(config, proposal.low),
        "high": weights_of(config, proposal.high),
        "limits": weights_of(config, most),
        "epochs": weights_of(config, epochs),
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
        weights = weights_of(config, row)
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


def confirmation_facts(results: Results) -> dict[str, Any]:
    """Return what the confirmation found, and how much worse the proposal is than the best."""
    whole = to_json(results)
    kept = ("verdict", "ranking", "pairs", "datasets", "seed_sd", "judged_on", "warnings")
    scores = {dataset.name: dataset.score for dataset in results.datasets}
    regret = scores[PROPOSED] - min(scores.values()) if PROPOSED in scores else None
    return {**{key: whole[key] for key in kept}, "regret": regret}
