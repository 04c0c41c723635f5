"""How long to nanoGPT's loss: its own run on characters, and `seedbed train` to the same loss.

Both are whole processes, on the same characters and split. The loss is that of the whole validation
split in disjoint windows of the context length, computed the same way for both. Seedbed is asked
as a user asks who has a text and little time: `--minutes`, and the context length. The rest is its
default recipe, the size too, unless that were larger than nanoGPT's. Sought is the least time in
which each of three seeds reaches nanoGPT's loss. The rounds then use seeds that the search has not
seen, for that time and the next longer one; where not all rounds reach the loss in either, still
longer ones follow. The headline is the first time in which all rounds do.

nanoGPT is compiled or not, whichever is faster in two runs of each (with `--brief`: not). The task
`baby` is nanoGPT's 10.7M model for its first 60 steps, in batches of 16 where a GPU has 64, always
eager, which was the faster in `throughput.py`; give it 3 rounds, or it takes long.

    python benchmarks/time_to_loss.py --nanogpt PATH [--task stories]    a file for each task
    python benchmarks/time_to_loss.py --nanogpt PATH --task baby --rounds 3
    python benchmarks/time_to_loss.py --task shakespeare --target 1.898 --seconds 84   without it
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import harness
from harness import Measured, Report, median_of, ratio, table, tell

SEEDS = (1, 2, 3)  # of the search
FIRST_SEED = 101  # of the rounds
TIMES_SOONER = (14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)  # tried in this order


@dataclass(frozen=True)
class Task:
    """A run of nanoGPT."""

    corpus: str
    num_layers: int
    num_heads: int
    d_model: int
    context_length: int
    batch_size: int
    steps: int
    dropout: float = 0.0
    evaluate_every: int | None = None  # None: at the end
    compiling: tuple[str, ...] = ("eager", "compiled")  # the faster is found
    bought: bool = True  # whether to tell what nanoGPT's time buys

    @property
    def parameters(self) -> int:
        """What nanoGPT counts (it leaves positions out), but for the embeddings."""
        return self.num_layers * (12 * self.d_model**2 + 2 * self.d_model) + self.d_model

    def nanogpt_words(self, device: str) -> list[str]:
        """Return the settings of nanoGPT's train.py, as its README gives them."""
        settings = {
            "device": device,
            "n_layer": self.num_layers,
            "n_head": self.num_heads,
            "n_embd": self.d_model,
            "block_size": self.context_length,
            "batch_size": self.batch_size,
            "max_iters": self.steps,
            "lr_decay_iters": self.steps,
            "warmup_iters": min(100, self.steps // 20),  # 100 in its own 2,000 steps
            "dropout": self.dropout,
            "eval_iters": 20,
            "eval_interval": self.evaluate_every or self.steps,
            "always_save_checkpoint": self.evaluate_every is None,  # else the best one
            "dataset": "characters",
            "out_dir": "out",
        }
        return [f"--{key}={value}" for key, value in settings.items()]


TASKS = {
    "shakespeare": Task("tinyshakespeare", 4, 4, 128, 64, 12, 2000),
    "stories": Task("tinystories", 4, 4, 128, 64, 12, 2000),
    # 10.7M, within its first epoch
    "baby": Task("tinyshakespeare", 6, 6, 384, 256, 16, 60, compiling=("eager",), bought=False),
}
QUICK = {"quick": Task("made-up stories", 2, 2, 64, 16, 4, 5, compiling=("eager",))}
COMPILING = {"eager": ["--compile=False"], "compiled": ["--compile=True"]}


@dataclass(frozen=True)
class Place:
    """A folder with a text as both want it, and where both leave their runs."""

    folder: Path
    task: Task
    vocabulary: int
    device: str
    seeds: tuple[int, ...] = SEEDS  # of the search
    times_sooner: tuple[int, ...] = TIMES_SOONER

    @property
    def size(self) -> int:
        """Return how many parameters nanoGPT says that it has: Seedbed gets no more."""
        return self.task.parameters + self.vocabulary * self.task.d_model


@contextmanager
def set_up(task: Task, asked: argparse.Namespace) -> Iterator[Place]:
    """Yield a folder with the text, 90 % of it for training, and a copy of nanoGPT in it."""
    text = harness.characters(asked.quick, task.corpus)
    cut = int(len(text) * 0.9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.txt").write_text(text[:cut], encoding="utf-8")
        (folder / "val.txt").write_text(text[cut:], encoding="utf-8")
        vocabulary = sorted(set(text))
        if asked.nanogpt:
            copy_nanogpt(asked.nanogpt, folder / "nanogpt", vocabulary, text[:cut], text[cut:])
        words = ["-m", "seedbed", "prepare", "train.txt", "--val", "val.txt", "--out", "data"]
        harness.seconds_of([*words, "--tokenizer", "char"], folder=folder)
        whole = Place(folder, task, len(vocabulary), asked.device)
        yield replace(whole, seeds=SEEDS[:1], times_sooner=(1,)) if asked.quick else whole


def copy_nanogpt(checkout: Path, to: Path, vocabulary: list[str], train: str, val: str) -> None:
    """Copy what nanoGPT's train.py needs, with the text as its prepare.py writes it."""
    import numpy as np

    data = to / "data" / "characters"
    data.mkdir(parents=True)
    for name in ("train.py", "model.py", "configurator.py"):
        shutil.copy(checkout / name, to)
    shutil.copytree(checkout / "config", to / "config")
    ids = {character: i for i, character in enumerate(vocabulary)}
    for name, text in (("train", train), ("val", val)):
        np.array([ids[c] for c in text], dtype=np.uint16).tofile(data / f"{name}.bin")
    meta = {"vocab_size": len(vocabulary), "itos": dict(enumerate(vocabulary)), "stoi": ids}
    (data / "meta.pkl").write_bytes(pickle.dumps(meta))


# --- one run of each -----------------------------------------------------------------------------


def train_nanogpt(place: Place, compiling: str) -> Measured:
    """Return the loss of nanoGPT's checkpoint, and the seconds until it was written."""
    folder = place.folder / "nanogpt"
    shutil.rmtree(folder / "out", ignore_errors=True)
    words = [
        "train.py",
        "config/train_shakespeare_char.py",
        *place.task.nanogpt_words(place.device),
    ]
    start = time.time()
    harness.seconds_of([*words, *COMPILING[compiling]], folder=folder)
    checkpoint = folder / "out" / "ckpt.pt"
    seconds = checkpoint.stat().st_mtime - start
    return score(place, "nanoGPT", checkpoint) | {"seconds": seconds}


def train_seedbed(place: Place, seconds: float, seed: int, *, size: bool = False) -> Measured:
    """Return the loss of `seedbed train` for so long, and the seconds of the whole command.

    With `size` it is as large as nanoGPT's, else of a size that it chooses.
    """
    run = place.folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    words = ["-m", "seedbed", "train", "--data", "data", "--out", "run", "--seed", str(seed)]
    words += ["--minutes", minutes_of(seconds), f"device={place.device}"]
    words += [f"model.context_length={place.task.context_length}"]
    words += ["--size", str(place.size)] if size else []
    seconds = harness.seconds_of(words, folder=place.folder)["seconds"]
    steps = json.loads((run / "status.json").read_text())["step"]
    return score(place, "Seedbed", run) | {"seconds": seconds, "steps": steps}


def train_no_larger(place: Place, seconds: float, seed: int) -> Measured:
    """Return a run of the size that Seedbed chooses, or of nanoGPT's where that is smaller."""
    made = train_seedbed(place, seconds, seed)
    within = made["parameters"] <= place.size
    return made if within else train_seedbed(place, seconds, seed, size=True)


def minutes_of(seconds: float) -> str:
    """Return the minutes to ask for: three seconds at least, in which a run can begin."""
    return f"{max(seconds, 3.0) / 60:.3f}"


def score(place: Place, peer: str, checkpoint: Path) -> Measured:
    """Return the "loss" over the whole validation split and the "parameters"."""
    asked = {"peer": peer, "checkpoint": checkpoint, "folder": place.folder}
    asked |= {"context_length": place.task.context_length, "device": place.device}
    return harness.in_fresh_process(__file__, asked)


def child(peer: str, checkpoint: str, folder: str, context_length: int, device: str) -> Measured:
    """Return the loss of a checkpoint on the validation split: nats for each character."""
    import torch

    load = {"nanoGPT": load_nanogpt, "Seedbed": load_seedbed}[peer]
    model, logits_of, ids = load(Path(checkpoint), Path(folder), device)
    with torch.inference_mode():
        loss = full_loss(logits_of, torch.tensor(ids), context_length, device)
    return {"loss": loss, "parameters": sum(p.numel() for p in model.parameters())}


def full_loss(logits_of: Callable[[Any], Any], ids: Any, length: int, device: str) -> float:
    """Return the mean cross-entropy of all tokens but the first, in disjoint windows."""
    import torch.nn.functional as F

    inputs, targets = ids[:-1], ids[1:]
    whole = len(inputs) // length * length
    both = [part[:whole].view(-1, length).split(64) for part in (inputs, targets)]
    batches = list(zip(*both, strict=True))
    if whole < len(inputs):
        batches.append((inputs[None, whole:], targets[None, whole:]))
    nats = 0.0
    for x, y in batches:
        logits = logits_of(x.to(device)).float().flatten(0, 1)
        nats += F.cross_entropy(logits, y.flatten().to(device), reduction="sum").item()
    return nats / len(targets)


def load_nanogpt(checkpoint: Path, folder: Path, device: str) -> tuple[Any, Any, list[int]]:
    import numpy as np
    import torch

    sys.path.insert(0, str(folder / "nanogpt"))
    from model import GPT, GPTConfig  # of nanoGPT

    saved = torch.load(checkpoint, map_location=device, weights_only=True)
    model = GPT(GPTConfig(**saved["model_args"]))
    weights = {key.removeprefix("_orig_mod."): value for key, value in saved["model"].items()}
    model.load_state_dict(weights)
    model.to(device).eval()
    ids = np.fromfile(folder / "nanogpt" / "data" / "characters" / "val.bin", np.uint16)
    return model, lambda x: model(x, x)[0], ids.tolist()


def load_seedbed(checkpoint: Path, folder: Path, device: str) -> tuple[Any, Any, list[int]]:
    import seedbed

    loaded = seedbed.load_checkpoint(checkpoint, device)
    text = (folder / "val.txt").read_text(encoding="utf-8")
    ids = loaded.tokenizer.encode(text)
    assert loaded.tokenizer.decode(ids) == text, "a character of val is not in train"
    return loaded.model, loaded.model, ids


# --- the comparison ------------------------------------------------------------------------------


def faster_nanogpt(place: Place, settings: Sequence[str]) -> tuple[str, list[Measured]]:
    """Return whether to compile nanoGPT, which is what was faster, and its runs."""
    number = 1 if len(settings) == 1 else 2
    tries = harness.take_turns({c: lambda c=c: train_nanogpt(place, c) for c in settings}, number)
    if not tries:
        sys.exit("nanoGPT failed in every setting (see above), so there is no loss to reach.")
    return min(tries.items(), key=lambda pair: median_of(pair[1], "seconds"))


def lasting(place: Place, target: float, base: float) -> list[float]:
    """Return the shares of `base`, from the shortest in which every seed reaches the target."""
    shares = [base / times for times in place.times_sooner]
    for number, seconds in enumerate(shares):
        losses: list[float] = []
        for seed in place.seeds:
            losses.append(train_no_larger(place, seconds, seed)["loss"])
            if losses[-1] > target:
                break
        tell(f"{seconds:.1f} s: {', '.join(f'{loss:.4f}' for loss in losses)}")
        if losses[-1] <= target:
            return shares[number:]
    return []


def reached(measured: Sequence[Measured], target: float) -> int:
    """Return how many runs reach the target."""
    return sum(each["loss"] <= target + 1e-9 for each in measured)


def compared(
    place: Place, compiling: str, shares: Sequence[float], target: float, asked: argparse.Namespace
) -> dict[str, list[Measured]]:
    """Return the rounds of nanoGPT, and of Seedbed for longer times until all reach the target.

    The two shortest times take turns with nanoGPT; what may follow runs by itself.
    """

    def seedbed(seconds: float) -> tuple[str, Callable[[], Measured]]:
        seeds = count(FIRST_SEED)
        name = f"Seedbed, `--minutes {minutes_of(seconds)}`"
        return name, lambda: train_no_larger(place, seconds, next(seeds))

    runs = {f"nanoGPT, {compiling}": lambda: train_nanogpt(place, compiling)} if compiling else {}
    turns = harness.take_turns(runs | dict(map(seedbed, shares[:2])), asked.rounds)
    for seconds in shares[2:]:
        ours = [measured for name, measured in turns.items() if name.startswith("Seedbed")]
        if any(reached(measured, target) == len(measured) for measured in ours):
            break
        turns |= harness.take_turns(dict([seedbed(seconds)]), asked.rounds)
    return turns


def section(name: str, task: Task, asked: argparse.Namespace) -> str:
    """Return the tables of one task."""
    with set_up(task, asked) as place:
        tried = ("eager",) if asked.brief else task.compiling
        compiling, tries = faster_nanogpt(place, tried) if asked.nanogpt else ("", [])
        target = asked.target if asked.target is not None else median_of(tries, "loss")
        shares = lasting(place, target, median_of(tries, "seconds") if tries else asked.seconds)
        turns = compared(place, compiling, shares, target, asked)
        base = median_of(turns[f"nanoGPT, {compiling}"], "seconds") if asked.nanogpt else None
        bought = task.bought and not asked.brief
        told_bought = what_time_buys(place, base or asked.seconds) if bought else ""
    header = ["", "parameters", "seconds", "smallest to largest", "sooner", "loss", "reached"]
    rows = [row(name, measured, base, target) for name, measured in turns.items()]
    least = f"{shares[0]:.1f} s" if shares else "none tried"
    surely = [
        name + (f", {ratio(base, median_of(measured, 'seconds'))} sooner" if base else "")
        for name, measured in turns.items()
        if name.startswith("Seedbed") and reached(measured, target) == len(measured)
    ]
    headline = f"All rounds reach {target:.4f}: {surely[0] if surely else 'in no time tried'}."
    told = (
        f"nanoGPT: {task.num_layers} layers, {task.num_heads} heads, {task.d_model} wide, context "
        f"{task.context_length}, batch {task.batch_size}, {task.steps} steps; {task.corpus}, "
        f"{place.vocabulary} different characters.\nTried: {' and '.join(tried)}.\n"
        f"Least time asked for in which seeds {place.seeds} reach {target:.4f}: {least}."
    )
    parts = [f"## {name}", headline, table(header, rows), told, told_bought]
    return "\n\n".join(filter(None, parts))


def row(name: str, measured: list[Measured], base: float | None, target: float) -> list[str]:
    seconds = median_of(measured, "seconds")
    return [
        name,
        f"{measured[0]['parameters']:,}",
        f"{seconds:.1f}",
        harness.spread_of(measured, "seconds"),
        ratio(base, seconds) if base else "-",
        f"{median_of(measured, 'loss'):.4f} ({harness.spread_of(measured, 'loss')})",
        # nanoGPT's own runs are what the loss to reach is taken from
        f"{reached(measured, target)} of {len(measured)}" if name.startswith("Seedbed") else "-",
    ]


def what_time_buys(place: Place, seconds: float) -> str:
    """Return a table of what `seedbed train --minutes` reaches in nanoGPT's time, once each."""
    rows: list[list[str]] = []
    for label, size in (("as large as nanoGPT's", True), ("of a size it chooses", False)):
        made = train_seedbed(place, seconds, FIRST_SEED, size=size)
        rows.append(
            [
                f"Seedbed, {label}",
                f"{made['parameters']:,}",
                f"{made['seconds']:.1f}",
                f"{made['steps']:,}",
                f"{made['loss']:.4f}",
            ]
        )
    header = [f"`--minutes {minutes_of(seconds)}`", "parameters", "seconds", "steps", "loss"]
    return table(header, rows)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument(
        "--brief", action="store_true", help="leave out nanoGPT compiled, and what its time buys"
    )
    parser.add_argument("--target", type=float, help="the loss to reach, instead of nanoGPT's")
    parser.add_argument("--seconds", type=float, help="what to compare with, without nanoGPT")
    asked = parser.parse_args()
    if asked.nanogpt is None and None in (asked.target, asked.seconds):
        tell("Nothing to reach: give --nanogpt, a checkout of it, or --target and --seconds.")
        return
    tasks = QUICK if asked.quick else {name: TASKS[name] for name in asked.task or TASKS}
    for name, task in tasks.items():
        Report(f"time_to_loss-{name}", asked).write(
            "Time to the same loss",
            section(name, task, asked),
            f"Median of {asked.rounds} rounds, taking turns. Seconds: of nanoGPT until its "
            "checkpoint is written (of the settings tried the one that was faster in first runs; "
            "it is spared all evaluations but the first and the last); of Seedbed the whole "
            "command `seedbed train`. Neither counts preparing the text. Loss: nats for each "
            "character of the whole validation split in disjoint windows, median and range.",
        )


if __name__ == "__main__":
    harness.run(main, child)
