"""How far long work has come: a live line on a terminal, plain lines elsewhere. On stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Shows `done` of `total`, the rate, the time left, and facts such as the loss.

    Use it as a context manager. `quiet` shows nothing at all.
    """

    def __init__(self, title: str, total: float | None, *, unit: str, quiet: bool = False) -> None:
        self.title, self.total, self.unit, self.quiet = title, total, unit, quiet
        self._start: tuple[float, float] | None = None  # first time and amount seen
        self._last_line = 0.0
        self._live: Any = None
        if not quiet and sys.stderr.isatty():
            self._live = _live_display()
            self._task = self._live.add_task(title, total=total, facts="")

    def __enter__(self) -> Self:
        """Start showing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing, whatever happened."""
        if self._live:
            self._live.stop()

    def update(self, done: float, **facts: str) -> None:
        """Show that `done` is done, with `facts` beside it."""
        if self.quiet:
            return
        now = time.monotonic()
        self._start = self._start or (now, done)
        text = "  ".join(f"{name} {value}" for name, value in facts.items())
        if self._live:
            self._live.update(self._task, completed=done, total=self.total, facts=text)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or done == self.total:
            self._last_line = now
            parts = [f"{self.title} {self._amount(done)}", self._time_left(now, done), text]
            print("  ".join(p for p in parts if p), file=sys.stderr, flush=True)  # noqa: T201

    def note(self, text: str) -> None:
        """Show a line that stays."""
        if self.quiet:
            return
        if self._live:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def _amount(self, done: float) -> str:
        if self.unit == "bytes":
            whole = f" of {self.total / 1e6:,.1f}" if self.total else ""
            return f"{done / 1e6:,.1f}{whole} MB"
        whole = f" of {self.total:,.0f}" if self.total else ""
        return f"{self.unit} {done:,.0f}{whole}"

    def _time_left(self, now: float, done: float) -> str:
        assert self._start is not None
        start, first = self._start
        if not self.total or done <= first or done >= self.total:
            return ""
        left = (self.total - done) * (now - start) / (done - first)
        minutes, seconds = divmod(round(left), 60)
        return f"{minutes}:{seconds:02d} left"


def _live_display() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
        console=Console(stderr=True),
    )
