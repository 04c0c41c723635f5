"""The processes that train together: who am I, and how do we add up."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from seedbed.errors import ConfigError


@dataclass(frozen=True)
class World:
    """This process among `size` that train one model."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  a device is immutable

    @property
    def on_main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def all_sum(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` in place by its sum over all processes, and return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is True in any process."""
        if self.size == 1:
            return flag
        return bool(self.all_sum(torch.tensor(float(flag), device=self.device)) > 0)

    def from_main(self, number: int) -> int:
        """Return the number that the main process has."""
        if self.size == 1:
            return number
        own = torch.tensor(int(number) if self.on_main else 0, device=self.device)
        return int(self.all_sum(own))

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


def best_device() -> torch.device:
    """Return the fastest device that torch can use here: cuda, mps, or cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def join_world(device: str = "auto") -> World:
    """Return this process' World; under torchrun, after joining the process group.

    Raises ConfigError when the machine has no such device.
    """
    chosen = best_device() if device == "auto" else _device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(device=chosen)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(rank=dist.get_rank(), size=size, device=chosen)


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise ConfigError(
            f"`device` is {name!r}, which torch does not find here. Try auto, cpu, cuda or mps."
        ) from None
