"""What the benchmarks share: turns, fresh processes, tables, and a result file with the machine.

A contender is measured in a process of its own: the script calls itself with `--child JSON`, and
the child prints what it measured as JSON. The top of this file imports the standard library only,
so that a child also runs in a peer's own environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from meters import MemoryWatch, load_average, wait_until_quiet

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("SEEDBED_DATA", ROOT / ".." / "shared" / "data")).resolve()
TEXT_FOLDERS = ("childrens", "code", "literature", "speeches", "tinyshakespeare", "tinystories")
TEXT_FOLDERS += ("web", "wikitext-2", "chat")
PACKAGES = ("torch", "numpy", "transformers", "accelerate", "litgpt", "tokenizers", "tiktoken")
PACKAGES += ("sentencepiece", "rustbpe")

Measured = dict[str, Any]
C = TypeVar("C")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every benchmark is asked."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    nanogpt, litgpt = (os.environ.get(name) or None for name in ("NANOGPT", "LITGPT"))
    parser.add_argument(
        "--nanogpt", type=Path, default=nanogpt, help="a checkout of nanoGPT  [$NANOGPT]"
    )
    parser.add_argument(
        "--litgpt",
        type=Path,
        default=litgpt,
        metavar="PYTHON",
        help="the Python of another environment, asked for peers that this one lacks: "
        "litgpt, transformers with accelerate, rustbpe  [$LITGPT]",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def run(main: Callable[[], None], child: Callable[..., Measured]) -> None:
    """Be one contender where `--child` says so, else the whole benchmark."""
    if "--child" in sys.argv:
        asked = json.loads(sys.argv[sys.argv.index("--child") + 1])
        print("\n" + json.dumps(child(**asked)), flush=True)
        return
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stderr or ''}")


# --- measuring -----------------------------------------------------------------------------------


def take_turns(
    contenders: Mapping[C, Callable[[], Measured]], rounds: int
) -> dict[C, list[Measured]]:
    """Return what each contender measured: A B C A B C, so that a drift hits all alike.

    One that fails is told on stderr and left out.
    """
    measured: dict[C, list[Measured]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, measure in contenders.items():
            if name not in measured:
                continue
            tell(f"round {number + 1} of {rounds}: {name}")
            try:
                measured[name].append(measure())
            except subprocess.CalledProcessError as error:
                tell(f"{name} failed and is left out:\n{(error.stderr or '')[-2000:]}")
                del measured[name]
    return measured


def fastest(turns: Mapping[C, Sequence[Measured]], kind: Callable[[C], Hashable]) -> list[C]:
    """Return the contender of each kind with the best median rate, in the order of the kinds."""
    best: dict[Hashable, C] = {}
    for contender, measured in turns.items():
        before = best.get(kind(contender))
        if before is None or median_of(measured, "rate") > median_of(turns[before], "rate"):
            best[kind(contender)] = contender
    return list(best.values())


def median_of(measured: Sequence[Measured], key: str) -> float:
    return statistics.median(each[key] for each in measured)


def spread_of(measured: Sequence[Measured], key: str) -> str:
    """Return the smallest and the largest value."""
    values = [each[key] for each in measured]
    return f"{min(values):,.4g} to {max(values):,.4g}"


def in_fresh_process(
    script: str, asked: Measured, *, python: Path | str = sys.executable, memory: bool = False
) -> Measured:
    """Return what the script measures as a child; with `memory`, also its "peak" in bytes.

    Raises CalledProcessError, with what it said, when it fails.
    """
    command = [str(python), script, "--child", json.dumps(asked, default=str)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        watch = MemoryWatch(process.pid) if memory else None
        out, err = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    measured = json.loads(out.splitlines()[-1])
    return ({"peak": watch.peak} if watch else {}) | measured


def seconds_of(words: Sequence[str], *, folder: Path | None = None) -> Measured:
    """Return the "seconds" that a whole Python command takes, in `folder`, and what it prints.

    Raises CalledProcessError, with what it said, when it fails.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
    )
    return {"seconds": time.perf_counter() - start, "out": done.stdout}


def environment() -> dict[str, str]:
    """Return the environment of a contender: nothing is fetched."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}


@cache
def python_with(module: str, other: Path | None) -> Path | None:
    """Return the Python that has a module: this one, else the other, else None."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    for python in (Path(sys.executable), other):
        if python and subprocess.run([python, "-c", look], check=False).returncode == 0:
            return python
    return None


# --- texts ---------------------------------------------------------------------------------------


def real_text(*parts: str) -> Path:
    """Return a file or folder of SEEDBED_DATA; end with what to do where there is none."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        sys.exit(
            f"There is no {path}. This benchmark reads real text: set SEEDBED_DATA to a folder "
            f"that has {'/'.join(parts)}, or say --quick, which makes up its own."
        )
    return path


def characters(quick: bool, corpus: str = "tinyshakespeare") -> str:
    """Return at most 1.1 MB of a corpus, in ASCII; a few made-up stories in the quick form.

    tinyshakespeare as nanoGPT has it; of others the first characters.
    """
    if quick:
        return made_up_stories(60)
    files = sorted(real_text(corpus).glob("*.txt"), key=lambda file: -file.stat().st_size)
    return files[0].read_text("utf-8").encode("ascii", "ignore").decode()[:1_115_394]


def made_up_stories(count: int) -> str:
    from seedbed.data.samples import sample_stories

    return "\n\n".join(sample_stories(count, seed=0))


def unique_documents() -> list[str]:
    """Return every document of SEEDBED_DATA once, in a fixed order."""
    documents: dict[str, None] = {}
    for folder in TEXT_FOLDERS:
        for file in sorted(real_text(folder).iterdir()):
            documents.update(dict.fromkeys(filter(None, _documents_of(file))))
    return list(documents)


def _documents_of(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".jsonl":
        for line in text.splitlines():
            record = json.loads(line)
            yield record.get("text", line)
    elif "<|endoftext|>" in text:
        yield from map(str.strip, text.split("<|endoftext|>"))
    else:
        yield from blocks_of(text)


def blocks_of(text: str, size: int = 4096) -> Iterator[str]:
    """Yield blocks of about `size` characters, cut at blank lines, as `prepare` does."""
    block = ""
    for paragraph in text.split("\n\n"):
        block += paragraph + "\n\n"
        if len(block) >= size:
            yield block.strip()
            block = ""
    yield block.strip()


# --- telling -------------------------------------------------------------------------------------


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def ratio(value: float, base: float | None) -> str:
    return f"{value / base:.2f}x" if base else "-"


class Report:
    """A result file: what was measured, then the machine. Make it before anything is measured.

    It first waits a while for a quiet machine, and says when that did not come.
    """

    def __init__(self, name: str, asked: argparse.Namespace) -> None:
        self._name = name
        self._asked = asked
        self._disturbed = "" if asked.quick else wait_until_quiet()
        self._load = load_average()

    def write(self, title: str, *sections: str) -> Path:
        """Print the report, write RESULTS/NAME-DEVICE.md, and return its path."""
        text = "\n\n".join([f"# {title}", *filter(None, sections), self._circumstances()]) + "\n"
        kind = "gpu" if self._asked.device.startswith("cuda") else "cpu"
        path = self._asked.results / f"{self._name}-{kind}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(text)
        return path

    def _circumstances(self) -> str:
        nanogpt = self._asked.nanogpt
        peers = [f"nanoGPT {_commit_of(nanogpt)}"] if nanogpt else []
        if self._asked.litgpt:
            peers.append(f"the peers' own environment: {versions(self._asked.litgpt)}")
        lines = [
            "**Quick form: tiny sizes, to see that it runs. Its figures mean nothing.**"
            if self._asked.quick
            else "",
            self._disturbed,
            f"Machine: {machine(self._asked.device)}. Load average before: {self._load}; "
            f"after: {load_average()}.",
            f"Python {platform.python_version()}, {versions(Path(sys.executable))}"
            + "".join(f"; {peer}" for peer in peers)
            + ".",
            f"Command: `{self._command()}`, {time.strftime('%Y-%m-%d')}.",
        ]
        return "\n".join(filter(None, lines))

    def _command(self) -> str:
        """Return the command without what this machine alone has: its paths, and `--results`."""
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument("--results")
        _, words = parser.parse_known_args(sys.argv[1:])
        names = {str(self._asked.nanogpt): "PATH", str(self._asked.litgpt): "PYTHON"}
        for number, word in enumerate(words):
            option, equals, value = word.rpartition("=")
            name = names.get(value) or ("PATH" if Path(value).is_absolute() else value)
            words[number] = option + equals + name
        return f"python benchmarks/{shlex.join([Path(sys.argv[0]).name, *words])}"


def machine(device: str = "cpu") -> str:
    """Return what was measured on, in words."""
    from seedbed.machine import this_machine

    here = this_machine()
    text = f"{here.name}, {here.cores} cores, {here.memory / 2**30:.0f} GiB"
    if device.startswith("cuda"):
        import torch

        text += f", {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return text


@cache
def versions(python: Path) -> str:
    """Return the packages that a Python has, of those that matter here."""
    code = (
        "from importlib import metadata\n"
        f"for name in {PACKAGES!r}:\n"
        "    try: print(name, metadata.version(name), sep=' ')\n"
        "    except metadata.PackageNotFoundError: pass"
    )
    out = subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    return ", ".join(out.splitlines())


def _commit_of(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    return found.stdout.strip() or "(commit not known)"
