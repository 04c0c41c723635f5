"""How often does a comparison find a difference between equal datasets? Real runs, real verdicts.

Runs are trained on disjoint random parts of corpora. Runs of one corpus know no difference, so
datasets that are made up of them are equal, and every "better" is false. Verdicts are resampled:
so many datasets of so many runs, drawn without replacement from a corpus's runs and judged on its
held-out documents by the functions that `compare` uses. Told for each:

    pooled t       of the pairs, how many have p <= alpha; seeds alone, and as in a verdict, where
                   the error of the documents is added
    Holm           of the verdicts, how many have any pair decided
    documents only the negative control: p from the bootstrap over documents, as if a model had no
                   luck of its own

The same is told of 20,000 simulated verdicts whose scores are normal.

The runs are kept in DIR, and an interrupted benchmark goes on where it was. Writes
benchmarks/results/ties-cpu.md; exit code 1 when a rate is not nominal within Monte-Carlo error, or
when the negative control does not fail.

    python benchmarks/ties.py [--runs 96] [--budget "1.5m bytes"] [--folder DIR]
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import harness
import known_texts
import numpy as np
from harness import ROOT, Report, table

if TYPE_CHECKING:
    from seedbed.experiments.jobs import JobScores
    from seedbed.experiments.plan import Plan
    from seedbed.statistics import PairVerdict

ALPHA = 0.05
ERRORS = 3  # Monte-Carlo errors that a rate may be off
CONTROL = 4 * ALPHA  # the negative control rejects at least so often
SEED_SD = 0.010
CORPORA = {
    "stories": "tinystories/train.txt",
    "literature": "literature",
    "speeches": "speeches",
    "wikipedia": "wikitext-2",
}


@dataclass(frozen=True)
class Null:
    """One verdict on equal datasets: what each test said, falsely."""

    seeds_only: float  # share of pairs with p <= alpha
    pairs: float  # the same, with the error of the documents
    any_seeds_only: bool  # decided after Holm's correction
    any_pair: bool
    documents_only: float | None  # share of pairs; None of simulated scores, which have none
    any_documents_only: bool | None


# --- the runs ------------------------------------------------------------------------------------


def sources_of(folder: Path, quick: bool) -> dict[str, str]:
    """Return the corpora."""
    if not quick:
        return {name: str(harness.real_text(path)) for name, path in CORPORA.items()}
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"stories": known_texts.stories(quick), "language": known_texts.code(quick)}
    return {
        name: known_texts.write_documents(folder / f"{name}.jsonl", documents)
        for name, documents in texts.items()
    }


def finished_runs(folder: Path, asked: Any) -> tuple[Plan, dict[str, JobScores]]:
    """Train what is not yet trained; return the plan and what each run scored."""
    from seedbed.config import build
    from seedbed.experiments.compare import plan_comparison
    from seedbed.experiments.config import ExperimentConfig
    from seedbed.experiments.executors import run_jobs
    from seedbed.experiments.jobs import load_all_scores

    sources = sources_of(folder / "texts", asked.quick)
    settings: dict[str, Any] = {
        "datasets": sources,
        "seeds": math.ceil(asked.runs / len(sources)),
        "budget": asked.budget,
        "model": {"d_model": 64, "num_layers": 2},
        "rates": [],
        "max_epochs": 1000,  # of a part: the parts are disjoint, however small
    }
    if asked.quick:
        settings |= {"budget": "10k bytes", "seeds": 6, "eval_bytes": 4000, "tokenizer": "byte"}
        settings |= {"model": {"d_model": 32, "num_layers": 1, "context_length": 64}}
    out = folder / "experiment"
    plan = plan_comparison(build(ExperimentConfig, settings), out)
    if plan.shared_documents:
        sys.exit("parts of a corpus are not disjoint: ask for fewer --runs")
    outcome = run_jobs(out)
    if outcome.stopped:
        sys.exit("stopped; the same command goes on")
    if outcome.failed:
        sys.exit(f"runs failed: {outcome.failed}")
    for job in plan.jobs:  # weights are not needed any more
        shutil.rmtree(out / "runs" / job.name / "checkpoints", ignore_errors=True)
    return plan, load_all_scores(out, plan)


# --- the verdicts --------------------------------------------------------------------------------


def resampled(
    runs: Sequence[JobScores], corpus: str, asked: Any, verdicts: int, seed: int
) -> Iterator[Null]:
    """Yield verdicts on datasets that are made up of runs of one corpus."""
    from seedbed.experiments.lens import Lens, compare_through
    from seedbed.experiments.score_table import ScoreTable

    lens = Lens("texts", [corpus], {})
    draw = np.random.default_rng(seed)
    for _ in range(verdicts):
        order = draw.permutation(len(runs))[: asked.datasets * asked.seeds]
        groups = order.reshape(asked.datasets, asked.seeds)
        drawn = {str(n): [runs[at] for at in group] for n, group in enumerate(groups)}
        table_of = ScoreTable.of(drawn, [corpus])
        found = compare_through(lens, table_of, alpha=ALPHA)
        yield null_of(table_of.runs, found.pairs, found.document_errors)


def null_of(
    scores: Sequence[np.ndarray], pairs: Sequence[PairVerdict], errors: Sequence[float]
) -> Null:
    """Return what was said falsely, with documents and without, and by documents alone."""
    seeds_only = seed_p_values([values[:, 0] for values in scores])
    normal = NormalDist()
    documents = [
        2 * normal.cdf(-abs(pair.difference) / error)
        for pair, error in zip(pairs, errors, strict=True)
    ]
    return Null(
        seeds_only=share(seeds_only),
        pairs=share([pair.p for pair in pairs]),
        any_seeds_only=any_decided(seeds_only),
        any_pair=any(pair.winner for pair in pairs),
        documents_only=share(documents),
        any_documents_only=any_decided(documents),
    )


def seed_p_values(scores: Sequence[np.ndarray]) -> list[float]:
    """Return the p of each pair by the pooled t test, as if documents were no matter of chance."""
    from seedbed.statistics import pair_test, pooled_variance

    pooled = pooled_variance(scores)
    return [pair_test("a", "b", a, b, pooled).p for a, b in combinations(scores, 2)]


def share(p_values: Sequence[float]) -> float:
    return float(np.mean([p <= ALPHA for p in p_values]))


def any_decided(p_values: Sequence[float]) -> bool:
    from seedbed.statistics import holm

    return bool((holm(p_values) <= ALPHA).any())


def simulated(asked: Any, verdicts: int) -> list[Null]:
    """Return verdicts on normal scores without documents."""
    draw = np.random.default_rng(7)
    found: list[Null] = []
    for _ in range(verdicts):
        p = seed_p_values(list(draw.normal(1.0, SEED_SD, (asked.datasets, asked.seeds))))
        found.append(Null(share(p), share(p), any_decided(p), any_decided(p), None, None))
    return found


# --- rates ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """How often something false was said, and the Monte-Carlo error of that."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


def rate_of(groups: Sequence[Sequence[float]]) -> Rate:
    """Return the mean over corpora of the rates in each, and its error.

    The error has two parts: of the verdicts that were drawn, and of the corpora's runs, which are
    so many and no more. Verdicts of one corpus share its runs, so corpora count as the units.
    """
    means = [float(np.mean(group)) for group in groups]
    drawn = [float(np.var(group, ddof=1)) / len(group) for group in groups]
    within = sum(drawn) / len(groups) ** 2
    between = float(np.var(means, ddof=1)) / len(means) if len(means) > 1 else 0.0
    return Rate(float(np.mean(means)), math.sqrt(max(within, between)))


TESTS = {
    "pooled t, seeds alone: pairs": "seeds_only",
    "pooled t, with the documents' error: pairs": "pairs",
    "Holm, seeds alone: any pair": "any_seeds_only",
    "Holm, with the documents' error: any pair": "any_pair",
    "documents only: pairs": "documents_only",
    "documents only, Holm: any pair": "any_documents_only",
}


def rates_of(nulls: Mapping[str, Sequence[Null]]) -> dict[str, Rate]:
    """Return the rate of each test that was made, over corpora."""
    found: dict[str, Rate] = {}
    for field in TESTS.values():
        groups = [[getattr(null, field) for null in of] for of in nulls.values()]
        if groups[0][0] is not None:
            found[field] = rate_of([[float(value) for value in group] for group in groups])
    return found


def problems(real: Mapping[str, Rate], normal: Mapping[str, Rate]) -> list[str]:
    """Return what is not as it should be.

    The pooled t test is exact for normal scores, so its rate is alpha, neither less nor more. What
    adds the documents' error, and Holm's correction, err on the safe side: at most alpha.
    """
    found: list[str] = []
    for kind, rates in (("real runs", real), ("simulated", normal)):
        exact = rates["seeds_only"]
        if abs(exact.value - ALPHA) > ERRORS * exact.error:
            found.append(f"{kind}: the pooled t test rejects {exact}, not {ALPHA}")
        for field in ("pairs", "any_seeds_only", "any_pair"):
            if rates[field].value > ALPHA + ERRORS * rates[field].error:
                found.append(f"{kind}: {field} is {rates[field]}, above {ALPHA}")
    if real["documents_only"].value < CONTROL:
        found.append(f"the negative control rejects {real['documents_only']} only")
    return found


# --- telling -------------------------------------------------------------------------------------


def rates_table(nulls: Mapping[str, Sequence[Null]], normal: Mapping[str, Rate]) -> str:
    all_rates = rates_of(nulls)
    rows = []
    for label, field in TESTS.items():
        own = [f"{rates_of({name: of})[field].value:.3f}" for name, of in nulls.items()]
        rows.append([label, str(all_rates[field]), str(normal.get(field, "-")), *own])
    return table(["false differences", "real runs", "simulated", *nulls], rows)


def corpora_table(plan: Plan, runs: Mapping[str, Sequence[JobScores]]) -> str:
    rows = []
    for facts in plan.datasets:
        scores = [run.evals[facts.name].bits_per_byte for run in runs[facts.name]]
        mean, sd = float(np.mean(scores)), float(np.std(scores, ddof=1))
        rows.append([facts.name, len(scores), f"{facts.epochs:.1f}", f"{mean:.4f}", f"{sd:.4f}"])
    return table(["corpus", "runs", "epochs of a part", "bits per byte", "SD"], rows)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--runs", type=int, default=96, help="of all corpora together")
    parser.add_argument("--budget", default="1.5m bytes", help="of each run")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "ties", metavar="DIR")
    parser.add_argument("--datasets", type=int, default=7, help="of a verdict")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each of them")
    parser.add_argument("--verdicts", type=int, default=500, help="of each corpus")
    parser.add_argument("--simulated", type=int, default=20_000)
    asked = parser.parse_args()
    if asked.quick:
        asked.datasets, asked.seeds, asked.verdicts, asked.simulated = 2, 3, 20, 500
    report = Report("ties", asked)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        plan, scores = finished_runs(Path(name) if asked.quick else asked.folder, asked)
    if plan.seeds < asked.datasets * asked.seeds:
        sys.exit(f"{plan.seeds} runs of a corpus are too few for {asked.datasets} datasets")
    runs = {
        d.name: [scores[j.name] for j in plan.jobs if j.dataset == d.name] for d in plan.datasets
    }
    nulls: dict[str, list[Null]] = {}
    for number, (corpus, own) in enumerate(runs.items()):
        harness.tell(f"verdicts on {corpus}")
        nulls[corpus] = list(resampled(own, corpus, asked, asked.verdicts, number))
    harness.tell("simulated verdicts")
    normal = rates_of({"simulated": simulated(asked, asked.simulated)})
    wrong = problems(rates_of(nulls), normal)
    report.write(
        "Planted ties",
        f"{len(plan.jobs)} runs of {plan.budget}, {plan.parameters:,} parameters, each on a part "
        f"of its own. A verdict: {asked.datasets} equal datasets of {asked.seeds} runs, alpha "
        f"{ALPHA}; {asked.verdicts} of each corpus, {asked.simulated:,} simulated.",
        corpora_table(plan, runs),
        rates_table(nulls, normal),
        "As it should be: rates are nominal within Monte-Carlo error, and the bootstrap over "
        "documents alone fails."
        if not wrong
        else "**Not as it should be:**\n\n" + "\n".join(f"- {problem}" for problem in wrong),
        f"{(time.perf_counter() - start) / 60:.1f} minutes this time.",
    )
    sys.exit(bool(wrong) and not asked.quick)


if __name__ == "__main__":
    main()
