"""What a ladder found, in plain words."""

# pyright: strict

from __future__ import annotations

from typing import Any

from seedbed.experiments.wording import aligned, size


def ladder_in_words(found: dict[str, Any]) -> list[str]:
    """Return the verdict at the top, what is expected beyond it, and the laws, in lines."""
    at = found["foretold_at"]
    beyond = f"{at['parameters']:,.0f} parameters and {at['bytes'] / 1e6:,.1f} MB of text"
    return [
        f"At the largest size and budget: {found['verdict']}",
        f"At {beyond}: {order_in_words(found['foretold_pairs'])}",
        "",
        *_scores(found),
        "",
        *_laws(found),
        "",
        "What lies beyond the ladder is foretold by a law, not measured: its intervals hold if the "
        "law does, and for these evaluation documents only.",
        *(f"Warning: {text}" for text in found["warnings"]),
    ]


def order_in_words(pairs: list[dict[str, Any]]) -> str:
    """Return whether the order of the datasets is expected to hold.

    >>> pair = {"a": "x", "b": "y", "difference": -0.1, "chance": 1.0, "order": "holds"}
    >>> order_in_words([pair])
    'x is expected to stay better than y (by 0.100).'
    """
    if not pairs:
        return "there is one dataset, and no order."
    told = [_pair(pair) for pair in pairs]
    if len(pairs) > 1 and all(pair["order"] == "holds" for pair in pairs):
        return "the order of all datasets is expected to hold."
    return " ".join(told)


def _pair(pair: dict[str, Any]) -> str:
    a, b, gap = pair["a"], pair["b"], size(pair["difference"])
    if pair["order"] == "holds":
        return f"{a} is expected to stay better than {b} (by {gap})."
    if pair["order"] == "turns round":
        return f"{b} is expected to become better than {a} (by {gap})."
    chance = f"{a} stays better in {pair['chance']:.0%} of the draws"
    return f"Whether {a} stays better than {b} is not known: {chance}."


def _scores(found: dict[str, Any]) -> list[str]:
    """Return the mean score of each dataset on each rung, and beyond."""
    names = found["ranking"]
    rows = [["RUNG", "parameters", "budget", *names]]
    for rung in found["rungs"]:
        scores = [_mean(rung["scores"].get(name)) for name in names]
        rows.append([rung["name"], f"{rung['parameters']:,}", rung["budget"], *scores])
    at = found["foretold_at"]
    foretold = [found["datasets"][name]["foretold"] for name in names]
    reach = [f"{at['parameters']:,.0f}", f"{at['bytes']:,.0f} bytes"]
    rows.append(["foretold", *reach, *(f"{one['predicted']:.4f}" for one in foretold)])
    rows.append(["from", "", "", *(f"{one['low']:.4f}" for one in foretold)])
    rows.append(["to", "", "", *(f"{one['high']:.4f}" for one in foretold)])
    return aligned(rows)


def _mean(scores: list[float] | None) -> str:
    return f"{sum(scores) / len(scores):.4f}" if scores else "-"


def _laws(found: dict[str, Any]) -> list[str]:
    """Return the laws, and how one fitted without the top foretells it."""
    rows = [["L(N, D)", "E", "A", "alpha", "B", "beta", "error", "top foretold", "observed"]]
    for name in found["ranking"]:
        facts = found["datasets"][name]
        law, tested = facts["law"], facts["back_test"]
        numbers = [law["irreducible"], law["size_factor"], law["alpha"]]
        numbers += [law["data_factor"], law["beta"]]
        test = ["-", "-"]
        if tested:
            test = [f"{tested['predicted']:.4f}", f"{tested['observed']:.4f}"]
        rows.append([name, *(f"{n:.4g}" for n in numbers), f"{facts['rmse']:.4f}", *test])
    return aligned(rows)
