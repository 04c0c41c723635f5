"""Does `seedbed compare` find evaluation text in training text, and say what it did to the ranking?

First, plans alone: a tenth of the evaluation stories is planted among the training stories, each
once: word for word, in other letter case, with other white space, or with both. How many of them
are found, and how many others are taken for planted?

Then runs: `fewer` has two thirds of the stories that `honest` has, and in the place of the others
many copies of planted ones, each with a few other spaces. So it cannot be better on stories that
neither has seen; what it knows by heart makes it look so. The verdict has to be for `honest`, and
the ranking with the planted documents, which stands beside, for `fewer`.

Writes benchmarks/results/contamination-cpu.md; exit code 1 when recall is below 99 %, when a story
is taken for planted that is not, or when the rankings are not those (the quick form runs no model
long enough for the last, and does not fail).

    python benchmarks/contamination.py [--plans 5] [--budget "1.5m bytes"] [--seeds 3]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import known_texts
from harness import Report, table

if TYPE_CHECKING:
    from seedbed.experiments.results import Results

SHARE = 0.1  # of the evaluation documents
RECALL = 0.99
JUDGED = 100  # evaluation documents of the runs: few, so that the planted ones are known by heart
TRAINING = 1500  # stories of each plan
EDITS: dict[str, known_texts.Damage] = {
    "word for word": known_texts.unchanged,
    "other letter case": known_texts.other_case,
    "other white space": known_texts.other_space,
    "both": known_texts.other_case_and_space,
}


def settings_of(folder: Path, datasets: dict[str, list[str]], evals: list[str]) -> dict[str, Any]:
    """Write texts; return what all experiments here have in common."""
    folder.mkdir(parents=True)
    return {
        "datasets": {
            name: known_texts.write_documents(folder / f"{name}.jsonl", documents)
            for name, documents in datasets.items()
        },
        "evals": {"unseen": known_texts.write_documents(folder / "unseen.jsonl", evals)},
        "eval_bytes": 1_000_000,  # all of them
        "model": {"d_model": 64, "num_layers": 2},
        "rates": [],
    }


def small(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the quick form."""
    model = {"d_model": 32, "num_layers": 1, "context_length": 64}
    changes = {"budget": "30k bytes", "seeds": 2, "tokenizer": "byte", "model": model}
    return settings | changes


# --- what is found -------------------------------------------------------------------------------


def planted(evals: list[str], draw: random.Random) -> dict[str, str]:
    """Return a tenth of the documents and how each is edited."""
    chosen = draw.sample(evals, max(len(EDITS), round(SHARE * len(evals))))
    kinds = list(EDITS)
    return {text: kinds[n % len(kinds)] for n, text in enumerate(chosen)}


def plan_once(folder: Path, seed: int, quick: bool) -> Counter[tuple[str, str]]:
    """Return how many planted documents of each edit were planted, and found; and false alarms."""
    from seedbed.config import build
    from seedbed.experiments.compare import plan_comparison
    from seedbed.experiments.config import ExperimentConfig
    from seedbed.experiments.plan import ExperimentDir

    draw = random.Random(seed)
    evals = known_texts.stories(quick, held_out=True)
    told = known_texts.stories(quick)
    chosen = draw.sample(told, min(TRAINING, len(told) // 2))
    edits = planted(evals, draw)
    copies = {text: EDITS[kind](text, draw) for text, kind in edits.items()}
    texts = {"planted": [*chosen, *copies.values()], "other": [t for t in told if t not in chosen]}
    settings = settings_of(folder / "texts", texts, evals) | {"budget": "1 epochs", "seeds": 2}
    if quick:
        settings = small(settings) | {"budget": "1 epochs"}
    plan_comparison(build(ExperimentConfig, settings), folder / "plan", quiet=True)
    place = ExperimentDir(folder / "plan")
    held_out = {document.text for document in place.read_eval("planted")}
    counts: Counter[tuple[str, str]] = Counter()
    for document in place.read_eval("unseen"):
        found = "planted" in document.found_in
        kind = edits.get(document.text)
        if kind is None:
            counts["none", "planted"] += 1
            counts["none", "found"] += found
        elif copies[document.text] not in held_out:  # else it is not trained on
            counts[kind, "planted"] += 1
            counts[kind, "found"] += found
    return counts


def found_rows(counts: Counter[tuple[str, str]]) -> list[list[object]]:
    return [[kind, counts[kind, "planted"], counts[kind, "found"]] for kind in (*EDITS, "none")]


def recall_of(counts: Counter[tuple[str, str]]) -> float:
    total, found = (sum(counts[kind, what] for kind in EDITS) for what in ("planted", "found"))
    return found / total


# --- what it does to the ranking -----------------------------------------------------------------


def few_spaces(text: str, draw: random.Random) -> str:
    """Return the text with some spaces doubled, so that it is no copy to cleaning."""
    return "".join("  " if c == " " and draw.random() < 0.03 else c for c in text)


def ranking(folder: Path, asked: Any) -> Results:
    """Return the comparison of honest stories with fewer ones and many copies of planted ones."""
    from seedbed.config import build
    from seedbed.experiments.compare import compare
    from seedbed.experiments.config import ExperimentConfig

    draw = random.Random(0)
    evals = known_texts.stories(asked.quick, held_out=True)[:JUDGED]
    told = known_texts.stories(asked.quick)
    kept = told[: 2 * len(told) // 3]
    room = known_texts.bytes_of(told) - known_texts.bytes_of(kept)
    chosen = list(planted(evals, draw))
    copies: list[str] = []
    while room > 0:
        copies += known_texts.damaged(chosen, few_spaces, seed=len(copies))
        room -= known_texts.bytes_of(copies[-len(chosen) :])
    texts = {"honest": told, "fewer": [*kept, *copies]}
    settings = settings_of(folder / "texts", texts, evals)
    settings |= {"budget": asked.budget, "seeds": asked.seeds}
    config = build(ExperimentConfig, small(settings) if asked.quick else settings)
    results = compare(config, folder / "experiment")
    if results is None:
        sys.exit("stopped")
    return results


def ranking_table(results: Results) -> str:
    other = results.with_contaminated
    assert other, "documents were planted"
    scores = {dataset.name: dataset.score for dataset in results.datasets}
    rows = [[name, f"{scores[name]:.4f}", f"{other.scores[name]:.4f}"] for name in scores]
    rows.append(["ranking", ", ".join(results.ranking), ", ".join(other.ranking)])
    return table(["bits per byte", "verdict", "with the planted documents"], rows)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--plans", type=int, default=5, help="drawn anew each")
    parser.add_argument("--budget", default="1.5m bytes", help="of each run")
    parser.add_argument("--seeds", type=int, default=3, help="of each dataset")
    asked = parser.parse_args()
    report = Report("contamination", asked)
    start = time.perf_counter()
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for seed in range(1 if asked.quick else asked.plans):
            harness.tell(f"plan {seed + 1}")
            counts += plan_once(Path(name) / f"plan{seed}", seed, asked.quick)
        results = ranking(Path(name) / "runs", asked)
    recall = recall_of(counts)
    other = results.with_contaminated
    adjusted = results.ranking == ["honest", "fewer"]
    shown = other is not None and other.ranking == ["fewer", "honest"]
    passed = recall >= RECALL and not counts["none", "found"] and adjusted and shown
    told = [warning for warning in results.warnings if "training text" in warning]
    report.write(
        "Evaluation text in training text",
        f"Recall {recall:.1%}; {counts['none', 'found']} of {counts['none', 'planted']} documents "
        f"that were not planted are taken for it. All as it should be: "
        f"{'yes' if passed else '**NO**'}.",
        table(["edited", "planted in training text", "found"], found_rows(counts)),
        f"The adjusted ranking is for `honest`: {'yes' if adjusted else '**NO**'}; the one with "
        f"the planted documents for `fewer`: {'yes' if shown else '**NO**'}.",
        ranking_table(results) if other else "No planted document was found.",
        f"> {results.verdict}",
        *(f"> Warning: {warning}" for warning in told),
        f"{(time.perf_counter() - start) / 60:.1f} minutes.",
    )
    sys.exit(not passed and not asked.quick)


if __name__ == "__main__":
    main()
