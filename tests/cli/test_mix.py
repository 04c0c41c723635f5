from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from invented_runs import write_scores
from made_up_languages import write_languages
from seedbed.config import build
from seedbed.experiments.mixture_config import MixtureConfig
from seedbed.experiments.mixtures import mix
from seedbed.experiments.plan import Job, Plan

SMALL = ("--runs", 8, "--budget", "8k bytes", "--tokenizer", "byte", "--size", "40k")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_languages(tmp_path_factory.mktemp("texts"), 60, held_out=20)


def test_the_mixture_comes_first_and_tables_follow(
    texts: dict[str, Path], tmp_path: Path, seedbed: Callable
) -> None:
    out = tmp_path / "mixture"
    asked = {
        "datasets": {name: [str(texts[name])] for name in ("one", "junk")},
        "evals": {"target": [str(texts["target"])]},
        "runs": 8,
        "budget": "8k bytes",
        "tokenizer": "byte",
        "model": {"size": "40k"},
    }

    def invent(plan: Plan) -> None:
        def loss(job: Job, text: str) -> float:
            weights = plan.dataset(job.dataset).mixture or {job.dataset: 1.0}
            return 2.0 - weights.get("one", 0.0) + 0.1 * (len(text) % 3)

        write_scores(out / ("design" if plan.seeds == 1 else "confirm"), plan, loss)

    assert mix(build(MixtureConfig, asked), out, announce=invent, quiet=True)

    words = ("mix", texts["one"], texts["junk"], "--target", texts["target"], *SMALL)
    shown = seedbed(*words, "--out", out)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "The proposed mixture, in shares of bytes: 100.0 % one and 0.0 % junk."
    assert lines[1].startswith("Confirmed with fresh seeds: proposed is ")
    heads = [line.split()[0] for line in lines if line.startswith("  ")]
    assert heads[:4] == ["MIXTURE", "one", "junk", "CONFIRMATION"]
    assert shown.out == (out / "summary.txt").read_text()

    again = seedbed(*words, "--out", out, "--json")
    assert json.loads(again.out) == json.loads((out / "results.json").read_text())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--runs", 3), "`runs` is 3, but 2 datasets need 8"),
        (("--for-budget", "2 epochs"), "Write bytes of text"),
        (("--budget", "some"), "`budget` is 'some'"),
        (("x.yaml",), "x.yaml names the datasets"),
        (("--budget", "1m bytes", "--minutes", 2), "`budget` and `minutes` both"),
    ],
)
def test_what_is_wrong_is_named(
    words: tuple[str, ...],
    told: str,
    texts: dict[str, Path],
    tmp_path: Path,
    seedbed: Callable,
) -> None:
    shown = seedbed("mix", texts["one"], texts["junk"], *words, "--out", tmp_path / "out")
    assert shown.code == 2
    assert told in shown.err
    assert not (tmp_path / "out").exists()
