"""The report says what the results say, needs nothing but itself, and escapes what it quotes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from invented_scores import plan_of, scores_of
from seedbed.data.prepared import open_dataset
from seedbed.data.samples import sample_stories
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.planning import make_plan
from seedbed.experiments.report import write_report
from seedbed.experiments.report_background import methods
from seedbed.experiments.report_figures import matrix_figure, pairs_figure, ranking_figure
from seedbed.experiments.report_material import read_material
from seedbed.experiments.results import RaceResult, Results
from seedbed.experiments.verdict import judge
from seedbed.files import write_json
from small_experiment import small_config

BAD = "<script>alert('1 & 2')</script> | *bold* "
NAMES = ["clean", "noise", "_odd_"]
WORSE = {"clean": 0.0, "noise": 0.2, "_odd_": 0.05}


def truth(dataset: str, evaluation: str) -> float:
    """Return a score that is better at home."""
    return 2.5 + WORSE.get(dataset, 0.1) - (0.3 if dataset == evaluation else 0.0)


def invented_plan(**changes: object) -> Plan:
    options = {"texts": ["text"], "rates": [0.5, 2.0], "tasks": {"order": 0.5}}
    return plan_of(NAMES, **{**options, **changes})  # pyright: ignore[reportArgumentType]


def invented(folder: Path, plan: Plan, failed: dict[str, str] | None = None) -> Results:
    """Write the folder of an experiment that never ran, and return its results."""
    place = ExperimentDir(folder)
    place.write_plan(plan)
    scores = {n: s for n, s in scores_of(plan, truth).items() if n not in (failed or {})}
    for number, job in enumerate(plan.jobs):
        run = place.run(job)
        run.mkdir(parents=True)
        points = [
            {"step": s, "tokens": 100 * s, "val_bits_per_byte": 3.0 - s / 10 + number / 100}
            for s in (5, 10)
        ]
        texts = [{"step": s, "prompt": "Once", "text": f" step {s} {BAD}"} for s in (5, 10)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
        (run / "samples.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
        write_json(
            run / "env.json",
            {"python": "3.12", "platform": "Linux", "cores": 2, "packages": {"torch": "9.8.7"}},
        )
    seconds = {"training": 90.0, "scoring": 6.0, "machine": "an old one", "cores": 2}
    write_json(place.timings, {"jobs": dict.fromkeys(scores, seconds)})
    (folder / "experiment.yaml").write_text(f"datasets: {BAD}\n")
    return judge(plan, scores, failed=failed)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    folder = tmp_path_factory.mktemp("report")
    plan = invented_plan(warnings=[f"Mind `this`: {BAD}"])
    results = invented(folder, plan, failed={"noise.s2": f"no memory {BAD}"})
    write_report(folder, results)
    return folder, results


class Tags(HTMLParser):
    """Which elements are open, what text there is, and what is asked for from elsewhere."""

    _VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "body" in self.open and "style" not in self.open and data.strip():
            self.texts.append(data)


def read(folder: Path) -> tuple[str, str]:
    return (folder / "report.html").read_text(), (folder / "report.md").read_text()


def test_the_verdict_comes_first(told: tuple[Path, Results]) -> None:
    folder, results = told
    page, text = read(folder)
    assert " ".join(Tags(page).texts).startswith(results.verdict[:60])
    assert text.split("\n\n")[1].replace("\\", "") == results.verdict


def test_the_page_is_whole_and_asks_for_nothing(told: tuple[Path, Results]) -> None:
    page, _ = read(told[0])
    tags = Tags(page)
    assert tags.open == []
    assert not tags.names & {"script", "link", "img", "iframe"}
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert "url(" not in re.sub(r"url\(#\w+\)", "", page)
    assert "@import" not in page
    anchors = {address for address in tags.addresses if address.startswith("#")}
    assert all(f'id="{anchor[1:]}"' in page for anchor in anchors)


def test_everything_promised_is_told(told: tuple[Path, Results]) -> None:
    folder, results = told
    page, text = read(folder)
    names = ["ranking", "pairs", "matrix", "robustness", "home", "curves", "tasks", "datasets"]
    for name in [*names, "samples", "cost", "again"]:
        assert f'<section id="{name}">' in page
    for dataset in results.datasets:
        assert f"{dataset.score:.3f}" in page
        assert f"{dataset.score:.3f}" in text
    for row in results.matrix.values():
        for cell in row.values():
            assert f"{cell.bits_per_byte:.3f} ({cell.low:.3f} to {cell.high:.3f})" in page
            assert f">{cell.bits_per_byte:.2f}</text>" in page
    for said in ("clean is better than noise", "an old one", "torch 9.8.7", "chance"):
        assert said in page
    assert "step 10" in page
    assert "step 5" not in page
    run = results.runs[0]
    assert f"<td>{run.name}</td>" in page


def test_what_is_quoted_is_escaped(told: tuple[Path, Results]) -> None:
    page, text = read(told[0])
    assert "<script" not in page
    escaped = "&lt;script&gt;alert(&#x27;1 &amp; 2&#x27;)&lt;/script&gt;"
    assert page.count(escaped) >= 3 + 1 + 1 + 1  # samples, warning, a failed run, the settings
    assert "<script" not in text.replace("\\<", "")
    assert "Mind <code>this</code>" in page
    assert "Mind `this`" in text


def test_the_text_has_even_tables_and_the_figures_it_shows(told: tuple[Path, Results]) -> None:
    folder, _ = told
    _, text = read(folder)
    shown = re.findall(r"\]\((.+?)\)", text)
    assert {"figures/ranking.svg", "figures/matrix.svg", "figures/curves.svg"} <= set(shown)
    assert all((folder / name).read_text().startswith("<svg") for name in shown)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) > 5
    for table in tables:
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1


def test_written_twice_it_is_the_same(told: tuple[Path, Results]) -> None:
    folder, results = told
    files = [p for p in folder.rglob("*") if p.suffix in (".html", ".md", ".svg")]
    before = {path: path.read_bytes() for path in files}
    write_report(folder, results)
    assert before == {path: path.read_bytes() for path in files}
    assert len(files) > 6


def test_a_failed_run_is_told_and_a_dataset_without_runs_stands_last(tmp_path: Path) -> None:
    plan = invented_plan()
    failed = {job.name: "no memory left" for job in plan.jobs if job.dataset == "noise"}
    write_report(tmp_path, invented(tmp_path, plan, failed))
    page, _ = read(tmp_path)
    assert page.count("failed: no memory left") == len(failed)
    heads = re.search(r'id="datasets".*?<tr>(.*?)</tr>', page, re.DOTALL)
    assert heads is not None
    assert re.findall("<th>(.*?)</th>", heads[1])[-1] == "noise"


def test_a_rank_is_marked_where_the_order_is_another_not_where_a_dataset_is_missing(
    tmp_path: Path,
) -> None:
    plan = invented_plan(rates=[2.0])
    results = invented(tmp_path, plan, failed={"clean.s0.x2": "no memory"})
    write_report(tmp_path, results)
    assert results.ranking == ["clean", "_odd_", "noise"]
    held = r'<section id="robustness">.*?</section>'
    unmarked = re.search(held, read(tmp_path)[0], re.DOTALL)
    assert unmarked is not None
    assert "<td>1 (" in unmarked[0]  # of _odd_, which leads where `clean` is not there
    assert 'class="meant"' not in unmarked[0]
    turned = replace(results.rates[0].variant, ranking=["noise", "_odd_"])
    write_report(tmp_path, replace(results, rates=[replace(results.rates[0], variant=turned)]))
    marked = re.search(held, read(tmp_path)[0], re.DOTALL)
    assert marked is not None
    assert marked[0].count('class="meant"') == 2


def test_home_cells_are_framed_and_each_dataset_has_its_dot(told: tuple[Path, Results]) -> None:
    _, results = told
    figure = matrix_figure(results, {**{name: name for name in NAMES}, "text": None})
    assert len(figure.axes[0].patches) == len(NAMES)
    labels = [label.get_text() for label in ranking_figure(results).axes[0].get_yticklabels()]
    assert [label.strip("\u200b") for label in labels] == results.ranking
    assert len(pairs_figure(results).axes[0].get_yticklabels()) == len(results.pairs) == 3


def test_one_seed_and_one_dataset_are_told_without_numbers_that_there_are_not(
    tmp_path: Path,
) -> None:
    one_seed, alone = tmp_path / "seed", tmp_path / "alone"
    for folder, plan in (
        (one_seed, plan_of(["a", "b"], seeds=1)),
        (alone, plan_of(["a"], seeds=2)),
    ):
        folder.mkdir()
        write_report(folder, invented(folder, plan))
        page, text = read(folder)
        assert not re.search(r"\b(nan|None|inf)\b", page + text)
        assert Tags(page).open == []
    assert '<section id="pairs">' not in read(alone)[0]


def test_what_an_experiment_did_not_keep_is_left_out(tmp_path: Path) -> None:
    results = invented(tmp_path, plan_of(NAMES))
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "timings.json").unlink()
    write_report(tmp_path, results)
    page, _ = read(tmp_path)
    assert '<section id="samples">' not in page
    assert '<section id="curves">' not in page
    assert '<section id="ranking">' in page


def test_the_texts_are_described_beside_the_outcome(tmp_path: Path) -> None:
    plan = make_plan(small_config(tmp_path / "texts", eval_bytes=5000), tmp_path / "out")
    results = judge(plan, scores_of(plan, lambda d, _: 2.0 + 0.3 * (d == "b")))
    write_report(tmp_path / "out", results)
    page, text = read(tmp_path / "out")
    assert "Flesch-Kincaid grade" in page
    assert "type-token ratio" in text
    assert "<summary>13-grams in common</summary>" in page
    assert re.search(r"<tr><th></th><th>a</th><th>b</th></tr>\s*<tr><td>bits per byte", page)
    manifests = list((tmp_path / "out" / "data").glob("*/*/manifest.json"))
    assert len(manifests) >= 2
    assert all(json.loads(file.read_text())["content"] in page for file in manifests)
    shutil.rmtree(tmp_path / "out" / "data" / "a")
    write_report(tmp_path / "out", results)
    page, _ = read(tmp_path / "out")
    assert "Flesch-Kincaid grade" not in page
    assert "bytes per token" in page


def test_the_methods_tell_what_was_done_and_not_what_was_planned() -> None:
    plan = invented_plan(seeds=4)
    whole = methods(judge(plan, scores_of(plan, truth)), plan)
    assert "On each of 3 datasets, 4 language models" in whole
    assert "macro-average over the evaluation texts of total bits over total bytes" in whole
    assert "at 0.5 and 2 times the learning rates, with 1 run of each dataset" in whole
    assert "raced" not in whole
    assert "failed" not in whole

    lost = {"noise.s2": "no memory", "noise.s3": "no memory"}
    left = {name: scores for name, scores in scores_of(plan, truth).items() if name not in lost}
    race = RaceResult({"noise": 2}, 3, 0.05 / 3, 2, 0.1)
    told = methods(judge(plan, left, race=race), plan)
    assert "On each of 3 datasets, 2 to 4 language models" in told
    assert "was better than (noise after 2), each look at a level of 0.0166667" in told
    assert "correction for 3 looks" in told
    assert "Of 18 runs, 2 failed twice" in methods(judge(plan, left, failed=lost), plan)
    plain = plan_of(NAMES)
    assert "the two compared, of total" in methods(judge(plain, scores_of(plain, truth)), plain)


def test_a_few_long_documents_are_described_as_they_are(tmp_path: Path) -> None:
    config = small_config(tmp_path / "texts", budget="1 epoch")
    books = [". ".join(sample_stories(30, seed=n)) for n in range(100, 160)]
    (tmp_path / "texts" / "b.txt").write_text("\n<|endoftext|>\n".join(books))
    plan = make_plan(config, tmp_path / "out")
    results = judge(plan, scores_of(plan, lambda d, _: 2.0 + 0.3 * (d == "b")))
    description = read_material(tmp_path / "out", results).description
    prepared = open_dataset(ExperimentDir(tmp_path / "out").data("b", "0"))
    assert description is not None
    [described] = [d for d in description.datasets if d.name == "b"]
    assert described.documents == prepared.train.num_documents < 50
