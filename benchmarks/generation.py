"""How fast text is written: one sequence and 32 at once, beside transformers and nanoGPT.

Weights are random. Seedbed and transformers read one checkpoint, so their models are equal; nanoGPT
has its own shape of the same width and depth. No text ends early: the weights never draw the end.
Each contender runs in a process of its own. All settings take part in the first round; the fastest
of each peer in each precision goes on. Each size has a result file of its own.

    python benchmarks/generation.py --nanogpt PATH [--size 10m --size 100m]      both unless said

The loss of each precision is measured on a model trained for two minutes, or on `--checkpoint`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
from harness import Measured, Report, median_of, ratio, table
from meters import wait_for

VOCABULARY = 4096
SAMPLING = {"temperature": 0.8, "top_k": 50}
PROMPT = list(range(97, 113))  # 16 bytes


@dataclass(frozen=True)
class Size:
    """A model, and how many tokens are timed."""

    num_layers: int
    num_heads: int
    d_model: int
    context_length: int = 512
    tokens: int = 200  # of one sequence
    tokens_of_many: int = 50  # of each of several at once


SIZES = {"10m": Size(6, 6, 384), "100m": Size(13, 12, 768)}
QUICK = {"quick": Size(2, 2, 32, 64, tokens=8, tokens_of_many=4)}
MANY = 32


@dataclass(frozen=True)
class Contender:
    """One way to write. Its fields go to the child as they are."""

    peer: str
    precision: str
    batch_size: int = 1
    compiled: bool = False

    def __str__(self) -> str:
        many = f", {self.batch_size} at once" if self.batch_size > 1 else ""
        return f"{self.peer}, {self.precision}{', compiled' if self.compiled else ''}{many}"

    @property
    def kind(self) -> tuple[object, ...]:
        """What goes on in its fastest setting; Seedbed's are all shown."""
        own = self.compiled if self.peer == "Seedbed" else None
        return (self.peer, self.precision, self.batch_size, own)


CONTENDERS = [
    Contender(peer, precision, batch_size, compiled)
    for peer, batch_size in (("nanoGPT", 1), ("transformers", 1), ("transformers", MANY))
    for precision in ("fp32", "bf16")
    for compiled in (False, True)
]
CONTENDERS += [
    Contender("Seedbed", precision, batch_size)
    for precision in ("fp32", "bf16", "int8")
    for batch_size in (1, MANY)
]
CONTENDERS += [Contender("Seedbed", "int8", compiled=True)]


# --- in the child --------------------------------------------------------------------------------


def child(peer: str, size: dict[str, Any], batch_size: int, device: str, **asked: Any) -> Measured:
    """Return the tokens per second of one contender, after a warm-up."""
    writers: dict[str, Callable[..., Callable[[int], int]]] = {
        "nanoGPT": nanogpt_writer,
        "transformers": transformers_writer,
        "Seedbed": seedbed_writer,
    }
    known = Size(**size)
    write = writers[peer](known, batch_size=batch_size, device=device, **asked)
    tokens = known.tokens if batch_size == 1 else known.tokens_of_many
    write(tokens if asked["compiled"] else max(3, tokens // 8))  # compiles for every length
    wait_for(device)
    start = time.perf_counter()
    written = write(tokens)
    wait_for(device)
    seconds = time.perf_counter() - start
    assert written == batch_size * tokens, f"{written} tokens, not {batch_size} x {tokens}"
    return {"rate": written / seconds}


def dtype_of(precision: str) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def seedbed_writer(
    _size: Size,
    *,
    checkpoint: str,
    precision: str,
    batch_size: int,
    device: str,
    compiled: bool,
    **_: Any,
) -> Callable[[int], int]:
    """Return a function that writes so many tokens with Seedbed, and says how many there were."""
    import seedbed
    from seedbed.generation.engine import stream

    loaded = seedbed.load_checkpoint(Path(checkpoint), device, precision)
    model = loaded.model
    if compiled:
        model.compile(dynamic=True)
    sampling = seedbed.SamplingSettings(**SAMPLING)

    def write(tokens: int) -> int:
        prompts = [PROMPT] * batch_size
        made = stream(
            model, loaded.tokenizer, prompts, max_new_tokens=tokens, sampling=sampling, seed=1
        )
        return sum(1 for _ in made)

    return write


def transformers_writer(
    _size: Size,
    *,
    checkpoint: str,
    precision: str,
    batch_size: int,
    device: str,
    compiled: bool,
    **_: Any,
) -> Callable[[int], int]:
    """Return a function that writes with `generate`; compiled, with a static cache."""
    import torch
    from transformers import AutoModelForCausalLM, CompileConfig

    dtype = dtype_of(precision)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).to(device).eval()
    prompts = torch.tensor([PROMPT] * batch_size, device=device)
    compiling = CompileConfig(fullgraph=False)
    compiling._compile_all_devices = True  # else on GPUs alone
    static = {"cache_implementation": "static", "compile_config": compiling}

    def write(tokens: int) -> int:
        made = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=True,
            max_new_tokens=tokens,
            pad_token_id=0,
            **(static if compiled else {}),
            **SAMPLING,
        )
        return (made.shape[1] - len(PROMPT)) * batch_size

    return write


def nanogpt_writer(
    size: Size,
    *,
    nanogpt: str,
    precision: str,
    batch_size: int,
    device: str,
    compiled: bool,
    **_: Any,
) -> Callable[[int], int]:
    """Return a function that writes with nanoGPT, which has no cache."""
    import torch

    sys.path.insert(0, nanogpt)
    from model import GPT, GPTConfig  # of nanoGPT

    config = GPTConfig(
        block_size=size.context_length,
        vocab_size=VOCABULARY,
        n_layer=size.num_layers,
        n_head=size.num_heads,
        n_embd=size.d_model,
        bias=False,
    )
    model = GPT(config).to(device, dtype_of(precision)).eval()
    if compiled:
        model.compile(dynamic=True)
    prompts = torch.tensor([PROMPT] * batch_size, device=device)

    def write(tokens: int) -> int:
        made = model.generate(prompts, tokens, **SAMPLING)
        return (made.shape[1] - len(PROMPT)) * batch_size

    return write


# --- in the parent -------------------------------------------------------------------------------


def save_random_model(size: Size, folder: Path) -> str:
    """Return what the model is; a checkpoint of it is in the folder.

    Its end of a document has an embedding of zeros, so a logit of 0, never among the likeliest.
    """
    import torch

    from seedbed.checkpoints import save_checkpoint
    from seedbed.config import build
    from seedbed.model.config import ModelSettings
    from seedbed.model.transformer import Transformer, init_weights
    from seedbed.tokenizers.simple import ByteTokenizer

    fields = {key: value for key, value in asdict(size).items() if not key.startswith("tokens")}
    shape = build(ModelSettings, fields).resolve(VOCABULARY)
    model = Transformer(shape)
    init_weights(model, seed=1)
    tokenizer = ByteTokenizer()
    with torch.no_grad():
        model.embedding.weight[tokenizer.special.eos] = 0.0
    save_checkpoint(folder, model, tokenizer, facts={})
    return f"{shape.parameters}, context {shape.context_length}, vocabulary {VOCABULARY:,}"


def rates(
    size: Size, checkpoint: Path, asked: argparse.Namespace
) -> tuple[dict[Contender, list[Measured]], dict[Contender, list[Measured]]]:
    """Return the rates of the fastest settings in all rounds, and of the others in the first."""
    common = {"size": asdict(size), "checkpoint": checkpoint, "device": asked.device}
    common |= {"nanogpt": asked.nanogpt}
    present = [c for c in CONTENDERS if c.peer != "nanoGPT" or asked.nanogpt]
    if asked.device != "cpu":
        present = [c for c in present if c.precision != "int8"]
    if asked.quick:
        present = [Contender(peer, "fp32") for peer in ("transformers", "Seedbed")]
        present.append(Contender("Seedbed", "int8"))
    present = [c for c in present if not asked.only or str(c) in asked.only]
    jobs = {c: partial(harness.in_fresh_process, __file__, asdict(c) | common) for c in present}
    first = harness.take_turns(jobs, 1)
    best = harness.fastest(first, lambda c: c.kind)
    more = harness.take_turns({c: jobs[c] for c in best}, asked.rounds - 1)
    slower = {c: measured for c, measured in first.items() if c not in best}
    return {c: first[c] + measured for c, measured in more.items()}, slower


def section(name: str, size: Size, asked: argparse.Namespace) -> str:
    """Return the tables of one size."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model"
        model = save_random_model(size, checkpoint)
        measured, slower = rates(size, checkpoint, asked)
        first = first_tokens(checkpoint, asked)
    left = [f"{c} {median_of(turns, 'rate'):,.0f}" for c, turns in slower.items()]
    medians = {c: median_of(turns, "rate") for c, turns in measured.items()}
    cached = best(medians, "transformers")
    without = best(medians, "nanoGPT")
    ones = {
        c.precision: rate
        for c, rate in medians.items()
        if c.peer == "Seedbed" and c.batch_size == 1 and not c.compiled
    }
    rows = [
        [
            str(c),
            f"{rate:,.0f}",
            harness.spread_of(measured[c], "rate"),
            ratio(rate, cached.get(("fp32", c.batch_size))),
            ratio(rate, cached.get((c.precision, c.batch_size))),
            ratio(rate, without.get(("fp32", c.batch_size))),
            ratio(rate, without.get((c.precision, c.batch_size))),
            ratio(rate, ones.get(c.precision)) if c.peer == "Seedbed" else "",
        ]
        for c, rate in medians.items()
    ]
    header = ["", "tokens/s", "smallest to largest", "to transformers fp32"]
    header += ["to transformers, same precision", "to nanoGPT fp32", "to nanoGPT, same precision"]
    header.append("to one sequence")
    told = f"Slower in the first round, tokens/s: {'; '.join(left)}.\n\n" if left else ""
    return f"## {name}\n\n{model}.\n\n{table(header, rows)}\n\n{told}{first}"


def best(medians: dict[Contender, float], peer: str) -> dict[tuple[str, int], float]:
    """Return the rate of a peer's faster setting, by precision and number of sequences."""
    found: dict[tuple[str, int], float] = {}
    for contender, rate in medians.items():
        if contender.peer == peer:
            key = (contender.precision, contender.batch_size)
            found[key] = max(rate, found.get(key, 0.0))
    return found


def first_tokens(checkpoint: Path, asked: argparse.Namespace) -> str:
    """Return a table of the seconds that whole commands need for one token."""
    command = ["-m", "seedbed", "generate", str(checkpoint), "--prompt", "Once"]
    command += ["--max-new-tokens", "1", "--device", asked.device]
    peer = (
        "import sys, torch; from transformers import AutoModelForCausalLM as M; "
        "model = M.from_pretrained(sys.argv[1]).to(sys.argv[2]); "
        "model.generate(torch.tensor([[79, 110]], device=sys.argv[2]), max_new_tokens=1)"
    )
    commands = {
        "`seedbed generate`": command,
        "transformers, from Python": ["-c", peer, str(checkpoint), asked.device],
    }
    if asked.quick:
        del commands["transformers, from Python"]
    turns = harness.take_turns(
        {name: partial(harness.seconds_of, words) for name, words in commands.items()},
        asked.rounds,
    )
    rows = [
        [name, f"{median_of(measured, 'seconds'):.2f}", harness.spread_of(measured, "seconds")]
        for name, measured in turns.items()
    ]
    return table(["the whole command, writing one token", "seconds", "smallest to largest"], rows)


def losses(checkpoint: Path, text: str, asked: argparse.Namespace) -> str:
    """Return a table of what a trained model loses in each precision, on a text."""
    from seedbed.evaluation.evaluate import evaluate

    precisions = ["fp32", "bf16"] + ["int8"] * (asked.device == "cpu")
    found = {
        p: evaluate(checkpoint, text=text, device=asked.device, precision=p) for p in precisions
    }
    whole = found["fp32"].bits_per_byte
    rows = [
        [p, f"{r.bits_per_byte:.5f}", f"{r.bits_per_byte - whole:+.5f}"] for p, r in found.items()
    ]
    size = f"{found['fp32'].bytes:,} bytes that the model was not trained on"
    return f"## Precision\n\n{table(['', 'bits per byte', 'loss'], rows)}\n\nOn {size}."


def trained_losses(asked: argparse.Namespace) -> str:
    """Return the table of `losses`, of `--checkpoint` on `--text` or of a model trained here."""
    if asked.checkpoint:
        if not asked.text:
            sys.exit("`--checkpoint` needs `--text FILE`: what it was not trained on.")
        return losses(asked.checkpoint, asked.text, asked)
    text = harness.characters(asked.quick)
    cut = len(text) * 9 // 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.txt").write_text(text[:cut], encoding="utf-8")
        (folder / "val.txt").write_text(text[cut:], encoding="utf-8")
        prepare = ["prepare", "train.txt", "--out", "data", "--tokenizer", "byte"]
        train = ["train", "--data", "data", "--out", "run", f"device={asked.device}"]
        train += ("--steps 5 --size 0.1m" if asked.quick else "--minutes 2 --size 1m").split()
        for words in (prepare, train):
            harness.seconds_of(["-m", "seedbed", *words], folder=folder)
        return losses(folder / "run", str(folder / "val.txt"), asked)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--size", action="append", choices=SIZES)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="of the table: a contender; no precisions"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="measure the loss of each precision on this trained model"
    )
    parser.add_argument("--text", help="what --checkpoint was not trained on")
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else {name: SIZES[name] for name in asked.size or SIZES}
    for number, (name, size) in enumerate(sizes.items()):
        Report(f"generation-{name}", asked).write(
            "Generation",
            section(name, size, asked),
            "" if number or asked.only else trained_losses(asked),  # the same for every size
            f"Median of {asked.rounds} rounds, taking turns, each in a process of its own, after a "
            f"warm-up, of compiled ones as long as what is timed. {len(PROMPT)} tokens are read, "
            f"then exactly {size.tokens} written, or {size.tokens_of_many} in each of {MANY} "
            "sequences at once, with temperature 0.8 among the 50 likeliest. Compiled transformers "
            "writes into its static cache. A rate counts the tokens of all sequences together.",
        )


if __name__ == "__main__":
    harness.run(main, child)
