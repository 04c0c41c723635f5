"""What a comparison found, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len  # wide characters take two places

from seedbed.experiments.lens import Comparison
from seedbed.experiments.plan import Plan
from seedbed.experiments.results import (
    NextRun,
    PairResult,
    RaceResult,
    RateCheck,
    RunResult,
    Variant,
)
from seedbed.statistics import largest_variance

MOST_NAMED = 3  # pairs without a leader that a verdict names


def verdict_in_words(
    ranking: Sequence[str],
    pairs: Sequence[PairResult],
    rates: Sequence[RateCheck],
    margin: float,
) -> str:
    """Return the verdict in a few sentences, the most important one first."""
    leader = ranking[0]
    if len(ranking) == 1:
        return f"{leader} is the only dataset that was scored: there is nothing to compare it with."
    if all(math.isnan(pair.p) for pair in pairs):
        return (
            f"{leader} has the lowest score, but with one seed of each dataset nothing is known of "
            "chance, so no difference is resolved. Two seeds are the least; three are better."
        )
    own = [pair for pair in pairs if leader in (pair.a, pair.b)]
    others = [pair for pair in pairs if leader not in (pair.a, pair.b)]
    sentences = [
        *_about_leader(leader, own, margin),
        *_about_others(others, margin),
        *_about_rates(rates),
    ]
    return " ".join(sentences)


def _about_leader(leader: str, pairs: list[PairResult], margin: float) -> list[str]:
    """Return sentences on the leader and each other dataset."""
    beaten = [pair for pair in pairs if pair.verdict == "better" and pair.winner == leader]
    whom = [f"{_other(pair, leader)} (by {size(pair.difference)})" for pair in beaten]
    if not beaten:
        first = f"{leader} has the lowest score, but is not shown to be better than any other."
    elif len(beaten) == len(pairs) > 1:
        first = f"{leader} is the best, in bits per byte: better than {listed(whom)}."
    else:
        first = f"{leader} is better than {listed(whom)}, in bits per byte."
    against = [
        f"But {pair.winner} is better than {leader} (by {size(pair.difference)}) where they meet."
        for pair in pairs
        if pair.verdict == "better" and pair.winner != leader
    ]
    rest = [_undecided(pair, margin) for pair in pairs if pair.verdict != "better"]
    return [first, *against, *rest]


def _about_others(pairs: list[PairResult], margin: float) -> list[str]:
    """Return sentences on the pairs without the leader."""
    undecided = [pair for pair in pairs if pair.verdict != "better"]
    if len(pairs) == 1 and not undecided:
        return [f"{pairs[0].a} is better than {pairs[0].b} (by {size(pairs[0].difference)})."]
    if pairs and not undecided:
        return ["All other pairs are decided too."]
    named = undecided if len(undecided) <= MOST_NAMED + 1 else undecided[:MOST_NAMED]
    sentences = [_undecided(pair, margin) for pair in named]
    left = len(undecided) - len(named)
    return [*sentences, f"{left} more pairs are not decided."] if left else sentences


def _undecided(pair: PairResult, margin: float) -> str:
    """Return a sentence on a pair that is equivalent or unresolved."""
    if pair.verdict == "equivalent":
        return f"{pair.a} and {pair.b} are equivalent: they differ by less than {size(margin)}."
    gap = f"the difference of {size(pair.difference)} is not resolved"
    return f"Between {pair.a} and {pair.b} {gap}: {_would(pair)}."


def _would(pair: PairResult | NextRun) -> str:
    """Return what would resolve a pair whose true difference is the one seen."""
    if pair.more_text is None or pair.more_seeds is None:
        return "no number of seeds within reason would tell"
    seeds = "1 more seed" if pair.more_seeds == 1 else f"{pair.more_seeds:,} more seeds"
    text = f"{pair.more_text:.1f} times the evaluation text and " if pair.more_text > 1 else ""
    what = "show it" if pair.towards == "better" else "show that it is within the margin"
    return f"about {text}{seeds} of each would {what}"


def _about_rates(rates: Sequence[RateCheck]) -> list[str]:
    """Return sentences on whether the verdicts stand at other learning rates."""
    flipped = [check for check in rates if check.variant.flips]
    if rates and not flipped:
        at = listed([_rate(check) for check in rates])
        return [f"At {at} the learning rates no verdict turns round."]
    return [
        f"At {_rate(check)} the learning rates the verdict on "
        f"{listed([' and '.join(pair) for pair in check.variant.flips], ';')} turns round."
        for check in flipped
    ]


def _rate(check: RateCheck) -> str:
    return {0.5: "half", 2.0: "twice"}.get(check.rate, f"{check.rate:g} times")


def warnings_of(
    base: Comparison,
    plan: Plan,
    runs: Sequence[RunResult],
    contaminated: Variant | None,
    race: RaceResult | None,
) -> list[str]:
    """Return what a reader of the verdict should know, beside what the plan warned of."""
    return [
        *_about_runs(base, plan, runs),
        *_about_scatter(base),
        *_about_texts(base, contaminated),
        *_about_race(race),
    ]


def _about_runs(base: Comparison, plan: Plan, runs: Sequence[RunResult]) -> list[str]:
    """Return warnings of runs that are missing."""
    warnings: list[str] = []
    failed = [run.name for run in runs if run.state == "failed"]
    if failed:
        warnings.append(
            f"{len(failed)} of {len(runs)} runs failed twice and are left out: {listed(failed)}. "
            "What they said is in results.json."
        )
    missing = [run.name for run in runs if run.state == "not run"]
    if missing:
        warnings.append(
            f"{len(missing)} of {len(runs)} runs have not been made: {listed(missing)}."
        )
    unranked = [d.name for d in plan.datasets if d.name not in base.datasets]
    if unranked:
        warnings.append(f"No run of {listed(unranked)} has finished: not in the ranking.")
    return warnings


def _about_scatter(base: Comparison) -> list[str]:
    """Return a warning of datasets whose seeds do not scatter alike."""
    found = largest_variance(base.scores)
    if found is None or not found.p <= 0.05:
        return []
    return [
        f"The seeds of {base.datasets[found.dataset]} scatter {found.ratio:.1f} times as much as "
        "those of the others. The tests take the scatter as the same for all: verdicts on it are "
        "less sure than they look."
    ]


def _about_texts(base: Comparison, contaminated: Variant | None) -> list[str]:
    """Return warnings of what the verdict was judged on."""
    warnings: list[str] = []
    if base.lens.mode == "all" and len(base.datasets) > 1:
        warnings.append(
            "The datasets are judged on their own held-out parts too: see the home advantage. "
            "Give texts that belong to none of them with --eval."
        )
    if contaminated and contaminated.ranking != base.ranking:
        warnings.append(
            "With the evaluation documents that occur in training text the ranking would be "
            f"another: {listed(contaminated.ranking)}."
        )
    return warnings


def _about_race(race: RaceResult | None) -> list[str]:
    if race is None or not race.dropped:
        return []
    return [
        f"The race dropped {listed(list(race.dropped))}: with fewer seeds, their scores are less "
        "sure, and look a little worse than they are."
    ]


def next_run_in_words(run: NextRun) -> str:
    """Return what to run next."""
    return f"Cheapest to resolve: {run.a} and {run.b}, if their difference is real; {_would(run)}."


def _other(pair: PairResult, name: str) -> str:
    return pair.b if pair.a == name else pair.a


def size(difference: float) -> str:
    """Return a difference without its sign.

    >>> size(-0.0754), size(0.00012)
    ('0.075', '0.0001')
    """
    gap = abs(difference)
    return f"{gap:.3f}" if gap >= 0.001 or gap == 0 else f"{gap:.1g}"


def listed(names: Sequence[str], comma: str = ",") -> str:
    """Return names as one reads them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = names
    return f"{f'{comma} '.join(most)} and {last}" if most else last


def plan_in_words(plan: Plan) -> list[str]:
    """Return what is going to be done, in lines."""
    main, others = len(plan.main_jobs), len(plan.jobs) - len(plan.main_jobs)
    rates = listed([f"{rate:g}" for rate in plan.rates]) if others else ""
    check = f", and {others} that check the ranking at {rates} times the learning rates"
    shape = f"{plan.model.d_model} wide, {plan.model.num_layers} layers"
    made = f", made of {plan.tokenizer_bytes / 1e6:.1f} MB of each" if plan.tokenizer_bytes else ""
    lines = [
        f"{main} runs: {plan.seeds} of each dataset{check if others else ''}",
        f"about {minutes_in_words(plan)}",
        f"model: {plan.parameters:,} parameters; {shape}; the same for all runs",
        f"tokenizer: {plan.tokenizer}, {plan.model.vocab_size:,} tokens{made}",
        f"each run learns from {plan.budget}:",
        *aligned(
            [
                ["dataset", "documents", "MB", "bytes/token", "parts", "tokens", "epochs", "GFLOP"],
                *(
                    [
                        d.name,
                        f"{d.documents:,}",
                        f"{d.bytes / 1e6:.2f}",
                        f"{d.bytes_per_token:.2f}",
                        f"{d.parts}" if d.parts_are_disjoint else "shared",
                        f"{d.tokens_per_run:,}",
                        f"{d.epochs:.2f}",
                        f"{d.flops_per_run / 1e9:,.0f}",
                    ]
                    for d in plan.datasets
                ),
            ]
        ),
        "models are scored on:",
        *aligned(
            [
                ["evaluation set", "documents", "KB", "left out"],
                *(
                    [e.name, f"{e.documents:,}", f"{e.bytes / 1e3:,.0f}", f"{e.dropped:,}"]
                    for e in plan.evals
                ),
            ]
        ),
    ]
    if plan.minimum_detectable_difference is not None:
        lines.append(
            f"a difference of {plan.minimum_detectable_difference:.3f} bits per byte would be "
            f"found four times in five, if seeds scatter by {plan.seed_sd:g}; where evaluation "
            "documents are few, it is more"
        )
    return [*lines, *(f"warning: {warning}" for warning in plan.warnings)]


def minutes_in_words(plan: Plan) -> str:
    """Return how long the runs are expected to take."""
    at_once = "one at a time" if plan.workers == 1 else f"{plan.workers} at a time"
    return f"{plan.minutes_expected:,.1f} minutes, {at_once}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines, the first column on the left, the others on the right.

    >>> aligned([["a", "bytes"], ["text", "9"]])
    ['  a     bytes', '  text      9']
    >>> aligned([["語", "bytes"], ["text", "9"]])[0]
    '  語    bytes'
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        spaces = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        numbers = [space + cell for space, cell in zip(spaces[1:], row[1:], strict=True)]
        lines.append("  " + "  ".join([row[0] + spaces[0], *numbers]))
    return lines
