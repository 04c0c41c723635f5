from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.config import build, read_yaml
from seedbed.errors import ConfigError
from seedbed.experiments.config import Budget, ExperimentConfig, settings_of_sources

TEXTS = {"a": "a.txt", "b": "b.txt"}


def test_an_experiment_is_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(
        """
datasets:
  clean: clean.txt
  several: [one.txt, two.txt]
  filtered: {sources: web.jsonl, filters: {min_chars: 200}}
  half: {mixture: {clean: 1, rare: 3}}
ingredients: {rare: rare.txt}
evals: {speeches: speeches.txt}
budget: 2m bytes
model: {size: 1m}
rates: []
""",
        encoding="utf-8",
    )
    config = build(ExperimentConfig, read_yaml(file))
    assert config.datasets["several"].sources == ("one.txt", "two.txt")
    assert config.datasets["filtered"].filters.min_chars == 200
    assert config.datasets["half"].shares == {"clean": 0.25, "rare": 0.75}
    assert list(config.texts) == ["clean", "several", "filtered", "rare"]
    assert config.evals == {"speeches": ("speeches.txt",)}


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("2m bytes", 2e6, "bytes"),
        ("500,000 tokens", 5e5, "tokens"),
        ("1e13 flops", 1e13, "flops"),
        ("1.5e+13 flops", 1.5e13, "flops"),
    ],
)
def test_a_budget_is_an_amount_and_a_unit(text: str, amount: float, unit: str) -> None:
    assert Budget.parse(text) == Budget(amount, unit)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budget": "much"}, "`budget` is 'much'"),
        ({"budget": "2m bytes", "minutes": 3}, "`budget` and `minutes` both"),
        ({"rates": [1.0]}, "`rates` is"),
        ({"rates": [0.5, 0.5]}, "`rates` is"),
        ({"datasets": {"a/b": "a.txt"}}, "`a/b` is no name"),
        ({"evals": {"a": "c.txt"}}, "`a` names two texts"),
        ({"ingredients": {"a": "c.txt"}}, "`a` names two texts"),
        ({"datasets": {**TEXTS, "m": {"mixture": {"c": 1}}}}, "`m` is a mixture with `c`"),
        ({"datasets": {**TEXTS, "m": {"mixture": {"a": 0}}}}, "weights"),
        ({"datasets": {**TEXTS, "m": {}}}, "either `sources` or a `mixture`"),
        ({"sedes": 3}, "Did you mean `seeds`"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(ExperimentConfig, {"datasets": TEXTS, **settings})
    assert words in str(refused.value)


def test_a_mixture_of_a_mixture_is_refused() -> None:
    datasets = {**TEXTS, "m": {"mixture": {"a": 1, "b": 1}}, "n": {"mixture": {"m": 1, "a": 1}}}
    with pytest.raises(ConfigError, match="`n` is a mixture with `m`"):
        build(ExperimentConfig, {"datasets": datasets})


def test_sources_get_different_names_that_files_can_have() -> None:
    sources = ["x/train.txt", "y/train.txt", "sample:stories:60", "hf:owner/name"]
    settings = settings_of_sources(sources, ["z/more.txt"])
    config = build(ExperimentConfig, settings)  # checks the names
    assert [dataset.sources[0] for dataset in config.datasets.values()] == sources
    assert list(config.datasets)[:3] == ["x-train", "y-train", "sample-stories-60"]
    assert config.evals == {"more": ("z/more.txt",)}


def test_a_dataset_keeps_its_name_beside_any_text_to_judge_by() -> None:
    settings = settings_of_sources(["x/web.v2.txt", "x/web.v1.jsonl.gz"], ["y/web.v2.txt"])
    assert list(settings["datasets"]) == ["web.v2", "web.v1"]
    assert list(settings["evals"]) == ["y-web.v2"]
    same = settings_of_sources(["a.txt"], ["a.txt"])
    assert not same["datasets"].keys() & same["evals"].keys()
    assert list(same["datasets"]) == ["a"]


def test_a_source_given_twice_gets_two_names() -> None:
    settings = settings_of_sources(["a.txt", "a.txt"])
    assert list(settings["datasets"]) == ["a.txt", "a.txt-2"]
