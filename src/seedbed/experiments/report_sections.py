"""The sections of a report on what was found: ranking, pairs, matrix, how far it holds, tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seedbed.experiments.report_figures import (
    curves_figure,
    matrix_figure,
    pairs_figure,
    ranking_figure,
    rates_figure,
)
from seedbed.experiments.report_material import Material
from seedbed.experiments.report_parts import (
    NONE,
    Picture,
    Section,
    Sheet,
    number,
    p_value,
    per_cent,
    span,
)
from seedbed.experiments.results import DatasetResult, PairResult, Results, TaskResult, Variant
from seedbed.experiments.wording import listed, next_run_in_words

MEANT = "meant"  # mark: what the eye should find
FAINT = "faint"
_EARLIER = 0.8  # of a run: what it gains from there on


def found_sections(results: Results, material: Material) -> list[Section]:
    """Return what was found, in the order of reading."""
    sections = [
        _ranking(results),
        _pairs(results),
        _matrix(results, material),
        _robustness(results),
        _home(results),
        _curves(results, material),
        _tasks(results),
    ]
    return [section for section in sections if section]


def _ranking(results: Results) -> Section:
    interval = f"{per_cent(results.alpha)} interval"
    columns = ["", "dataset", "bits per byte", interval, "ranks", "P(best)", "regret", "seeds"]
    rows = [
        [
            f"{place}",
            dataset.name,
            number(dataset.score),
            span(dataset.low, dataset.high),
            ranks(dataset),
            number(dataset.p_best),
            number(dataset.expected_regret),
            f"{dataset.seeds}",
        ]
        for place, dataset in enumerate(results.datasets, start=1)
    ]
    marks = {
        (row, 1): MEANT
        for row, dataset in enumerate(results.datasets)
        if dataset.name in results.top_set
    }
    note = (
        "Ranks: those that a dataset can have, at the same level for all at once. P(best): the "
        "probability that it is the best of these. Regret: by how many bits per byte choosing it "
        "is expected to be worse than choosing the best. In bold: those that may be the best."
    )
    caption = f"Mean over seeds and its {interval}: seeds and documents. Ticks: single seeds."
    return Section(
        "ranking",
        "Ranking",
        [results.judged_on["explanation"]],
        [Picture("ranking", ranking_figure(results), caption)],
        [Sheet(columns, rows, note=note, marks=marks)],
    )


def ranks(dataset: DatasetResult) -> str:
    """Return the ranks that a dataset can have."""
    best, worst = dataset.best_rank, dataset.worst_rank
    return f"{best}" if best == worst else f"{best} to {worst}"


def _pairs(results: Results) -> Section | None:
    if not results.pairs:
        return None
    rows = [
        [
            in_words(pair),
            f"{number(pair.difference)} ({span(pair.low, pair.high)})",
            p_value(pair.p_adjusted),
            wants(pair),
        ]
        for pair in results.pairs
    ]
    columns = ["verdict", f"difference ({per_cent(results.alpha)} interval)", "p, adjusted"]
    marks = {(row, 0): pair.verdict for row, pair in enumerate(results.pairs)}
    note = (
        "p, adjusted: of no difference, by Holm's method for all pairs. To resolve: more "
        "seeds of each of the two, and so many times the evaluation text where seeds alone are "
        "not enough, if the difference is the one seen."
    )
    caption = (
        f"Differences, the first less the second. Thick: {per_cent(results.alpha)} interval of a "
        f"pair; thin: of all pairs at once. Shaded: the margin of {results.margin:g}."
    )
    return Section(
        "pairs",
        "Pairs",
        _what_can_be_told(results),
        [Picture("pairs", pairs_figure(results), caption)],
        [Sheet([*columns, "to resolve"], rows, note=note, marks=marks)],
    )


def _what_can_be_told(results: Results) -> list[str]:
    """Return which differences this experiment can find, and what to run next."""
    said: list[str] = []
    if results.minimum_detectable_difference is not None:
        said.append(
            f"A difference of {results.minimum_detectable_difference:.3f} bits per byte is found "
            f"four times in five, as seeds scatter by {results.seed_sd:.4f} (standard deviation)."
        )
    if results.next_run:
        said.append(next_run_in_words(results.next_run))
    return said


def in_words(pair: PairResult) -> str:
    """Return the verdict on a pair."""
    if pair.verdict == "better":
        loser = pair.b if pair.winner == pair.a else pair.a
        return f"{pair.winner} is better than {loser}"
    if pair.verdict == "equivalent":
        return f"{pair.a} and {pair.b} are equivalent"
    return f"{pair.a} or {pair.b}: not resolved"


def wants(pair: PairResult) -> str:
    """Return what would resolve a pair."""
    if pair.towards is None:
        return ""
    if pair.more_seeds is None:
        return "out of reach"
    seeds = "1 seed" if pair.more_seeds == 1 else f"{pair.more_seeds:,} seeds"
    return f"{seeds}, {pair.more_text:.1f} x text" if (pair.more_text or 1) > 1 else seeds


def _matrix(results: Results, material: Material) -> Section:
    evals = list(next(iter(results.matrix.values())))
    origins = {e.name: e.origin for e in material.plan.evals}
    rows = [
        [name, *(f"{number(c.bits_per_byte)} ({span(c.low, c.high)})" for c in row.values())]
        for name, row in ((name, results.matrix[name]) for name in results.ranking)
    ]
    caption = (
        f"Bits per byte, and half the {per_cent(results.alpha)} interval. The stronger the colour, "
        "the nearer to the best of the column. Framed: a dataset on its own held-out text."
    )
    sets = [
        [
            e.name,
            f"held out of {e.origin}" if e.origin else "other text",
            f"{e.documents:,}",
            f"{e.bytes / 1e3:,.0f}",
            f"{e.dropped:,}",
            "yes" if e.name in results.judged_on["evals"] else "no",
        ]
        for e in material.plan.evals
    ]
    columns = ["evaluation set", "origin", "documents", "KB", "left out", "in the verdict"]
    note = "Left out: documents that occur in some dataset's training text."
    return Section(
        "matrix",
        "Trained on, scored on",
        pictures=[Picture("matrix", matrix_figure(results, origins), caption, wide=len(evals) > 8)],
        sheets=[
            Sheet(columns, sets, note=note, marks={(r, 1): FAINT for r in range(len(sets))}),
            Sheet(["trained on", *evals], rows, title="The matrix with its intervals"),
        ],
    )


def _robustness(results: Results) -> Section | None:
    """Return whether another rate, or other documents, would have given another ranking."""
    variants = {
        **{f"{c.rate:g} x rate": c.variant for c in results.rates},
        "best rates": results.best_rates.variant if results.best_rates else None,
        "contaminated too": results.with_contaminated,
        "own parts too": results.home_included,
        "others' parts": results.home_excluded,
    }
    seen = {name: variant for name, variant in variants.items() if variant}
    if not seen:
        return None
    pictures = []
    if results.rates:
        seeds = min(check.seeds for check in results.rates)
        runs = "one run" if seeds == 1 else f"{seeds} runs"
        caption = f"Scores at other learning rates, from {runs} of each dataset there."
        pictures = [Picture("rates", rates_figure(results), caption)]
    return Section(
        "robustness",
        "Does it hold?",
        [_held(seen), *_best_rates(results)],
        pictures,
        [_ranks_sheet(results, seen)],
    )


def _held(variants: Mapping[str, Variant]) -> str:
    """Return which of the verdicts turn round when the comparison is seen another way."""
    flips = [
        f"{listed([' and '.join(pair) for pair in variant.flips], ';')} ({name})"
        for name, variant in variants.items()
        if variant.flips
    ]
    if flips:
        return f"Seen another way, verdicts turn round: {listed(flips, ';')}."
    ways = "the other way" if len(variants) == 1 else f"any of {len(variants)} other ways"
    return f"No verdict turns round when the comparison is seen in {ways}."


def _best_rates(results: Results) -> list[str]:
    if not results.best_rates:
        return []
    best = results.best_rates
    other = {name: rate for name, rate in best.rates.items() if rate != 1}
    if not other:
        return ["No dataset did better at another of the learning rates tried."]
    fewest = min(best.replicates[name] for name in other)
    runs = "in one run each" if fewest == 1 else f"in {fewest} runs each"
    told = listed([f"{name} at {rate:g} times" for name, rate in other.items()])
    return [
        f"Better at another learning rate than at the planned one, {runs}, by luck or not: {told}."
    ]


def _ranks_sheet(results: Results, variants: Mapping[str, Variant]) -> Sheet:
    """Return the rank and score of each dataset in each variant; other ranks are marked."""
    rows: list[list[str]] = []
    marks: dict[tuple[int, int], str] = {}
    for row, dataset in enumerate(results.datasets):
        cells = [dataset.name, f"{row + 1} ({number(dataset.score)})"]
        for variant in variants.values():
            if dataset.name not in variant.ranking:
                cells.append(NONE)
                continue
            place = variant.ranking.index(dataset.name)
            usual = [name for name in results.ranking if name in variant.ranking]
            if usual[place] != dataset.name:
                marks[row, len(cells)] = MEANT
            cells.append(f"{place + 1} ({number(variant.scores[dataset.name])})")
        rows.append(cells)
    taus = [number(variant.tau, 2) for variant in variants.values()]
    turned = [f"{len(v.flips)} / {len(v.undecided)}" for v in variants.values()]
    rows += [["Kendall's tau", "", *taus], ["turned / lost", "", *turned]]
    note = (
        "Rank and score, in bold where the rank is another. Kendall's tau: of these scores with "
        "the verdict's. Turned: pairs decided the other way round; lost: decided in the verdict, "
        "and not here, where there are fewer runs as a rule. Best rates: each dataset at the rate "
        "that suits it best. Contaminated too: with evaluation documents that occur in training "
        "text. Own parts too: by all held-out parts. Others' parts: by those of other datasets."
    )
    return Sheet(["dataset", "verdict", *variants], rows, note=note, marks=marks)


def _home(results: Results) -> Section | None:
    if not results.home_advantage:
        return None
    rows = [
        [
            home.dataset,
            number(home.own),
            number(home.others),
            number(home.difference),
            span(home.low, home.high),
        ]
        for home in results.home_advantage
    ]
    interval = f"{per_cent(results.alpha)} interval"
    counted = {
        "texts": "They are not in the verdict.",
        "others": "No pair is judged on the parts of the two.",
        "all": "They are in the verdict: a dataset gains from being judged at home.",
    }
    columns = ["on the part of", "its own models", "the others' mean", "advantage", interval]
    text = f"Each dataset on its own held-out part. {counted[results.judged_on['mode']]}"
    return Section("home", "Home advantage", [text], sheets=[Sheet(columns, rows)])


def _curves(results: Results, material: Material) -> Section | None:
    if not material.curves:
        return None
    caption = (
        "Mean over seeds of bits per byte of the dataset's own held-out text, and the range of "
        "seeds. These texts are not equally hard: compare shapes, not heights."
    )
    picture = Picture("curves", curves_figure(results, material), caption)
    rows: list[list[str]] = []
    for name, (seen, *runs) in material.curves.items():
        mean = np.mean(runs, axis=0)  # (points,)
        before = float(np.interp(_EARLIER * seen[-1], seen, mean))
        rows.append([name, number(mean[0]), number(mean[-1]), number(before - mean[-1])])
    columns = ["dataset", "first look", "at the end", "gain of the last fifth"]
    note = "Where models still gain much, a larger budget may give another ranking."
    return Section(
        "curves", "Learning curves", pictures=[picture], sheets=[Sheet(columns, rows, note=note)]
    )


def _tasks(results: Results) -> Section | None:
    """Return how right the models are in each task, against guessing."""
    if not results.tasks:
        return None
    found = {(task.task, task.dataset): task for task in results.tasks}
    names = list(dict.fromkeys(task.task for task in results.tasks))
    rows: list[list[str]] = []
    marks: dict[tuple[int, int], str] = {}
    for row, name in enumerate(names):
        here = [found[name, dataset] for dataset in results.ranking]
        task = here[0]
        rows.append([name, f"{task.items:,}", f"{100 * task.chance:.0f}", *map(_accuracy, here)])
        for column, task in enumerate(here, start=3):
            marks[row, column] = MEANT if task.above_chance else FAINT
    luck = f"{50 * results.alpha:.2g} % of them would be so by luck alone."
    text = (
        "Accuracy in %, mean over seeds, and half its interval over items. In bold: above chance; "
        f"{luck} Tasks are no part of the verdict: so few items tell only large differences apart."
    )
    columns = ["task", "items", "chance", *results.ranking]
    note = f"Wilson's intervals of {per_cent(results.alpha)}; they leave out what seeds add."
    return Section("tasks", "Tasks", [text], sheets=[Sheet(columns, rows, note=note, marks=marks)])


def _accuracy(task: TaskResult) -> str:
    return f"{100 * task.accuracy:.0f} ±{50 * (task.high - task.low):.0f}"


def key_facts(results: Results, material: Material) -> Sequence[tuple[str, str]]:
    """Return what to know first beside the verdict: names and values."""
    plan = material.plan
    done = [run for run in results.runs if run.state == "finished"]
    detectable = results.minimum_detectable_difference
    facts = [
        ("may be the best", listed(results.top_set)),
        ("runs finished", f"{len(done)} of {len(results.runs)}"),
        ("each run learns from", plan.budget),
        ("model", f"{plan.parameters:,} parameters"),
        ("smallest difference found 4 times in 5", number(detectable)),
        ("scatter between seeds", number(results.seed_sd, 4)),
    ]
    return [(name, value) for name, value in facts if value != NONE]
