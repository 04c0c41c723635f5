"""How commands import what takes long."""

from __future__ import annotations

import gc
import importlib
import sys


def import_at_once(*modules: str) -> None:
    """Import modules that import torch, in less time than it takes by itself.

    What comes with torch, a quarter of a million objects, stays: Python would look for garbage
    among them again and again, and once more at its end.
    """
    if "torch" in sys.modules:
        return
    gc.disable()
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
