"""Plans of small texts, and what they make of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seedbed.config import build, read_yaml
from seedbed.data.prepared import open_dataset
from seedbed.data.samples import sample_stories
from seedbed.errors import ConfigError, DataError
from seedbed.experiments.budgets import Rate
from seedbed.experiments.config import ExperimentConfig
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.plan_facts import detectable
from seedbed.experiments.planning import make_plan
from small_experiment import small_config, write_stories


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentDir, Plan]:
    """Return a plan of two texts, a mixture of them and other texts to judge by."""
    folder = tmp_path_factory.mktemp("planned")
    other = write_stories(folder / "other.txt", 60, seed=3)
    config = small_config(
        folder / "texts",
        ingredients={"c": str(folder / "c.txt")},
        evals={"other": str(folder / "other.txt")},
    )
    write_stories(folder / "c.txt", 90, seed=4, also=other[:20])
    mixture = {"mixture": {"a": 1, "c": 3}}
    datasets = {**config.model_dump()["datasets"], "mix": mixture}
    config = ExperimentConfig.model_validate({**config.model_dump(), "datasets": datasets})
    return ExperimentDir(folder / "out"), make_plan(config, folder / "out", workers=2)


def documents(place: ExperimentDir, dataset: str, part: str, split: str = "train") -> list[str]:
    """Return the documents of a part, decoded."""
    prepared = open_dataset(place.data(dataset, part))
    shards = prepared.train if split == "train" else prepared.val
    inside = prepared.tokenizer.special.inside
    return [prepared.tokenizer.decode(inside(ids).tolist()) for ids in shards.documents()]


def test_no_document_is_in_two_parts_or_judged_by(planned: tuple[ExperimentDir, Plan]) -> None:
    place, _ = planned
    judged = {d.text for name in "abc" for d in place.read_eval(name)}
    for dataset in ("a", "b"):
        parts = [documents(place, dataset, part) for part in ("0", "1")]
        together = [text for part in parts for text in part]
        assert len(set(together)) == len(together)
        assert not any(text.startswith(beginning) for text in together for beginning in judged)


def test_each_dataset_is_judged_on_its_held_out_part_and_on_other_text(
    planned: tuple[ExperimentDir, Plan],
) -> None:
    place, plan = planned
    assert [(e.name, e.origin) for e in plan.evals] == [
        ("other", None),
        ("a", "a"),
        ("b", "b"),
        ("c", "c"),
    ]
    for evaluation in plan.evals:
        found = place.read_eval(evaluation.name)
        assert len(found) == evaluation.documents >= 2
        assert sum(len(d.text.encode()) for d in found) == evaluation.bytes <= 3000


def test_every_run_sees_the_same_bytes(planned: tuple[ExperimentDir, Plan]) -> None:
    _, plan = planned
    step = plan.batch_size * plan.model.context_length
    for facts in plan.datasets:
        assert facts.tokens_per_run == facts.steps * step
        assert abs(facts.bytes_per_run - 20_000) <= step / 2 * facts.bytes_per_token + 1


def test_a_mixture_has_the_shares_that_were_asked(planned: tuple[ExperimentDir, Plan]) -> None:
    place, plan = planned
    of_a = {text for part in ("0", "1") for text in documents(place, "a", part)}
    sizes = {"a": 0, "c": 0}
    for text in documents(place, "mix", plan.main_jobs[2].part):
        sizes["a" if text in of_a else "c"] += len(text.encode())
    assert plan.dataset("mix").mixture == {"a": 0.25, "c": 0.75}
    assert sizes["c"] / sum(sizes.values()) == pytest.approx(0.75, abs=0.05)


def test_evaluation_documents_in_training_text_are_told(
    planned: tuple[ExperimentDir, Plan],
) -> None:
    place, plan = planned
    other = place.read_eval("other")
    training = {
        text
        for part in ("0", "1", "all")
        if place.data("mix", part).is_dir()
        for text in documents(place, "mix", part)
    }
    planted = [d for d in other if any(text.startswith(d.text) for text in training)]
    assert planted  # else nothing is tested
    assert all("c" in d.found_in for d in planted)
    told = next(e for e in plan.evals if e.name == "other")
    assert told.dropped == place.contaminated("other").sum() >= len(planted)
    assert any("`other` occur in training text" in warning for warning in plan.warnings)


def test_jobs_come_replicate_by_replicate_with_seeds_of_their_own(
    planned: tuple[ExperimentDir, Plan],
) -> None:
    _, plan = planned
    assert [job.name for job in plan.jobs] == ["a.s0", "b.s0", "mix.s0", "a.s1", "b.s1", "mix.s1"]
    assert len({job.seed for job in plan.jobs}) == 6


def test_the_plan_is_found_again_without_the_sources(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts")
    plan = make_plan(config, tmp_path / "out")
    shutil.rmtree(tmp_path / "texts")
    assert make_plan(config, tmp_path / "out") == plan
    changed = config.model_copy(update={"seeds": 3})
    with pytest.raises(ConfigError, match="another experiment: `seeds` was 2 and is 3"):
        make_plan(changed, tmp_path / "out")


def test_a_source_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts")
    plan = make_plan(config, tmp_path / "out")
    source = tmp_path / "texts" / "a.txt"
    text = source.read_text()
    source.touch()
    assert make_plan(config, tmp_path / "out") == plan  # the same text at another time
    source.write_text(text + "\nMore.")
    size = len(text.encode())
    told = rf"`.*a\.txt` changed since the plan \({size:,} bytes then, {size + 6:,} now\)"
    with pytest.raises(DataError, match=told):
        make_plan(config, tmp_path / "out")
    source.write_text(text.replace("e", "f", 1))
    with pytest.raises(DataError, match=f"{size:,} bytes as then, but others"):
        make_plan(config, tmp_path / "out")


def test_a_file_that_came_to_a_folder_is_refused(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", evals={"more": str(tmp_path / "more")})
    (tmp_path / "more").mkdir()
    write_stories(tmp_path / "more" / "c.txt", 60, seed=5)
    make_plan(config, tmp_path / "out")
    write_stories(tmp_path / "more" / "d.txt", 60, seed=6)
    with pytest.raises(DataError, match="more` changed since the plan"):
        make_plan(config, tmp_path / "out")


def test_an_experiment_without_its_request_is_refused(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts")
    make_plan(config, tmp_path / "out")
    (tmp_path / "out" / "request.json").unlink()
    with pytest.raises(ConfigError, match=r"not all of one: it has no request\.json"):
        make_plan(config, tmp_path / "out")


def test_a_text_to_judge_by_is_looked_for_before_any_is_read(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", evals={"more": str(tmp_path / "none.txt")})
    told: list[str] = []
    with pytest.raises(DataError, match=r"none\.txt` does not exist"):
        make_plan(config, tmp_path / "out", note=told.append)
    assert told == []


def test_a_tokenizer_that_is_not_there_is_told_of_before_any_text_is_read(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(ConfigError, match=r"no tokenizer `bpee`.*Did you mean `bpe`"):
        make_plan(
            small_config(tmp_path / "texts", tokenizer="bpee"), tmp_path / "out", note=told.append
        )
    assert told == []


@pytest.mark.parametrize(
    ("end", "kept", "told"),
    [(" That was all.", 0, "no documents"), (" So it ended.", 1, "1 document")],
)
def test_versions_of_one_text_are_refused_before_they_are_prepared(
    tmp_path: Path, end: str, kept: int, told: str
) -> None:
    """As many as `kept` happen to be held out of both versions."""
    config = small_config(
        tmp_path / "texts", evals={"other": str(tmp_path / "other.txt")}, budget="1 epoch"
    )
    stories = write_stories(tmp_path / "texts" / "a.txt", 120, seed=1)
    versions = "\n<|endoftext|>\n".join(story + end for story in stories)
    (tmp_path / "texts" / "b.txt").write_text(versions)
    write_stories(tmp_path / "other.txt", 60, seed=9)
    plan = make_plan(config, tmp_path / "out")
    assert [(e.name, e.kept) for e in plan.evals[1:]] == [("a", kept), ("b", kept)]
    assert all("with --eval" in warning for warning in plan.warnings[:2])
    assert any(f"`a` has {told} to judge by" in warning for warning in plan.warnings)
    alone = config.model_copy(update={"evals": {}})
    with pytest.raises(DataError, match=r"nothing to judge by\..*--eval"):
        make_plan(alone, tmp_path / "alone")
    assert not (tmp_path / "alone" / "data").exists()


def test_few_documents_that_no_training_text_has_are_told_of(tmp_path: Path) -> None:
    other = write_stories(tmp_path / "other.txt", 25, seed=3)
    config = small_config(
        tmp_path / "texts",
        evals={"other": str(tmp_path / "other.txt")},
        eval_bytes=100_000,
        budget="3 epochs",
    )
    write_stories(tmp_path / "texts" / "a.txt", 120, seed=1, also=other[:8])
    plan = make_plan(config, tmp_path / "out")
    assert plan.evals[0].documents >= 20 > plan.evals[0].kept
    told = f"`other` is judged on {plan.evals[0].kept} documents only"
    assert any(told in warning for warning in plan.warnings)


def test_a_mixture_of_long_documents_has_its_shares_and_all_parts_stay_whole(
    tmp_path: Path,
) -> None:
    config = small_config(tmp_path / "texts", budget="100k bytes", max_epochs=20)
    books = [". ".join(sample_stories(30, seed=n)) for n in range(100, 160)]
    (tmp_path / "texts" / "b.txt").write_text("\n<|endoftext|>\n".join(books))
    datasets = {**config.datasets, "mix": {"mixture": {"a": 0.99, "b": 0.01}}}
    config = ExperimentConfig.model_validate({**config.model_dump(), "datasets": datasets})
    place = ExperimentDir(tmp_path / "out")
    make_plan(config, tmp_path / "out")
    mixed = documents(place, "mix", "0")
    of_b = [t for t in mixed if any(book.startswith(t) for book in books)]
    assert sum(len(t.encode()) for t in of_b) == pytest.approx(1_020, abs=4)
    assert sum(len(t.encode()) for t in mixed) == pytest.approx(102_000, abs=300)
    assert set(documents(place, "b", "0")) <= {book.strip() for book in books}  # no blocks


def test_a_race_finds_larger_differences_only(tmp_path: Path) -> None:
    settings = small_config(tmp_path / "texts", seeds=5)
    plain = detectable(settings, 5)
    raced = detectable(settings.model_copy(update={"race": True}), 5)
    quarter = detectable(settings.model_copy(update={"alpha": 0.05 / 4}), 5)
    assert plain is not None
    assert quarter is not None
    assert raced == quarter > plain


def test_a_planning_that_was_killed_starts_anew_and_ends_the_same(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts")
    plan = make_plan(config, tmp_path / "out", workers=1)
    before = checksums(tmp_path / "out")
    (tmp_path / "out" / "plan.json").unlink()
    shutil.rmtree(tmp_path / "out" / "data" / "b")
    (tmp_path / "out" / "planning").mkdir()
    assert make_plan(config, tmp_path / "out", workers=1) == plan
    assert checksums(tmp_path / "out") == before


def checksums(folder: Path) -> dict[str, Any]:
    return {
        str(file.relative_to(folder)): json.loads(file.read_text())["train"]
        for file in folder.rglob("data/*/*/manifest.json")
    }


def test_the_settings_that_are_written_plan_the_same_experiment(tmp_path: Path) -> None:
    rates = {"rates": [0.5], "seeds": None, "model": {}, "batch_size": None}
    plan = make_plan(small_config(tmp_path / "texts", **rates), tmp_path / "out", workers=1)
    resolved = build(ExperimentConfig, read_yaml(tmp_path / "out" / "experiment.yaml"))
    again = make_plan(resolved, tmp_path / "again", workers=1)
    assert again == plan


def test_small_texts_are_shared_by_all_runs_and_that_is_told(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", budget="300k bytes", max_epochs=2)
    plan = make_plan(config, tmp_path / "out")
    facts = plan.dataset("a")
    assert plan.shared_documents
    assert not facts.parts_are_disjoint
    assert {job.part for job in plan.jobs if job.dataset == "a"} == {"all"}
    assert facts.epochs == pytest.approx(facts.bytes_per_run / facts.bytes, rel=0.01)
    assert any("`a`" in w and "too little text" in w for w in plan.warnings)
    assert any(f"sees its text {facts.epochs:.1f} times" in w for w in plan.warnings)


def test_minutes_are_turned_into_a_budget_by_measuring_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = small_config(tmp_path / "texts", budget=None, minutes=1.0, seeds=None)
    plan = make_plan(asked, tmp_path / "out", workers=1)
    assert plan.seeds == 3
    assert plan.budget.endswith(" bytes")
    assert plan.minutes_expected == pytest.approx(0.85, abs=0.06)

    def measured_again(*_: object) -> Rate:
        raise AssertionError("the plan is there")

    monkeypatch.setattr("seedbed.experiments.planning.choose_size", measured_again)
    assert make_plan(asked, tmp_path / "out", workers=2) == plan


def test_minutes_are_told_for_as_many_jobs_at_a_time_as_there_are_workers(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", seeds=3)  # 6 jobs
    alone = make_plan(config, tmp_path / "alone", workers=1)
    five = make_plan(config, tmp_path / "five", workers=5)
    assert five.seconds_per_job == alone.seconds_per_job
    assert five.minutes_expected == pytest.approx(alone.minutes_expected / 3, abs=0.051)


def test_tasks_are_made_of_documents_that_no_training_text_has(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", tasks=["swapped_words"], task_items=5)
    plan = make_plan(config, tmp_path / "out")
    assert [(t.name, t.origin, t.chance) for t in plan.tasks] == [
        ("swapped_words.a", "a", 0.5),
        ("swapped_words.b", "b", 0.5),
    ]
    with pytest.raises(ConfigError, match=r"`tasks` has 'swaped_words'.*Did you mean"):
        make_plan(small_config(tmp_path / "texts", tasks=["swaped_words"]), tmp_path / "other")


def test_a_tokenizer_that_favours_a_dataset_is_told_of(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", tokenizer="bpe", vocab_size=400)
    numbers = ["\n".join(f"{n * k:09d}" for k in range(1, 60)) for n in range(10_007, 10_160)]
    (tmp_path / "texts" / "b.txt").write_text("\n<|endoftext|>\n".join(numbers))
    plan = make_plan(config, tmp_path / "out")
    assert plan.tokenizer_bytes > 10_000
    few, many = sorted(plan.datasets, key=lambda facts: facts.bytes_per_token)
    more = many.bytes_per_token / few.bytes_per_token - 1
    told = f"{more:.0%} more tokens of `{few.name}` than of `{many.name}`"
    assert any(told in warning for warning in plan.warnings)
    assert few.steps / many.steps == pytest.approx(1 + more, rel=0.1)  # the same bytes
    assert any(told in w and "as many more steps" in w for w in plan.warnings)
    by_tokens = config.model_copy(update={"budget": "9k tokens"})
    plan = make_plan(by_tokens, tmp_path / "by-tokens")
    few, many = sorted(plan.datasets, key=lambda facts: facts.bytes_per_token)
    assert few.steps == many.steps
    less = 1 - few.bytes_per_run / many.bytes_per_run
    [warning] = [w for w in plan.warnings if "more tokens of" in w]
    assert f"in as many steps its runs read {less:.0%} less text" in warning


def test_a_text_of_a_few_documents_is_refused(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts")
    (tmp_path / "texts" / "b.txt").write_text("Too little.")
    with pytest.raises(DataError, match=r"`b`.*has 1 different document,"):
        make_plan(config, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "out" / "data" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("Mine.")
    with pytest.raises(ConfigError, match="holds data and is no experiment"):
        make_plan(small_config(tmp_path / "texts"), tmp_path / "out")
    assert mine.read_text() == "Mine."
