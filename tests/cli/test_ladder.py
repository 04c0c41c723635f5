from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from invented_runs import write_scores
from seedbed.config import build
from seedbed.experiments.compare import plan_comparison
from seedbed.experiments.ladder import LadderConfig, Rung, climb, rung_config, top_folder
from seedbed.experiments.plan import Plan
from small_experiment import write_stories

SIZES, BUDGETS = "40k,80k,160k", "4k bytes,8k bytes"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("texts")
    files = [folder / f"{name}.txt" for name in ("tales", "films")]
    for seed, file in enumerate(files):
        write_stories(file, 80, seed=seed)
    return files


def test_the_verdict_comes_first_and_what_is_foretold_second(
    texts: list[Path], tmp_path: Path, seedbed: Callable
) -> None:
    out = tmp_path / "ladder"
    config = build(
        LadderConfig,
        {
            "datasets": {file.stem: [str(file)] for file in texts},
            "sizes": SIZES,
            "budgets": BUDGETS,
            "tokenizer": "byte",
            "seeds": 2,
        },
    )

    def invent(rungs: Sequence[Rung], _top: Plan) -> None:
        for rung in rungs:
            folder = out / "rungs" / rung.name
            asked = rung_config(config, rung, top_folder(config, out))
            plan = plan_comparison(asked, folder, quiet=True)
            base = 1 + 50 / plan.parameters**0.4 + 90 / rung.budget**0.5
            losses = {"tales": base, "films": base + 0.2}
            write_scores(folder, plan, lambda job, _, losses=losses: losses[job.dataset], sd=0.003)

    assert climb(config, out, announce=invent, quiet=True)

    options = ("--sizes", SIZES, "--budgets", BUDGETS, "--tokenizer", "byte", "--seeds", 2)
    shown = seedbed("ladder", *texts, *options, "--out", out)
    assert shown.code == 0
    assert "6 rungs of 4 runs each:" in shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith("At the largest size and budget: tales is better than films (by ")
    assert "tales is expected to stay better than films" in lines[1]
    assert any(line.split()[:1] == ["foretold"] for line in lines)
    again = seedbed("ladder", *texts, *options, "--out", out, "--json")
    assert json.loads(again.out) == json.loads((out / "results.json").read_text())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "`sizes` is missing"),
        (("--sizes", "1m,2m"), "Give three or more, all different"),
        (("--sizes", "1m,2m,3m", "--budgets", "1m bytes"), "Give two or more, all different"),
        (("--sizes", "1m,2m,3m", "--to-budget", "1 epoch"), "bytes of text"),
    ],
)
def test_what_is_wrong_is_named(
    words: tuple[str, ...], told: str, texts: list[Path], tmp_path: Path, seedbed: Callable
) -> None:
    shown = seedbed("ladder", *texts, *words, "--out", tmp_path / "out")
    assert shown.code == 2
    assert told in shown.err
    assert not (tmp_path / "out").exists()
