"""Runs that kill themselves at chosen moments, to see whether they go on as if they had not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

# A function for the code of such a process.
KILL_AT = """
import os, pkgutil, signal

def kill_at(module, name, moment, left):
    place = pkgutil.resolve_name(module)
    original = getattr(place, name)
    def killing(*args, **options):
        nonlocal left
        left -= 1
        if left == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(place, name, killing)
"""

Moment = tuple[str, str, str, int]  # module or class, function, "before" or "after", which call

# Trains in a process that SIGKILLs itself before or after the n-th call of a function. It forks
# one child a moment, so that torch is imported once.
_KILLER = f"""{KILL_AT}
import json, sys
import torch._dynamo  # seconds that each child would spend
from seedbed.config import build
from seedbed.training.config import TrainConfig
from seedbed.training.finetune import finetune
from seedbed.training.pretrain import train

torch.set_num_threads(1)
codes = []
for settings, moment in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        kill_at(*moment)
        config = build(TrainConfig, settings)
        (finetune if config.finetune else train)(config, quiet=True)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


def kill_runs(runs: Sequence[tuple[dict[str, Any], Moment]]) -> None:
    """Begin runs of these settings; each is killed at its moment, or this fails."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLER],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [-signal.SIGKILL] * len(runs), done.stderr
