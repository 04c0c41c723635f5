"""Training, one contender in one process: what `throughput.py` and `gpu.py` time.

Imports nothing of Seedbed at the top, so that it also runs in a peer's own environment.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import Measured, median_of
from meters import gpu_peak, wait_for

FUSED = "fused AdamW"  # of nanoGPT, whose code keeps it for CUDA
WARM, TIMED = 1, 5  # stretches of steps; the warm ones, where compilers work, are left out


@dataclass(frozen=True)
class Shape:
    """A size of model and batch. The vocabulary is that of the text."""

    num_layers: int
    num_heads: int
    d_model: int
    context_length: int
    batch_size: int
    chunk: int  # steps that are timed together


class Clock:
    """Notes the time after each chunk of steps."""

    def __init__(self, chunk: int, device: str) -> None:
        self._chunk, self._device = chunk, device
        self._steps = 0
        self._times = [time.perf_counter()]

    def tick(self) -> None:
        self._steps += 1
        if self._steps % self._chunk == 0:
            wait_for(self._device)
            self._times.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Return the seconds of a step in each chunk."""
        pairs = zip(self._times, self._times[1:], strict=False)
        return [(after - before) / self._chunk for before, after in pairs]


def train(peer: str, shape: dict[str, Any], **asked: Any) -> Measured:
    """Return the tokens per second of one contender: the median over stretches of steps."""
    peers: dict[str, Callable[..., Measured]] = {
        "nanoGPT": train_nanogpt,
        "transformers": train_transformers,
        "LitGPT": train_litgpt,
        "Seedbed": train_seedbed,
    }
    known = Shape(**shape)
    measured = peers[peer](known, **asked)
    timed = [{"seconds": seconds} for seconds in measured["seconds"][WARM:]]
    tokens = known.batch_size * known.context_length
    peak = gpu_peak(asked["device"])
    return measured | peak | {"rate": tokens / median_of(timed, "seconds")}


def steps_of(shape: Shape) -> int:
    return shape.chunk * (WARM + TIMED)


def random_windows(data: str, shape: Shape, device: str) -> Callable[[], tuple[Any, Any]]:
    """Return a function that draws inputs and targets as nanoGPT does."""
    import numpy as np
    import torch

    tokens = torch.from_numpy(np.fromfile(Path(data) / "train.bin", np.uint16).astype(np.int64))
    source = torch.Generator().manual_seed(1)

    def draw() -> tuple[Any, Any]:
        room = len(tokens) - shape.context_length
        starts = torch.randint(room, (shape.batch_size,), generator=source)
        windows = torch.stack([tokens[s : s + shape.context_length + 1] for s in starts])
        return windows[:, :-1].contiguous().to(device), windows[:, 1:].contiguous().to(device)

    return draw


def plain_loop(
    loss_of: Callable[[Any, Any], Any],
    optimizer: Any,
    parameters: Iterable[Any],
    *,
    shape: Shape,
    data: str,
    device: str,
    precision: str,
) -> Measured:
    """Return the seconds of steps of the plainest loop: forward, backward, clip, step."""
    import torch

    parameters, draw = list(parameters), random_windows(data, shape, device)
    clock = Clock(shape.chunk, device)
    half = precision == "bf16"
    for _ in range(steps_of(shape)):
        inputs, targets = draw()
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half):
            loss = loss_of(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick()
    return {"seconds": clock.seconds(), "precision": precision}


def train_nanogpt(
    shape: Shape,
    *,
    nanogpt: str,
    vocab_size: int,
    compiled: bool,
    optimizer: str,
    device: str,
    **asked: Any,
) -> Measured:
    """Train nanoGPT's model with nanoGPT's optimizer."""
    import torch

    sys.path.insert(0, nanogpt)
    from model import GPT, GPTConfig  # of nanoGPT

    torch.manual_seed(1337)
    torch.backends.cuda.matmul.allow_tf32 = True  # as its train.py
    config = GPTConfig(
        block_size=shape.context_length,
        vocab_size=vocab_size,
        n_layer=shape.num_layers,
        n_head=shape.num_heads,
        n_embd=shape.d_model,
        dropout=0.0,
        bias=False,
    )
    model = GPT(config).to(device)
    # What it makes of the kind of device is only whether AdamW is fused.
    kind = "cuda" if optimizer == FUSED else device.split(":")[0]
    adamw = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), kind)
    forward = torch.compile(model) if compiled else model
    rest = {key: asked[key] for key in ("data", "precision")}
    return plain_loop(
        lambda x, y: forward(x, y)[1],
        adamw,
        model.parameters(),
        shape=shape,
        device=device,
        **rest,
    )


def train_litgpt(
    shape: Shape, *, family: str, vocab_size: int, compiled: bool, device: str, **asked: Any
) -> Measured:
    """Train LitGPT's model. It has no learned positions: its GPT-2 has RoPE, as GPT-NeoX."""
    import torch
    import torch.nn.functional as F
    from litgpt.config import Config
    from litgpt.model import GPT

    modern = family == "qwen3"
    config = Config(
        block_size=shape.context_length,
        n_layer=shape.num_layers,
        n_head=shape.num_heads,
        n_embd=shape.d_model,
        intermediate_size=d_ff(shape, family),
        vocab_size=vocab_size,
        padded_vocab_size=vocab_size,
        bias=False,
        rotary_percentage=1.0,
        parallel_residual=False,
        norm_class_name="RMSNorm" if modern else "LayerNorm",
        mlp_class_name="LLaMAMLP" if modern else "GptNeoxMLP",
        norm_qk=modern,
    )
    torch.manual_seed(1337)
    model = GPT(config).to(device)
    model.lm_head.weight = model.transformer.wte.weight
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.99), fused=True)
    forward = torch.compile(model) if compiled else model

    def loss_of(inputs: Any, targets: Any) -> Any:
        return F.cross_entropy(forward(inputs).flatten(0, 1), targets.flatten())

    rest = {key: asked[key] for key in ("data", "precision")}
    return plain_loop(loss_of, optimizer, model.parameters(), shape=shape, device=device, **rest)


def train_transformers(
    shape: Shape,
    *,
    family: str,
    vocab_size: int,
    precision: str,
    compiled: bool,
    device: str,
    data: str,
    **_: Any,
) -> Measured:
    """Train the stock class with transformers' Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

    set_seed(1337)
    model = stock_model(shape, family, vocab_size)
    draw = random_windows(data, shape, "cpu")
    rows = [row for _ in range(steps_of(shape)) for row in draw()[0]]
    clock = Clock(shape.chunk, device)

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            max_steps=steps_of(shape),
            per_device_train_batch_size=shape.batch_size,
            learning_rate=1e-3,
            weight_decay=0.1,
            bf16=precision == "bf16",
            torch_compile=compiled,
            use_cpu=device == "cpu",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        examples = [{"input_ids": row, "labels": row} for row in rows]
        Trainer(model, settings, train_dataset=examples, callbacks=[Tick()]).train()
    return {"seconds": clock.seconds(), "precision": precision}


def stock_model(shape: Shape, family: str, vocab_size: int) -> Any:
    """Return the stock class of a family with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

    if family == "gpt2":
        config = GPT2Config(
            vocab_size=vocab_size,
            n_positions=shape.context_length,
            n_embd=shape.d_model,
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
        )
        return GPT2LMHeadModel(config)
    config = Qwen3Config(
        vocab_size=vocab_size,
        max_position_embeddings=shape.context_length,
        hidden_size=shape.d_model,
        intermediate_size=d_ff(shape, family),
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        head_dim=shape.d_model // shape.num_heads,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return Qwen3ForCausalLM(config)


def d_ff(shape: Shape, family: str) -> int:
    return 4 * shape.d_model if family == "gpt2" else round(shape.d_model * 8 / 3 / 32) * 32


def train_seedbed(
    shape: Shape,
    *,
    family: str,
    precision: str,
    compiled: bool,
    optimizer: str,
    device: str,
    data: str,
    **_: Any,
) -> Measured:
    """Train with `seedbed.train`, whole, and read the rates of its metrics.jsonl."""
    import seedbed
    from seedbed.config import build, read_yaml

    steps = steps_of(shape)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        settings = {
            "data": data,
            "out": run,
            "horizon": f"{steps} steps",
            "model": model_settings(shape, family),
            "batch_size": shape.batch_size,
            "device": device,
            "precision": precision,
            "compile": "on" if compiled else "off",
            "optimizer": {"kind": optimizer},
            "evaluation": {"every": steps, "tokens": 1000},
            "checkpoint": {"every": steps},
            "samples": {"tokens": 0},
            "log_every": shape.chunk,
        }
        seedbed.train(build(seedbed.TrainConfig, settings), quiet=True)
        lines = (run / "metrics.jsonl").read_text().splitlines()
        chosen = read_yaml(run / "config.yaml")["precision"]
    tokens = shape.batch_size * shape.context_length
    seconds = [tokens / json.loads(line)["tokens_per_second"] for line in lines]
    return {"seconds": seconds, "precision": chosen}


def model_settings(shape: Shape, family: str) -> dict[str, Any]:
    fields = {k: v for k, v in asdict(shape).items() if k not in ("batch_size", "chunk")}
    return fields | {
        "preset": "gpt2" if family == "gpt2" else "modern",
        "bias": False,
        "d_ff": d_ff(shape, family),
        "dropout": 0.0,
    }
