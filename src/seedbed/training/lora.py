"""Low-rank adaptation (LoRA; Hu et al., 2021): frozen weights and a small, learned change to them.

A chosen layer computes W x + (alpha / rank) B A x. Only A and B are trained. `model.state_dict()`
has the sum of both under the names of a plain model, so a checkpoint is like any other;
`adapter_state` has A and B, without which training could not go on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.errors import CheckpointError, ConfigError
from seedbed.model.layers import Linear
from seedbed.model.transformer import Transformer
from seedbed.training.config import LoraSettings


class LoraLinear(nn.Module):
    """A linear layer that stays as it is, plus `scale` times the product of two narrow ones.

    It computes in the dtype of its input. Its state is that of a plain linear layer: the weights it
    amounts to when it is read, the frozen ones alone when it is filled.
    """

    def __init__(self, layer: Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.weight, self.bias, self.scale = layer.weight, layer.bias, scale
        columns, rows = layer.in_features, layer.out_features
        self.lora_a = nn.Parameter(torch.zeros(rank, columns, device=layer.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(rows, rank, device=layer.weight.device))

    def forward(self, input: Tensor) -> Tensor:
        """Return x W^T + b + scale (x A^T) B^T, in the dtype of the input x."""
        dtype = input.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        y = F.linear(input, self.weight.to(dtype), bias)
        change = F.linear(F.linear(input, self.lora_a.to(dtype)), self.lora_b.to(dtype))
        return torch.add(y, change, alpha=self.scale)

    def merged(self) -> Tensor:
        """Return the weights of the plain layer that computes the same: (out, in)."""
        return torch.addmm(self.weight, self.lora_b, self.lora_a, alpha=self.scale)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        merged = self.merged()
        destination[f"{prefix}weight"] = merged if keep_vars else merged.detach()
        if self.bias is not None:
            destination[f"{prefix}bias"] = self.bias if keep_vars else self.bias.detach()

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        missing: list[str] = []
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing, unexpected_keys, error_msgs
        )
        ours = {f"{prefix}lora_a", f"{prefix}lora_b"}  # are no part of the state
        missing_keys += [key for key in missing if key not in ours]


def add_lora(
    model: Transformer, settings: LoraSettings, seed: int, *, vocabulary: bool = False
) -> None:
    """Freeze the model and give the chosen layers of its blocks something to learn, in place.

    It computes what it did before. `vocabulary`: embedding and head are trained too, as new tokens
    would stay what they began as. Raises ConfigError for a target that its shape does not have.
    """
    chosen = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, Linear)
        and name.startswith("blocks.")
        and (settings.targets is None or _last(name) in settings.targets)
    ]
    absent = set(settings.targets or ()) - {_last(name) for name, _ in chosen}
    if absent:
        raise ConfigError(
            f"`lora.targets` has {', '.join(sorted(absent))}, which a model with "
            f"mlp={model.config.mlp} does not have. Leave it out, or leave all out: then every "
            "linear layer of the blocks is changed."
        )
    model.requires_grad_(False)
    if vocabulary:
        model.embedding.requires_grad_(True)
        model.head.requires_grad_(True)
    for name, layer in chosen:
        model.set_submodule(name, LoraLinear(layer, settings.rank, settings.scale))
    init_adapter(model, seed)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def init_adapter(model: Transformer, seed: int) -> None:
    """Fill A with random numbers and B with zeros, in place: the same for a seed on any device.

    A is uniform with a deviation of 1 / sqrt(3 fan in), as in the authors' code.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in _lora_layers(model):
            bound = 1 / math.sqrt(layer.lora_a.shape[1])
            value = torch.empty(layer.lora_a.shape).uniform_(-bound, bound, generator=generator)
            layer.lora_a.copy_(value)
            layer.lora_b.zero_()


def _lora_layers(model: Transformer) -> Iterator[tuple[str, LoraLinear]]:
    return ((n, layer) for n, layer in model.named_modules() if isinstance(layer, LoraLinear))


def adapter_state(model: Transformer) -> dict[str, Tensor]:
    """Return all that is trained, as "blocks.0.mlp.up.lora_a"; {} without `add_lora`."""
    if not any(True for _ in _lora_layers(model)):
        return {}
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


def load_adapter(model: Transformer, tensors: Mapping[str, Tensor]) -> None:
    """Copy what `adapter_state` returned into the model.

    Raises CheckpointError when it is of other layers or of another rank.
    """
    own = adapter_state(model)
    differ = own.keys() ^ tensors.keys()
    differ |= {k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape}
    if differ:
        raise CheckpointError(
            f"The adapter does not fit the model: {len(differ):,} tensors, such as {min(differ)}, "
            "are absent or of another shape. Go on with the `lora` settings that it was made with."
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])
