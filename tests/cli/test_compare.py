from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.data.samples import sample_stories

SMALL = ("--seeds", 2, "--budget", "30k bytes", "--tokenizer", "byte", "--size", "40k")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return stories, the same backwards, and other stories."""
    folder = tmp_path_factory.mktemp("texts")
    told = list(sample_stories(60, seed=1))
    versions = {
        "tales": told,
        "backwards": [text[::-1] for text in told],
        "novel": list(sample_stories(12, seed=2)),
    }
    for name, documents in versions.items():
        lines = [json.dumps({"text": text}) + "\n" for text in documents]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return [folder / f"{name}.jsonl" for name in versions]


def test_the_verdict_comes_first_and_tables_follow(
    texts: list[Path], tmp_path: Path, seedbed: Callable
) -> None:
    tales, backwards, novel = texts
    words = ("compare", tales, backwards, "--eval", novel, *SMALL, "--rates", "none")
    shown = seedbed(*words, "--out", tmp_path / "which")
    assert shown.code == 0
    assert "4 runs: 2 of each dataset" in shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith("tales is better than backwards (by ")
    table = lines[next(i for i, line in enumerate(lines) if "RANKING" in line) :]
    assert [line.split()[0] for line in table[1:3]] == ["tales", "backwards"]
    assert any(line.split()[-3:] == ["novel", "tales", "backwards"] for line in lines)
    assert lines[-1] == f"The report is {tmp_path / 'which' / 'report.html'}"

    again = seedbed(*words, "--out", tmp_path / "which", "--json")
    assert json.loads(again.out) == json.loads((tmp_path / "which" / "results.json").read_text())

    other = seedbed(*words, "--out", tmp_path / "which", "--margin", 0.02)
    assert other.code == 2
    assert "`margin`" in other.err


def test_a_plan_can_be_had_alone(texts: list[Path], tmp_path: Path, seedbed: Callable) -> None:
    words = ("compare", *texts[:2], *SMALL, "--name", "a", "--name", "b", "--plan-only", "--json")
    shown = seedbed(*words, "--out", tmp_path / "which")
    assert shown.code == 0
    plan = json.loads(shown.out)
    assert [dataset["name"] for dataset in plan["datasets"]] == ["a", "b"]
    assert plan["rates"] == [0.5, 2.0]
    assert len(plan["jobs"]) == 2 * (2 + 2)
    assert not (tmp_path / "which" / "runs").exists()


def test_an_experiment_file_names_everything(
    texts: list[Path], tmp_path: Path, seedbed: Callable
) -> None:
    file = tmp_path / "which.yaml"
    file.write_text(
        f"datasets:\n  good: {texts[0]}\n  bad: {texts[1]}\n"
        "model: {size: 40k}\nbudget: 30k bytes\nseeds: 3\ntokenizer: byte\nrates: []\n"
    )
    words = ("compare", file, "--eval", texts[2], "--seeds", 2, "--plan-only")
    shown = seedbed(*words, "--out", tmp_path / "out")
    assert shown.code == 0
    assert "4 runs: 2 of each dataset" in shown.out
    assert "novel" in shown.out
    assert any(line.split()[:1] == ["good"] for line in shown.out.splitlines())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--rates", "half"), "`--rates` is 'half'"),
        (("--rates", "1"), "`rates` is [1.0]"),
        (("--name", "a"), "`--name` is given 1 times for 2 sources"),
        (("--budget", "some"), "`budget` is 'some'"),
        (("--budget", "1m bytes", "--minutes", "2"), "`budget` and `minutes` both"),
        (("x.yaml",), "x.yaml names the datasets"),
        (("--alpha", "2"), "`alpha` is 2.0"),
    ],
)
def test_what_is_wrong_is_named(
    words: tuple[str, ...], told: str, texts: list[Path], seedbed: Callable
) -> None:
    shown = seedbed("compare", *texts[:2], *words)
    assert shown.code == 2
    assert told in shown.err
