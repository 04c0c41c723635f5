"""Stopping on request: SIGINT and SIGTERM set a flag that the loop looks at after each step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

STOPPED = 75  # the exit code of a process that was asked to stop: its state is saved


@dataclass
class Stop:
    """Whether training shall stop after the step that it is at."""

    requested: bool = False


STOPPING = (
    "stopping after this step; its state will be saved. Ctrl-C again ends at once, without saving"
)


@contextmanager
def stop_signals(note: Callable[[str], object] = lambda _: None) -> Generator[Stop]:
    """Yield what SIGINT and SIGTERM set; a second SIGINT interrupts at once.

    `note` is told what the first one does, while anything else may be under way.
    Only the main thread of a program hears signals: elsewhere nothing sets it.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: object) -> None:
        del frame
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not stop.requested:
            stop.requested = True
            with suppress(RuntimeError):  # amid another line: a stream is not entered twice
                note(STOPPING)

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, request) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
