"""The plan, from what was found and decided: the runs, what each sees, and what to be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import comb
from pathlib import Path

import torch

import seedbed
from seedbed.data.prepared import open_dataset
from seedbed.errors import DataError, how_to_install
from seedbed.experiments.budgets import Size, batch_size_for, optimizer_for, waves_of
from seedbed.experiments.config import Budget, ExperimentConfig
from seedbed.experiments.plan import (
    FEWEST_KEPT,
    DatasetFacts,
    EvalSet,
    ExperimentDir,
    Job,
    Plan,
    TaskSet,
)
from seedbed.experiments.portions import ALL, Portion
from seedbed.experiments.racing import looks_of
from seedbed.experiments.texts import Found, can_sketch
from seedbed.experiments.wording import listed
from seedbed.statistics import PooledVariance, minimum_detectable_difference
from seedbed.tokenizers.load import load_tokenizer
from seedbed.training.precision import choose_precision

FEW_EVAL_DOCUMENTS = 20
UNEQUAL_TOKENIZER = 1.1
_ADVICE = (
    " Where datasets are versions of one text, each has what is held out of the others: give text "
    "that none of them has with --eval (--target for a mixture)."
)


def make_facts(
    config: ExperimentConfig,
    found: Found,
    size: Size,
    parts: Sequence[Portion],
    tasks: Sequence[TaskSet],
    place: ExperimentDir,
    workers: int,
) -> Plan:
    """Return the plan, once the parts are prepared."""
    by_dataset = {name: [p for p in parts if p.dataset == name] for name in config.datasets}
    totals = [_totals(place, own) for own in by_dataset.values()]
    tokens = sum(t[2] for t in totals) / max(1, sum(map(len, by_dataset.values())))
    ratio = sum(t[1] for t in totals) / sum(t[2] for t in totals)
    batch_size = batch_size_for(config, size.shape, size.tokens(ratio, tokens))
    datasets = [
        _dataset(config, found, size, own, place, batch_size * size.shape.context_length)
        for own in by_dataset.values()
    ]
    evals = [_eval(config, found, name) for name in _judged(config, found)]
    jobs = _jobs(config, size.seeds, datasets)
    mean_steps = sum(facts.steps for facts in datasets) // len(datasets)
    seconds = waves_of(config, size.seeds, workers) * size.seconds_per_job
    tokenizer = load_tokenizer(place.tokenizer)
    return Plan(
        version=seedbed.__version__,
        datasets=datasets,
        evals=evals,
        tasks=list(tasks),
        tokenizer=tokenizer.kind,
        tokenizer_bytes=found.tokenizer_bytes,
        model=size.shape,
        parameters=size.shape.parameters.total,
        budget=f"{size.budget.amount:,.12g} {size.budget.unit}",
        batch_size=batch_size,
        optimizer=optimizer_for(config, size.shape, mean_steps),
        schedule=config.schedule,
        precision=choose_precision(config.precision, torch.device(config.device)),
        device=config.device,
        seeds=size.seeds,
        seed=config.seed,
        rates=list(config.rates),
        jobs=jobs,
        shared_documents=any(not facts.parts_are_disjoint for facts in datasets),
        alpha=config.alpha,
        margin=config.margin,
        seed_sd=config.seed_sd,
        minimum_detectable_difference=detectable(config, size.seeds),
        seconds_per_job=round(size.seconds_per_job, 1),
        workers=workers,
        minutes_expected=round(seconds / 60, 1),
        warnings=warnings(config, found, datasets, evals),
    )


def _totals(place: ExperimentDir, parts: Sequence[Portion]) -> tuple[int, int, int]:
    """Return documents, bytes and tokens of all parts of a dataset."""
    found = [_manifest(place.data(p.dataset, p.part))["train"] for p in parts]
    documents, size, tokens = (
        sum(part[key] for part in found) for key in ("documents", "bytes", "tokens")
    )
    return documents, size, tokens


def _manifest(folder: Path) -> dict[str, dict[str, int]]:
    return open_dataset(folder, verify=False).manifest


def _dataset(
    config: ExperimentConfig,
    found: Found,
    size: Size,
    parts: Sequence[Portion],
    place: ExperimentDir,
    tokens_per_step: int,
) -> DatasetFacts:
    name = parts[0].dataset
    settings = config.datasets[name]
    documents, num_bytes, tokens = _totals(place, parts)
    ratio, part_tokens = num_bytes / tokens, tokens / len(parts)
    steps = max(1, round(size.tokens(ratio, part_tokens) / tokens_per_step))
    seen = steps * tokens_per_step
    text = found.texts.get(name)
    return DatasetFacts(
        name=name,
        sources=settings.sources,
        mixture=settings.shares,
        found_documents=text.documents if text else 0,
        found_bytes=found.contents[name].bytes if text else 0,
        training_bytes=found.training[name].bytes if text else 0,
        drops=dict(text.drops.counts) if text else {},
        documents=documents,
        bytes=num_bytes,
        tokens=tokens,
        bytes_per_token=round(ratio, 4),
        parts=len(parts),
        parts_are_disjoint=parts[0].part != ALL,
        steps=steps,
        tokens_per_run=seen,
        bytes_per_run=round(seen * ratio),
        flops_per_run=float(seen * size.shape.training_flops_per_token),
        epochs=round(seen / part_tokens * max(p.repeats for p in parts), 3),
    )


def _judged(config: ExperimentConfig, found: Found) -> list[str]:
    """Return the evaluation sets: extra texts first, then what was held out of each dataset."""
    return [*config.evals, *(name for name in found.held_out if name not in config.evals)]


def _eval(config: ExperimentConfig, found: Found, name: str) -> EvalSet:
    documents = found.evals[name]
    return EvalSet(
        name=name,
        origin=name if name in config.texts else None,
        documents=len(documents),
        bytes=sum(len(text.encode()) for text in documents.values()),
        dropped=sum((name, key) in found.contamination for key in documents),
    )


def _jobs(config: ExperimentConfig, seeds: int, datasets: Sequence[DatasetFacts]) -> list[Job]:
    """Return all jobs, replicate by replicate, those at other rates last."""
    wanted = [(1.0, s) for s in range(seeds)]
    wanted += [(rate, s) for rate in config.rates for s in range(min(config.rate_seeds, seeds))]
    return [
        Job(
            dataset=facts.name,
            replicate=replicate,
            rate=rate,
            seed=seed_of(config.seed, facts.name, replicate),
            part=str(replicate) if facts.parts_are_disjoint else ALL,
        )
        for rate, replicate in wanted
        for facts in datasets
    ]


def seed_of(seed: int, dataset: str, replicate: int) -> int:
    """Return the seed of a run: none is another's, so that runs are independent."""
    digest = blake2b(f"{seed}/{dataset}/{replicate}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def detectable(config: ExperimentConfig, seeds: int) -> float | None:
    """Return the difference that is found with a chance of 80 %, as far as seeds decide.

    A race is judged at the level of a look.
    """
    datasets = len(config.datasets)
    if seeds < 2 or datasets < 2:
        return None
    pooled = PooledVariance(config.seed_sd**2, datasets * (seeds - 1))
    alpha = config.alpha / looks_of(seeds) if config.race else config.alpha
    smallest = minimum_detectable_difference(
        pooled, seeds, alpha=alpha, comparisons=comb(datasets, 2)
    )
    return round(smallest, 5)


def warnings(
    config: ExperimentConfig,
    found: Found,
    datasets: Sequence[DatasetFacts],
    evals: Sequence[EvalSet],
) -> list[str]:
    """Return what a reader of the verdict has to know beforehand."""
    mostly_dropped = [e for e in evals if 2 * e.dropped > e.documents]
    told = [_about_dropped(found, e) + _ADVICE for e in mostly_dropped]
    told += [*_about_parts(datasets), *_about_epochs(config, datasets)]
    for evaluation in evals:
        told += _about_few(evaluation)
        if evaluation.dropped and evaluation not in mostly_dropped:
            told.append(_about_dropped(found, evaluation))
    told += _about_tokenizer(config, datasets)
    if not can_sketch():
        told.append(
            "Near copies of evaluation documents were not looked for, only shared runs of words. "
            f"For both: {how_to_install('data')}."
        )
    return told


def refuse_too_few(clean: Mapping[str, Sequence[str]]) -> None:
    """Raise DataError where no evaluation set has enough documents that no training text has."""
    if max(map(len, clean.values())) < FEWEST_KEPT:
        raise DataError(
            f"Of each evaluation set, fewer than {FEWEST_KEPT} documents occur in no training "
            f"text ({', '.join(f'`{name}`: {len(of)}' for name, of in clean.items())}): there is "
            f"nothing to judge by.{_ADVICE}"
        )


def _about_parts(datasets: Sequence[DatasetFacts]) -> list[str]:
    names = [f"`{facts.name}`" for facts in datasets if not facts.parts_are_disjoint]
    if not names:
        return []
    has, its = ("has", "its") if len(names) == 1 else ("have", "their")
    return [
        f"{listed(names)} {has} too little text for a part of its own for each run: {its} runs "
        "share the documents, and the verdict holds for these documents only."
    ]


def _about_epochs(config: ExperimentConfig, datasets: Sequence[DatasetFacts]) -> list[str]:
    return [
        f"`{facts.name}` is small for the budget: a run sees its text {facts.epochs:.1f} times."
        for facts in datasets
        if facts.epochs > config.max_epochs
    ]


def _about_few(evaluation: EvalSet) -> list[str]:
    """Return a warning of an evaluation set with few documents that no training text has."""
    if evaluation.kept < FEWEST_KEPT:
        return [
            f"`{evaluation.name}` has {evaluation.kept or 'no'} document"
            f"{'' if evaluation.kept == 1 else 's'} to judge by: the verdict goes without it."
        ]
    if evaluation.kept < FEW_EVAL_DOCUMENTS:
        return [
            f"`{evaluation.name}` is judged on {evaluation.kept} documents only: their choice "
            "decides much, and the intervals say so."
        ]
    return []


def _about_dropped(found: Found, evaluation: EvalSet) -> str:
    of = sorted(
        {
            text
            for key, texts in found.contamination.items()
            for text in texts
            if key[0] == evaluation.name
        }
    )
    return (
        f"{evaluation.dropped} of the {evaluation.documents} evaluation documents of "
        f"`{evaluation.name}` occur in training text ({', '.join(of)}): scores are told "
        "without them, and with them beside."
    )


def _about_tokenizer(config: ExperimentConfig, datasets: Sequence[DatasetFacts]) -> list[str]:
    fewest = min(datasets, key=lambda facts: facts.bytes_per_token)
    most = max(datasets, key=lambda facts: facts.bytes_per_token)
    more = most.bytes_per_token / fewest.bytes_per_token
    if more < UNEQUAL_TOKENIZER:
        return []
    so = "its runs have as many more steps"
    if config.budget and Budget.parse(config.budget).unit in ("tokens", "flops"):
        so = f"in as many steps its runs read {1 - 1 / more:.0%} less text"
    return [
        f"The tokenizer makes {more - 1:.0%} more tokens of `{fewest.name}` than of `{most.name}` "
        f"for the same bytes, so {so}."
    ]
