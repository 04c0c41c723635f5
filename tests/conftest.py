"""Fixtures that many tests share. Nothing here needs a network or the real data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background by a script
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real text (SEEDBED_DATA), or skip the test where there is none."""
    root = Path(__file__).parents[1]
    folder = Path(os.environ.get("SEEDBED_DATA", root / ".." / "shared" / "data")).resolve()
    for part in ("tinystories", "tiktoken_cache"):
        if not (folder / part).is_dir():
            pytest.skip(f"no {folder / part}: set SEEDBED_DATA to a folder with the real data")
    return folder
