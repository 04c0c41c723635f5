"""The sections of a report on what is behind it: datasets, samples, cost, how to do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from seedbed.data.describe import DatasetFigures
from seedbed.data.description_table import Style, show, tables
from seedbed.data.estimates import Figure
from seedbed.data.overlap import MUCH, RUN
from seedbed.experiments.plan import DatasetFacts, Plan
from seedbed.experiments.report_material import DESCRIBED_BYTES, Material, ordered
from seedbed.experiments.report_parts import NONE, Section, Sheet, large, number, per_cent
from seedbed.experiments.report_sections import FAINT, MEANT, ranks
from seedbed.experiments.results import Results, RunResult
from seedbed.experiments.wording import listed

_JUDGED_ON = {
    "texts": "the evaluation texts",
    "others": "the held-out parts of the datasets other than the one scored, or the two compared,",
    "all": "the held-out parts of all datasets",
}
_NOT_TOLD = {"size"}  # tables of a description: the plan's facts are of all the text

_FIGURES: Mapping[str, tuple[Style, Callable[[DatasetFigures], Figure]]] = {
    "words in a document, median": ("count", lambda d: float(d.words_per_document["p50"])),
    "type-token ratio": ("number", lambda d: d.vocabulary.type_token),
    "zstd compression": ("number", lambda d: d.vocabulary.compression),
    "Flesch-Kincaid grade": ("number", lambda d: d.text["flesch_kincaid_grade"]),
    "stop words": ("share", lambda d: d.text["stop_words"]),
    "symbols": ("share", lambda d: d.text["symbols"]),
    "self-repetition": ("share", lambda d: d.text["self_repetition"]),
    "near copies": ("share", lambda d: d.near_duplicates.copies if d.near_duplicates else None),
}


def background_sections(results: Results, material: Material) -> list[Section]:
    """Return what the findings come from, in the order of reading."""
    sections = [
        _datasets(results, material),
        _samples(material),
        _cost(results, material),
        _again(results, material),
    ]
    return [section for section in sections if section]


def _datasets(results: Results, material: Material) -> Section:
    """Return what the datasets are like, beside how they did."""
    plan, names = material.plan, ordered(results, material.plan)
    facts = [plan.dataset(name) for name in names]
    rows = [*_outcome(results, names), *_facts(facts), *_figures(material)]
    found = material.description
    folded = [
        Sheet(
            ["", *table.columns],
            [[row.label, *row.cells] for row in table.rows],
            table.title,
            table.note,
        )
        for table in (tables(found) if found else [])
        if table.title not in _NOT_TOLD
    ]
    text = [
        "What the texts are like, beside how their models did. With so few datasets, that two "
        "figures go together is no reason to think that one makes the other."
    ]
    if found:
        text.append(
            f"Figures of the text are from about {DESCRIBED_BYTES / 1e6:g} MB of what the first "
            "run of each dataset learns from; ± is the further end of a 95 % bootstrap interval."
        )
    sources = [[f.name, _origin(f), _left_out(f)] for f in facts]
    return Section(
        "datasets",
        "Datasets",
        text,
        sheets=[
            Sheet(["", *names], rows, marks={(0, c + 1): MEANT for c in range(len(names))}),
            Sheet(["dataset", "sources", "left out by cleaning"], sources, title="sources"),
            *folded,
        ],
    )


def _outcome(results: Results, names: Sequence[str]) -> list[list[str]]:
    by_name = {dataset.name: dataset for dataset in results.datasets}
    found = [by_name.get(name) for name in names]
    return [
        ["bits per byte (the verdict's)", *(number(d.score) if d else NONE for d in found)],
        ["ranks", *(ranks(d) if d else NONE for d in found)],
    ]


def _facts(facts: Sequence[DatasetFacts]) -> list[list[str]]:
    columns: dict[str, Callable[[DatasetFacts], str]] = {
        "documents for training": lambda f: f"{f.documents:,}",
        "MB for training": lambda f: number(f.bytes / 1e6, 2),
        "bytes per token": lambda f: number(f.bytes_per_token, 2),
        "parts": lambda f: f"{f.parts}" if f.parts_are_disjoint else "shared",
        "MB seen by a run": lambda f: number(f.bytes_per_run / 1e6, 2),
        "tokens seen by a run": lambda f: f"{f.tokens_per_run:,}",
        "epochs": lambda f: number(f.epochs, 2),
    }
    return [[label, *map(show_it, facts)] for label, show_it in columns.items()]


def _figures(material: Material) -> list[list[str]]:
    if not material.description:
        return []
    datasets = material.description.datasets
    return [
        [label, *(show(figure(dataset), style) for dataset in datasets)]
        for label, (style, figure) in _FIGURES.items()
    ]


def _origin(facts: DatasetFacts) -> str:
    shares = [f"{share:.0%} {name}" for name, share in facts.mixture.items()]
    return listed(shares) if shares else ", ".join(facts.sources)


def _left_out(facts: DatasetFacts) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in facts.drops.items()) or "nothing"


def _samples(material: Material) -> Section | None:
    if not material.samples:
        return None
    text = (
        "What the first model of each dataset writes at the end of its training, after the first "
        "words of its held-out documents: as it came, nothing chosen."
    )
    return Section("samples", "Samples", [text], quotes=material.samples, brief=False)


def _cost(results: Results, material: Material) -> Section:
    """Return what the runs took."""
    plan = material.plan
    done = [run for run in results.runs if run.state == "finished"]
    rows = [
        *(
            _cost_row(name, [run for run in done if run.dataset == name], material)
            for name in ordered(results, plan)
        ),
        _cost_row("all", done, material),
    ]
    text: list[str] = []
    if results.race:
        text.append(
            f"The race saved {results.race.runs_saved} runs ({results.race.share_saved:.0%} of "
            "the plan's)."
        )
    columns = ["dataset", "runs", "tokens", "bytes", "FLOPs", "minutes", "minutes of scoring"]
    note = (
        "Runs that finished, those at other learning rates counted. Minutes are of a process with "
        "one thread, and the only figures here that depend on the machine."
    )
    return Section(
        "cost",
        "Cost",
        text,
        sheets=[
            Sheet(columns, rows, note=note, marks={(len(rows) - 1, 0): MEANT}),
            _runs(results, [e.name for e in plan.evals]),
        ],
    )


def _runs(results: Results, evals: Sequence[str]) -> Sheet:
    rows = [
        [
            run.name,
            run.state + (f": {run.error}" if run.error else ""),
            f"{run.seed}",
            f"{run.rate:g}",
            *(number(run.bits_per_byte.get(name)) for name in evals),
        ]
        for run in results.runs
    ]
    faint = {(row, 1): FAINT for row, run in enumerate(results.runs) if run.state == "finished"}
    columns = ["run", "state", "seed", "rate", *evals]
    return Sheet(columns, rows, title="all runs, with seeds and bits per byte", marks=faint)


def _cost_row(label: str, runs: Sequence[RunResult], material: Material) -> list[str]:
    facts = [material.plan.dataset(run.dataset) for run in runs]
    names = [run.name for run in runs]
    return [
        label,
        f"{len(runs)}",
        large(sum(f.tokens_per_run for f in facts)),
        large(sum(f.bytes_per_run for f in facts)),
        large(sum(f.flops_per_run for f in facts)),
        _minutes(material, names, "training"),
        _minutes(material, names, "scoring"),
    ]


def _minutes(material: Material, runs: Sequence[str], part: str) -> str:
    seconds = [material.seconds[run][part] for run in runs if run in material.seconds]
    return number(sum(seconds) / 60, 1) if seconds else NONE


def _again(results: Results, material: Material) -> Section:
    """Return everything that is needed to do the experiment again."""
    plan = material.plan
    seeds = sorted({job.seed for job in plan.jobs})
    rows = [
        ["command", "seedbed compare experiment.yaml --out AGAIN"],
        ["Seedbed", plan.version],
        *(["machine", machine] for machine in material.machines),
        ["seeds", f"{plan.seed} of the experiment; {', '.join(map(str, seeds))} of the runs"],
        ["precision", f"{plan.precision} on {plan.device}"],
        ["batch", f"{plan.batch_size} sequences of {plan.model.context_length:,} tokens"],
    ]
    contents = [[part, content] for part, content in material.contents.items()]
    return Section(
        "again",
        "To do it again",
        [methods(results, plan)],
        sheets=[
            Sheet(["what", "value"], rows),
            Sheet(["dataset/part", "SHA-256 of its text"], contents, title="the texts"),
        ],
        listings={"experiment.yaml": material.settings} if material.settings else {},
    )


def methods(results: Results, plan: Plan) -> str:
    """Return what was done, as a paper says it."""
    model, pairs = plan.model, len(results.pairs)
    seeds = sorted({dataset.seeds for dataset in results.datasets})
    shared = [facts.name for facts in plan.datasets if not facts.parts_are_disjoint]
    replicates = "Each replicate has its own weights, order and random part of the documents"
    if shared:
        replicates += (
            f", but those of {listed(shared)} share all documents: what is said of these holds for "
            "these documents only"
        )
    made = (
        f" made of {plan.tokenizer_bytes / 1e6:.2f} MB of each dataset"
        if plan.tokenizer_bytes
        else ""
    )
    sentences = [
        f"Methods. On each of {len(results.datasets)} datasets, "
        f"{' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} language models of "
        f"{plan.parameters:,} parameters ({model.num_layers} layers, {model.d_model} wide, context "
        f"{model.context_length:,}) were trained on {plan.budget} each, with one {plan.tokenizer} "
        f"tokenizer of {model.vocab_size:,} tokens{made}.",
        f"{replicates}.",
        *_missing(results),
        f"A score is the macro-average over {_JUDGED_ON[results.judged_on['mode']]} of total bits "
        "over total bytes. Evaluation documents that occur in training text "
        f"({MUCH:.0%} of their {RUN}-grams, or near duplicates) were left out.",
        "Differences in bits per byte were tested with the variance between seeds pooled over "
        "datasets and the error of a paired bootstrap over documents, with Holm's correction for "
        f"{pairs} pair{'s' * (pairs != 1)} at a level of {results.alpha:g}; equivalence by two "
        f"one-sided tests within ±{plan.margin:g} bits per byte.",
        *_other_rates(results),
        f"Intervals are of {per_cent(results.alpha)}.",
    ]
    return " ".join(sentences)


def _missing(results: Results) -> list[str]:
    """Return sentences on the runs of the plan that were not made, or failed."""
    told: list[str] = []
    race = results.race
    if race:
        left = listed([f"{n} after {seeds}" for n, seeds in race.dropped.items()] or ["none did"])
        told.append(
            "The datasets were raced: after each replicate but the first, those left that the "
            f"leader was better than ({left}), each look at a level of {race.alpha_of_a_look:g} "
            f"(Bonferroni's correction for {race.looks} look{'s' * (race.looks != 1)})."
        )
    failed = sum(run.state == "failed" for run in results.runs)
    if failed:
        told.append(f"Of {len(results.runs)} runs, {failed} failed twice and are left out.")
    return told


def _other_rates(results: Results) -> list[str]:
    """Return a sentence on the checks at other learning rates."""
    if not results.rates:
        return []
    rates = listed([f"{check.rate:g}" for check in results.rates])
    seeds = min(check.seeds for check in results.rates)
    return [
        f"The comparison was repeated at {rates} times the learning rates, with {seeds} "
        f"run{'s' * (seeds != 1)} of each dataset that was still compared."
    ]
