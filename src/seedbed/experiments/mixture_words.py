"""What a search for the best mixture found, in plain words."""

# pyright: strict

from __future__ import annotations

from typing import Any

from seedbed.experiments.wording import aligned, listed, size

_MODELS = {
    "law": "the data mixing law, c + exp(k + t.p)",
    "law by kinds": "data mixing laws, c + exp(k + t.p), of {kinds} kinds of target document",
    "linear": "a linear model",
    "trees": "boosted trees",
}


def mixture_in_words(found: dict[str, Any]) -> list[str]:
    """Return the proposal, how sure it is, and what the confirmation said, in lines."""
    proposal, confirmation = found["proposal"], found["confirmation"]
    weights = [f"{100 * weight:.1f} % {name}" for name, weight in proposal["weights"].items()]
    return [
        f"The proposed mixture, in shares of bytes: {listed(weights)}.",
        f"Confirmed with fresh seeds: {confirmation['verdict']}",
        "",
        *_weights(proposal),
        "",
        *_scores(found),
        "",
        *_fit(found),
        *(f"Warning: {text}" for text in [*found["warnings"], *confirmation["warnings"]]),
    ]


def _weights(proposal: dict[str, Any]) -> list[str]:
    rows = [["MIXTURE", "weight", "95 % interval", "limit", "epochs"]]
    for name, weight in proposal["weights"].items():
        between = f"{proposal['low'][name]:.3f} to {proposal['high'][name]:.3f}"
        limit, epochs = proposal["limits"][name], proposal["epochs"][name]
        rows.append([name, f"{weight:.3f}", between, f"{limit:.3f}", f"{epochs:.2f}"])
    return aligned(rows)


def _scores(found: dict[str, Any]) -> list[str]:
    """Return what was predicted of the confirmed mixtures, and seen."""
    rows = [["CONFIRMATION", "predicted", "observed", "interval", "seeds"]]
    for dataset in found["confirmation"]["datasets"]:
        low, high = dataset["low"], dataset["high"]
        between = "-" if low is None else f"{low:.4f} to {high:.4f}"
        predicted = f"{found['predictions'][dataset['name']]:.4f}"
        rows.append(
            [dataset["name"], predicted, f"{dataset['score']:.4f}", between, f"{dataset['seeds']}"]
        )
    return aligned(rows)


def _fit(found: dict[str, Any]) -> list[str]:
    """Return how well the fit predicts mixtures that it has not seen."""
    fit, noise, proposal = found["fit"], found["noise"], found["proposal"]
    held_out = fit["held_out"]
    model = _MODELS[fit["model"]].format(kinds=fit["kinds"])
    lines = [
        f"Fitted to {len(found['runs'])} runs: {model}, chosen by cross-validation.",
        f"On mixtures held out, choice included: rank correlation "
        f"{_told(held_out['rank_correlation'])}, error {held_out['rmse']:.4f} bits per byte; the "
        f"run predicted best is {size(held_out['regret'])} above the best run.",
    ]
    if noise["sd"] is not None:
        lines.append(
            f"Runs of one mixture differ by {noise['sd']:.4f} (standard deviation, "
            f"{noise['degrees_of_freedom']} degrees of freedom): no fit could do better than that, "
            f"nor than a rank correlation of {_told(noise['best_rank_correlation'])}."
        )
    return [
        *lines,
        f"The proposal is expected to be {size(proposal['expected_regret'])} bits per byte above "
        f"the best mixture, and with 95 % probability no more than "
        f"{size(proposal['largest_regret'])}, if the model is right in kind.",
        "All runs of the design read the same documents of each source. The confirmation draws its "
        "documents anew from the same text, so some are the same: it is a check with fresh seeds, "
        "not on fresh text.",
    ]


def _told(correlation: float | None) -> str:
    return "-" if correlation is None else f"{correlation:.2f}"
