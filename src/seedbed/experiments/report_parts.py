"""What a report is made of: sections with text, figures and tables.

All texts in here are plain: whoever shows them escapes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure as Drawing

NONE = "-"  # a number that there is not


@dataclass(frozen=True)
class Sheet:
    """A table. Those with a title are folded away on the page, and not in the text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])


@dataclass(frozen=True)
class Picture:
    """A figure, and what its file is called."""

    name: str
    drawing: Drawing
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Quote:
    """What a model wrote after a prompt."""

    of: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the report. `name` is what links to it."""

    name: str
    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    sheets: Sequence[Sheet] = ()
    quotes: Sequence[Quote] = ()
    listings: Mapping[str, str] = field(default_factory=dict[str, str])  # of files, by their names
    brief: bool = True  # part of the text, too


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table.

    >>> number(1234.5678, 2), number(float("nan")), number(None)
    ('1,234.57', '-', '-')
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def span(low: float, high: float) -> str:
    """Return an interval.

    >>> span(2.6012, 2.6498), span(float("nan"), float("nan"))
    ('2.601 to 2.650', '-')
    """
    known = math.isfinite(low) and math.isfinite(high)
    return f"{low:.3f} to {high:.3f}" if known else NONE


def p_value(value: float | None) -> str:
    """Return a p value.

    >>> p_value(0.0312), p_value(0.00001), p_value(float("nan"))
    ('0.031', '< 0.001', '-')
    """
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def large(value: float) -> str:
    """Return a large number with a unit of its size.

    >>> large(950), large(1_500_000), large(2.5e13)
    ('950', '1.5 M', '25 T')
    """
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def per_cent(alpha: float) -> str:
    """Return how sure an interval is that is wrong with a chance of alpha.

    >>> per_cent(0.05)
    '95 %'
    """
    return f"{100 * (1 - alpha):.4g} %"
