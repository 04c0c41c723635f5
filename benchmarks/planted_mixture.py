"""Does `seedbed mix` find a mixture that is known? Real small runs, in minutes.

Two made-up languages, equally hard, and random letters are mixed for a target that is half in one
language and half in the other. The truth is half and half. The proposal and the truth are then run
with the same fresh seeds, which tells the regret.

    python benchmarks/planted_mixture.py [--minutes 8] [--runs 24]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from harness import ROOT, Report, table

TRUTH = {"one": 0.5, "two": 0.5, "junk": 0.0}
SEEDS = 5  # of the proposal and of the truth


def write_texts(folder: Path, quick: bool) -> dict[str, Path]:
    sys.path.insert(0, str(ROOT / "tests"))
    from made_up_languages import write_languages  # pyright: ignore[reportMissingImports]

    return write_languages(folder, 80 if quick else 8000, held_out=20 if quick else 250)


def search(folder: Path, asked: Any) -> tuple[Any, dict[str, Any]]:
    """Return the config of the search, and what it found."""
    from seedbed.config import build
    from seedbed.experiments.mixture_config import MixtureConfig
    from seedbed.experiments.mixtures import mix

    files = write_texts(folder, asked.quick)
    settings: dict[str, Any] = {
        "datasets": {name: str(files[name]) for name in TRUTH},
        "evals": {"target": str(files["target"])},
        "runs": 9 if asked.quick else asked.runs,
        "minutes": asked.minutes,
    }
    if asked.quick:
        settings |= {"minutes": None, "budget": "20k bytes", "tokenizer": "byte"}
        settings |= {"model": {"size": "40k"}}
    config = build(MixtureConfig, settings)
    found = mix(config, folder / "mixture")
    if found is None:
        sys.exit("stopped")
    return config, found


def regret_of(config: Any, folder: Path, found: dict[str, Any]) -> tuple[float, float]:
    """Return the proposal's loss above the truth's, and the standard deviation between seeds."""
    from seedbed.experiments.compare import compare
    from seedbed.experiments.mixture_config import confirming_config

    mixtures = {"proposed": found["proposal"]["weights"], "truth": TRUTH}
    if mixtures["proposed"] == TRUTH:
        return 0.0, found["confirmation"]["seed_sd"]
    experiment = confirming_config(config, folder / "mixture" / "design", mixtures)
    experiment = experiment.model_copy(update={"seeds": SEEDS, "seed": config.seed + 2})
    results = compare(experiment, folder / "regret")
    if results is None or results.seed_sd is None:
        sys.exit("stopped")
    scores = {dataset.name: dataset.score for dataset in results.datasets}
    return scores["proposed"] - scores["truth"], results.seed_sd


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="of the search")
    parser.add_argument("--runs", type=int, default=24, help="on designed mixtures")
    asked = parser.parse_args()
    report = Report("planted_mixture", asked)
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        config, found = search(Path(name), asked)
        minutes = (time.perf_counter() - start) / 60
        regret, sd = regret_of(config, Path(name), found)
        summary = (Path(name) / "mixture" / "summary.txt").read_text()
    weights = found["proposal"]["weights"]
    distance = sum(abs(weights[source] - share) for source, share in TRUTH.items())
    passed = distance < 0.2
    rows = [
        *([f"weight of `{source}`", f"{weights[source]:.3f}"] for source in TRUTH),
        ["distance from half and half (L1)", f"{distance:.3f}"],
        ["regret, bits per byte", f"{regret:+.4f}"],
        ["standard deviation between seeds", f"{sd:.4f}"],
        ["found: distance below 0.2", "yes" if passed else "no"],
        ["minutes of the search", f"{minutes:.1f}"],
    ]
    report.write("A planted mixture", table(["", ""], rows), f"```\n{summary.rstrip()}\n```")
    sys.exit(not passed and not asked.quick)


if __name__ == "__main__":
    main()
