"""Kill training 50 times, damage every file it relies on, and see that nothing is lost.

    python tests/faults/harness.py

Each run is the same command: killed with SIGKILL up to four times, then run to its end. Its final
weights and optimizer state must be those of an uninterrupted run, bit for bit. Where a kill landed
is told by the run's own status.json. Exit code 1 if anything is not as it should be.

Most commands run in a fork of this process, which has imported torch once; the others are the real
command line, started anew.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch._dynamo  # takes seconds: before the forks

import seedbed.training.pretrain  # noqa: F401
from seedbed.checkpoints import OPTIMIZER, WEIGHTS
from seedbed.cli.main import run as run_command
from seedbed.files import MANIFEST, PARTIAL, read_json, read_json_lines

KILLS = 50
REAL = 12  # of them on the real command line
WANTED = {"inside a save": 32, "before the first checkpoint": 8}  # many miss: 10 and 5 must hit
SAVE_SECONDS = 0.004  # less than a save takes, so that kills land within
WAIT = 120.0  # seconds that no command takes
COMMAND = [sys.executable, "-c", "from seedbed.cli.main import main; main()"]
SETTINGS = (
    "--steps 40 --checkpoint-every 5 --eval-every 10 --precision fp32 model.d_model=32 "
    "model.num_layers=2 model.num_heads=2 model.context_length=32 model.dropout=0.1 batch_size=4 "
    "micro_batch_size=2 evaluation.tokens=500 samples.tokens=4 device=cpu"
)


class Training:
    """One `seedbed train` as a process of its own, forked or started anew."""

    def __init__(self, data: Path, out: Path, *, real: bool) -> None:
        words = ["train", "--data", str(data), "--out", str(out), *SETTINGS.split()]
        self.log = out.with_name(out.name + ".log")
        with self.log.open("ab") as log:
            self.pid = _start(words, log.fileno()) if real else _fork(words, log.fileno())
        self.code: int | None = None

    def is_running(self) -> bool:
        """Look whether the process is still there."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def kill(self) -> bool:
        """SIGKILL the process; return whether that is what ended it."""
        if self.is_running():
            os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code


def _start(words: list[str], log: int) -> int:
    # not subprocess.Popen, whose object would reap the process for us
    where = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    return os.posix_spawn(sys.executable, [*COMMAND, *words], os.environ, file_actions=where)


def _fork(words: list[str], log: int) -> int:
    pid = os.fork()
    if pid == 0:
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            code = run_command(words)
        finally:
            os._exit(code)
    return pid


def content_of(run: Path) -> dict[str, bytes]:
    """Return the final weights and optimizer state of a run."""
    latest = run / "checkpoints" / "latest"
    return {name: (latest / name).read_bytes() for name in (WEIGHTS, OPTIMIZER)}


def status_of(run: Path) -> dict:
    """Return what the run says of itself, or {} before it says anything."""
    file = run / "status.json"
    return read_json(file) if file.is_file() else {}


def has_checkpoint(run: Path) -> bool:
    """Return whether any checkpoint has been published."""
    names = (p.name for p in (run / "checkpoints").glob("step-*"))
    return any(not name.endswith(PARTIAL) for name in names)


def where_it_landed(run: Path) -> str:
    """Return what a run was at when it was killed, by its own status."""
    if status_of(run).get("state") == "saving":
        return "inside a save"
    return "between saves" if has_checkpoint(run) else "before the first checkpoint"


@dataclass
class Series:
    """Kills on one run folder, then the same command to its end."""

    name: str
    moments: list[str]  # what to aim at
    real: bool
    landed: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # that were in the status then
    problem: str = ""


def run_series(series: Series, data: Path, out: Path, expected: dict[str, bytes]) -> Series:
    """Return the series with where its kills landed and what is wrong with its end."""
    chance = random.Random(series.name)
    for aim in series.moments:
        training = Training(data, out, real=series.real)
        _wait_for(aim, training, out, chance)
        if training.kill():
            series.landed.append(where_it_landed(out))
            series.steps.append(status_of(out).get("step", 0))
        elif training.code != 0:
            series.problem = f"exit code {training.code}: {training.log}"
            return series
    training = Training(data, out, real=series.real)
    if training.wait() != 0:
        series.problem = f"exit code {training.code}: {training.log}"
    elif content_of(out) != expected:
        series.problem = f"other weights: {out}"
    elif [line["step"] for line in read_json_lines(out / "metrics.jsonl")] != [*range(1, 41)]:
        series.problem = f"steps lost or doubled: {out / 'metrics.jsonl'}"
    return series


def _wait_for(aim: str, training: Training, run: Path, chance: random.Random) -> None:
    """Wait until the moment that is aimed at, or until the process has ended."""

    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT
        while not condition() and training.is_running() and time.monotonic() < deadline:
            time.sleep(0.0005)

    if aim == "before the first checkpoint":
        before = status_of(run)
        if chance.random() < 0.5:
            until(lambda: (run / ".lock").exists())
        else:
            until(lambda: status_of(run) != before)
        return
    first = status_of(run).get("step", 0)
    step = chance.randint(first + 1, max(first + 1, min(first + 20, 39)))
    until(lambda: status_of(run).get("step", 0) >= step)
    if aim == "inside a save":
        until(lambda: status_of(run).get("state") == "saving")
        time.sleep(chance.uniform(0, SAVE_SECONDS))
    else:
        time.sleep(chance.uniform(0, 0.05))


def plan(kills: int, number: int) -> list[Series]:
    """Return series of two to four kills that aim at `kills` in all."""
    aims = [name for name, n in WANTED.items() for _ in range(n)]
    aims += ["at random"] * (KILLS - len(aims))
    chance = random.Random(number)
    chance.shuffle(aims)
    made: list[Series] = []
    real_left = REAL if number == 0 else 0
    while kills > 0:
        size = min(kills, 4)
        # before the first checkpoint there is only ever the beginning of a run
        moments = sorted((aims.pop() for _ in range(size)), key=lambda a: a[0] != "b")
        made.append(Series(f"{number}-{len(made):02d}", moments, real=real_left > 0))
        kills, real_left = kills - size, real_left - size
    return made


def kill_and_compare(data: Path, folder: Path, expected: dict[str, bytes], pool: Pool) -> bool:
    """Kill runs `KILLS` times, print where, and return whether all ended as they should."""
    done: list[Series] = []
    for number in range(5):  # a run that ends before it is killed is no kill
        missing = KILLS - sum(len(s.landed) for s in done)
        work = [
            pool.submit(run_series, series, data, folder / series.name, expected)
            for series in plan(missing, number)
        ]
        done += [future.result() for future in work]
    kills = Counter(where for s in done for where in s.landed)
    identical = sum(len(s.landed) for s in done if not s.problem)
    real = sum(len(s.landed) for s in done if s.real)
    total = sum(kills.values())
    say(f"\n{'killed':<30}kills")
    for where in (*WANTED, "between saves"):
        say(f"{where:<30}{kills[where]:>5}")
    say(f"{'in all':<30}{total:>5}, {real} of them of the real command line, {len(done)} runs")
    say(f"final weights and optimizer state identical: {identical} of {total}")
    for series in done:
        if series.problem:
            say(f"  FAILED {series.name}: killed {series.landed}, then {series.problem}")
    return identical == total >= KILLS and enough(kills, real)


def enough(kills: Counter[str], real: int) -> bool:
    """Return whether the kills landed where they had to."""
    wanted = {"inside a save": 10, "before the first checkpoint": 5}
    return real >= 10 and all(kills[where] >= n for where, n in wanted.items())


def damages(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a disk may make of a file: cut short, or with a bit flipped."""
    middle = len(content) // 2
    yield "emptied", b""
    yield "cut in half", content[:middle]
    yield "cut by a byte", content[:-1]
    yield "a bit flipped", content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def files_in(folder: Path) -> list[str]:
    """Return the names of the files under a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def resume_damaged(
    data: Path, whole: Path, out: Path, name: str, expected: dict[str, bytes]
) -> str:
    """Damage a file of a run's newest checkpoint in every way; return what went wrong."""
    latest = (whole / "checkpoints" / "latest").resolve().name
    content = (whole / "checkpoints" / latest / name).read_bytes()
    for kind, damaged in damages(content):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out, symlinks=True)
        (out / "checkpoints" / latest / name).write_bytes(damaged)
        training = Training(data, out, real=False)
        if training.wait() != 0:
            return f"{name} {kind}: exit code {training.code}"
        note = training.log.read_text()
        if "passed over a damaged checkpoint" not in note or Path(name).name not in note:
            return f"{name} {kind}: not noticed"
        training.log.unlink()
        if content_of(out) != expected:
            return f"{name} {kind}: other weights"
    return ""


def refuse_damaged(data: Path, copy: Path, name: str) -> str:
    """Damage a file of a dataset in every way; return what went wrong."""
    shutil.copytree(data, copy)
    content = (copy / name).read_bytes()
    for kind, damaged in damages(content):
        (copy / name).write_bytes(damaged)
        training = Training(copy, copy.with_name(copy.name + "-run"), real=False)
        if training.wait() != 2:
            return f"{name} {kind}: exit code {training.code}"
        if name not in training.log.read_text():
            return f"{name} {kind}: not named"
        training.log.unlink()
    return ""


def damage_and_see(data: Path, whole: Path, folder: Path, expected: dict, pool: Pool) -> bool:
    """Damage every file of a checkpoint and a dataset; print and return whether all was seen."""
    names = {"checkpoint": files_in(whole / "checkpoints" / "latest"), "dataset": files_in(data)}
    checkpoint = [
        pool.submit(resume_damaged, data, whole, folder / f"c{i}" / "run", name, expected)
        for i, name in enumerate(names["checkpoint"])
    ]
    dataset = [
        pool.submit(refuse_damaged, data, folder / f"d{i}", name)
        for i, name in enumerate(names["dataset"])
    ]
    ways = len(list(damages(b"any")))
    problems: list[str] = []
    for kind, work in (("checkpoint", checkpoint), ("dataset", dataset)):
        wrong = [problem for future in work if (problem := future.result())]
        problems += wrong
        outcome = "the one before it used" if kind == "checkpoint" else "exit code 2"
        say(
            f"{kind}: {len(work)} files ({MANIFEST} among them) x {ways} damages, "
            f"{len(work) - len(wrong)} of {len(work)} files detected each time, {outcome}"
        )
    for problem in problems:
        say(f"  FAILED {problem}")
    return not problems


class Pool(ProcessPoolExecutor):
    """A process a core; they fork, so that torch is there."""

    def __init__(self) -> None:
        cores = len(os.sched_getaffinity(0))
        super().__init__(max(1, min(4, cores)), mp_context=multiprocessing.get_context("fork"))


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """Return 0 when all is well, else 1."""
    start = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="seedbed-faults-"))
    data, whole = folder / "data", folder / "whole"
    words = ["prepare", "sample:stories:200", "--out", str(data), "--tokenizer", "byte"]
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    if Training(data, whole, real=True).wait() != 0:
        say(whole.with_name("whole.log").read_text())
        return 1
    expected = content_of(whole)
    with Pool() as pool:
        same = kill_and_compare(data, folder, expected, pool)
        seen = damage_and_see(data, whole, folder, expected, pool)
    say(f"{'all well' if same and seen else 'FAILED'} after {time.monotonic() - start:.0f} seconds")
    if same and seen:
        shutil.rmtree(folder)
    else:
        say(f"see {folder}")
    return 0 if same and seen else 1


if __name__ == "__main__":
    sys.exit(main())
