"""The model made ready to be read from only: its matrices in fewer bytes.

Writing one sequence reads every weight for every token, so fewer bytes are less time.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.errors import ConfigError
from seedbed.model.attention import Attention
from seedbed.model.layers import MLP, Linear
from seedbed.model.transformer import Transformer

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
_FEW_ROWS = 8  # up to here reading the weights takes the time, beyond it the products do


def choose_inference_precision(asked: str, device: torch.device) -> Precision:
    """Return the precision to read a model in: as asked for, or what loses nothing.

    `auto` is fp32, with which a seed writes the same text on any device: what bf16 and int8 lose is
    small, but for the user to weigh. Raises ConfigError for another name, and for int8 where there
    is no product for it.

    >>> choose_inference_precision("auto", torch.device("cpu"))
    'fp32'
    """
    if asked == "auto":
        return "fp32"
    if asked == "int8" and device.type != "cpu":
        raise ConfigError(
            f"`precision` is int8, which only a processor has, and the device is {device.type}. "
            "Try bf16 or device cpu."
        )
    for precision in PRECISIONS:
        if asked == precision:
            return precision
    raise ConfigError(f"`precision` is {asked!r} but must be auto, {', '.join(PRECISIONS)}.")


def for_inference(model: Transformer, precision: Precision) -> Transformer:
    """Return the model made ready to be read from, for good: it can be neither trained nor saved.

    Matrices that read the same are joined. bf16: weights and activations in bfloat16. int8: the
    matrices in 8 bits with a scale for each row, their products in bfloat16, all else in float32.
    """
    model.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, Attention | MLP):
            part.join()
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, Linear)]
    if precision == "bf16":
        _to_bfloat16(model)
    elif precision == "int8":
        for name, layer in layers:
            model.set_submodule(name, Int8Linear(layer))
    elif model.embedding.weight.device.type == "cpu":
        for _, layer in layers:  # one row times a matrix kept in columns takes half as long
            layer.weight.data = layer.weight.data.T.contiguous().T
    return model.eval()


def _to_bfloat16(model: Transformer) -> None:
    tables = dict(model.named_buffers(recurse=False))
    model.to(torch.bfloat16)
    for name, table in tables.items():  # are cast after they are looked up
        setattr(model, name, table)
    model.compute_dtype = torch.bfloat16


class Int8Linear(nn.Module):
    """A linear layer whose weights are 8-bit integers times a scale for each output.

    It computes in bfloat16, for which torch has a quick product.
    """

    weight: Tensor  # (out, in), int8
    scale: Tensor  # (out,), bfloat16

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = (weight.abs().amax(1).clamp(min=1e-8) / 127).to(torch.bfloat16)
        rounded = (weight / scale.float()[:, None]).round().clamp(-127, 127)
        self.register_buffer("weight", rounded.to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """Return x W^T + b for x (..., in): (..., out), in the dtype of x."""
        x = input.flatten(0, -2).to(torch.bfloat16)
        if x.shape[0] <= _FEW_ROWS:
            y = torch.ops.aten._weight_int8pack_mm(x, self.weight, self.scale)
        else:
            y = F.linear(x, self.weight.to(x.dtype)) * self.scale
        y = y.to(input.dtype)
        if self.bias is not None:
            y = y + self.bias
        return y.unflatten(0, input.shape[:-1])
