"""Does `seedbed compare` find a truth that is known? Real runs, in 10 minutes or less on 2 cores.

Stories, the same in five damaged versions, judged on other stories and on code:

    clean     stories as they are
    words30   30 % of the words of each story shuffled
    copies16  16 copies of a sixteenth of the stories
    noise5    5 % of the characters are random letters
    noise15   15 % of the characters are random letters
    halfcode  half stories, half Python code

Known before anything is run, and checked:

- On stories, clean is better than each of the others, and noise5 better than noise15.
- On code, halfcode is better than each of the others.
- On text held out of words30, noise5, noise15 and halfcode, the models of that text are best.
- A pair whose true difference is at least twice the minimum detectable one is decided, the right
  way, after correction. The verdict goes by half of the runs; the true difference is that of the
  other half, which share neither weights, order nor documents with them.

Not known, and only shown: the order of words30, copies16, noise5 and halfcode on stories, and of
all but halfcode on code.

Prints the checks, writes benchmarks/results/validate-cpu.md, and ends with exit code 1 when a check
fails (the quick form, which is too small to be right, does not).

    python benchmarks/validate.py [--budget "700k bytes"] [--seeds 6] [--keep DIR]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import known_texts
from harness import Report, table

if TYPE_CHECKING:
    from seedbed.experiments.jobs import JobScores
    from seedbed.experiments.plan import Plan
    from seedbed.experiments.results import PairResult, Results

MINUTES = 10
TEXTS = ("stories", "code")
VARIANTS = ("clean", "words30", "copies16", "noise5", "noise15", "halfcode")
QUICK_VARIANTS = ("clean", "noise15", "halfcode")
# Which is better on which text: known.
ORDER = {
    "stories": [*(("clean", name) for name in VARIANTS[1:]), ("noise5", "noise15")],
    "code": [("halfcode", name) for name in VARIANTS[:-1]],
}
AT_HOME = ("words30", "noise5", "noise15", "halfcode")


@dataclass(frozen=True)
class Check:
    """Something that is known, and whether it was found."""

    known: str
    passed: bool
    found: str


# --- the experiment ------------------------------------------------------------------------------


def variants(quick: bool) -> dict[str, list[str]]:
    """Return the documents of each dataset."""
    stories, code = known_texts.stories(quick), known_texts.code(quick)
    size = min(known_texts.bytes_of(stories), known_texts.bytes_of(code))
    made = {
        "clean": lambda: stories,
        "words30": lambda: known_texts.damaged(stories, known_texts.shuffled_words(0.3)),
        "copies16": lambda: stories[::16] * 16,
        "noise5": lambda: known_texts.damaged(stories, known_texts.character_noise(0.05)),
        "noise15": lambda: known_texts.damaged(stories, known_texts.character_noise(0.15)),
        "halfcode": lambda: [
            *known_texts.first_bytes(stories, size),
            *known_texts.first_bytes(code, size),
        ],
    }
    return {name: made[name]() for name in (QUICK_VARIANTS if quick else VARIANTS)}


def settings_of(folder: Path, asked: Any) -> dict[str, Any]:
    """Write the texts; return the settings of the experiment."""
    made = variants(asked.quick)
    evals = {
        "stories": known_texts.stories(asked.quick, held_out=True),
        "code": known_texts.code(asked.quick, held_out=True),
    }
    written = {
        name: known_texts.write_documents(folder / f"{name}.jsonl", documents)
        for name, documents in {**made, **evals}.items()
    }
    settings: dict[str, Any] = {
        "datasets": {name: written[name] for name in made},
        "evals": {name: written[name] for name in evals},
        "eval_bytes": 100_000,
        "model": {"d_model": 64, "num_layers": 2},
        "budget": asked.budget,
        "seeds": asked.seeds,
        "rates": [],
        "dedup": "none",  # else the copies would be gone
        "max_epochs": 8,  # of a part: there is little code, and each run is to have its own
    }
    if asked.quick:
        settings |= {"budget": "20k bytes", "seeds": 4, "eval_bytes": 4000, "tokenizer": "byte"}
        settings |= {"model": {"d_model": 32, "num_layers": 1, "context_length": 64}}
    return settings


def run_experiment(folder: Path, asked: Any) -> tuple[Plan, dict[str, JobScores], Results]:
    """Return the plan, what each run scored, and the results."""
    from seedbed.config import build
    from seedbed.experiments.compare import compare
    from seedbed.experiments.config import ExperimentConfig
    from seedbed.experiments.jobs import load_all_scores
    from seedbed.experiments.plan import ExperimentDir

    (folder / "texts").mkdir(parents=True, exist_ok=True)
    config = build(ExperimentConfig, settings_of(folder / "texts", asked))
    out = folder / "experiment"
    results = compare(config, out)
    if results is None:
        sys.exit("stopped; with --keep the same command goes on")
    plan = ExperimentDir(out).read_plan()
    return plan, load_all_scores(out, plan), results


def verdict_on(
    text: str, plan: Plan, scores: Mapping[str, JobScores], replicates: Iterable[int], folder: Path
) -> Results:
    """Return the verdict by one evaluation text alone, from some of the replicates."""
    from seedbed.experiments.plan import ExperimentDir
    from seedbed.experiments.verdict import judge

    wanted = set(replicates)
    jobs = [job for job in plan.jobs if job.replicate in wanted]
    evals = [e for e in plan.evals if e.name == text]
    return judge(
        plan.model_copy(update={"evals": evals, "jobs": jobs}),
        {job.name: scores[job.name] for job in jobs if job.name in scores},
        contaminated={text: ExperimentDir(folder / "experiment").contaminated(text)},
    )


# --- the checks ----------------------------------------------------------------------------------


def order_checks(text: str, verdict: Results) -> list[Check]:
    """Return whether the order is what is known of it."""
    scores = {dataset.name: dataset.score for dataset in verdict.datasets}
    known = [(a, b) for a, b in ORDER[text] if a in scores and b in scores]
    return [
        Check(
            f"on {text}, {a} before {b}",
            scores[a] < scores[b],
            f"{scores[a]:.4f} and {scores[b]:.4f}",
        )
        for a, b in known
    ]


def owed_pairs(verdict: Results, truth: Results) -> list[PairResult]:
    """Return the pairs, as the truth has them, that differ by twice what can be detected."""
    least = 2 * (verdict.minimum_detectable_difference or float("inf"))
    return [pair for pair in truth.pairs if abs(pair.difference) >= least]


def decided_check(text: str, verdict: Results, truth: Results) -> Check:
    """Return whether all large differences were found, the right way round."""
    owed = owed_pairs(verdict, truth)
    missed = [pair for pair in owed if verdict.pair(pair.a, pair.b).winner != pair.a]
    names = ", ".join(f"{pair.a} and {pair.b}" for pair in missed)
    found = f"{len(owed) - len(missed)} of {len(owed)}; all pairs: {len(truth.pairs)}"
    return Check(
        f"on {text}, every pair of twice the minimum detectable difference is decided",
        bool(owed) and not missed,
        f"{found}; missed: {names}" if missed else found,
    )


def matrix_checks(results: Results) -> list[Check]:
    """Return whether the matrix has its smallest figures where it must."""
    known = {"stories": "clean", "code": "halfcode", **{name: name for name in AT_HOME}}
    columns = next(iter(results.matrix.values()))
    checks: list[Check] = []
    for text, best in known.items():
        if text in columns and best in results.matrix:
            ranking = sorted(results.matrix, key=lambda n: results.matrix[n][text].bits_per_byte)
            kind = "" if text in TEXTS else ", held out"
            checks.append(
                Check(
                    f"matrix: {best} best on {text}{kind}", ranking[0] == best, ", ".join(ranking)
                )
            )
    return checks


# --- telling -------------------------------------------------------------------------------------


def checks_table(checks: Iterable[Check]) -> str:
    rows = [[check.known, "pass" if check.passed else "**FAIL**", check.found] for check in checks]
    return table(["known", "", "found"], rows)


def ranking_table(verdict: Results) -> str:
    rows = [
        [d.name, f"{d.score:.4f}", f"{d.low:.4f} to {d.high:.4f}", f"{d.best_rank}-{d.worst_rank}"]
        for d in verdict.datasets
    ]
    return table(["dataset", "bits per byte", "95 % interval", "rank"], rows)


def matrix_table(results: Results) -> str:
    evals = list(next(iter(results.matrix.values())))
    rows = [
        [name, *(f"{results.matrix[name][e].bits_per_byte:.3f}" for e in evals)]
        for name in results.matrix
    ]
    return table(["trained on, scored on", *evals], rows)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--budget", default="700k bytes", help="of each run: about a part")
    parser.add_argument("--seeds", type=int, default=6, help="of each dataset: an even number")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="the experiment's folder")
    asked = parser.parse_args()
    report = Report("validate", asked)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        plan, scores, results = run_experiment(folder, asked)
        half = plan.seeds // 2
        whole = {t: verdict_on(t, plan, scores, range(plan.seeds), folder) for t in TEXTS}
        verdicts = {t: verdict_on(t, plan, scores, range(half), folder) for t in TEXTS}
        truths = {t: verdict_on(t, plan, scores, range(half, plan.seeds), folder) for t in TEXTS}
    minutes = (time.perf_counter() - start) / 60
    checks = [check for text in TEXTS for check in order_checks(text, whole[text])]
    checks += [decided_check(text, verdicts[text], truths[text]) for text in TEXTS]
    checks += matrix_checks(results)
    checks.append(Check(f"{MINUTES} minutes or less", minutes <= MINUTES, f"{minutes:.1f}"))
    passed = sum(check.passed for check in checks)
    detectable = ", ".join(
        f"{verdicts[text].minimum_detectable_difference or 0:.4f} on {text}" for text in TEXTS
    )
    report.write(
        "A known truth",
        f"{passed} of {len(checks)} checks passed.",
        checks_table(checks),
        f"Runs: {len(plan.jobs)} of {plan.budget}, {plan.parameters:,} parameters. Minimum "
        f"detectable difference, of {half} replicates and all pairs: {detectable}.",
        *(f"On {text}, all replicates:\n\n{ranking_table(whole[text])}" for text in TEXTS),
        f"All texts, held-out parts among them:\n\n{matrix_table(results)}",
    )
    sys.exit(passed < len(checks) and not asked.quick)


if __name__ == "__main__":
    main()
