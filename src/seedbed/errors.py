"""The errors a user can cause, and can mend.

    UserError             bad input: told in one line, exit code 2
    ├── ConfigError       a setting is wrong, or settings do not fit together
    ├── DataError         a source, a prepared dataset or a record in it
    └── CheckpointError   a checkpoint or a run folder

A message says what is wrong, the value seen, and what to do. Anything else that is raised is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something in the user's hands is wrong."""


class ConfigError(UserError):
    """A setting is unknown, out of range, or contradicts another."""


class DataError(UserError):
    """A source cannot be read, or a prepared dataset is not whole."""


class CheckpointError(UserError):
    """A checkpoint or run folder is missing, damaged, or does not fit."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the known name nearest to `name`, or "" when none is near.

    >>> did_you_mean("lerning_rate", ["learning_rate", "warmup"])
    ' Did you mean `learning_rate`?'
    """
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean `{nearest[0]}`?" if nearest else ""


def how_to_install(extra: str) -> str:
    """Return the command that brings one of the extras of pyproject.toml.

    >>> how_to_install("data")
    'pip install -c constraints.txt ".[data]" in a clone of Seedbed'
    """
    return f'pip install -c constraints.txt ".[{extra}]" in a clone of Seedbed'


# What torch says where it has no exception of its own for that: on a processor, on Apple's GPUs,
# and inside CUDA's libraries.
_NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, of torch's or of Python's, says that there is no memory.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes do not fit"))
    (True, False)
    """
    own = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's
    return own or any(words in str(error) for words in _NO_MEMORY)
