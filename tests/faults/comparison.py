"""Kill a comparison ten times (SIGKILL), and see that it ends as if nothing had happened.

    python tests/faults/comparison.py [--kills 10]

The same `seedbed compare` is run in two folders: in one to its end, in the other it is killed at
random moments, in its planning and in its runs, and called again. Both results.json have to be
the same, byte for byte. Exit code 1 if they are not, or if fewer kills landed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from seedbed.data.samples import sample_stories

COMMAND = [sys.executable, "-c", "from seedbed.cli.main import main; main()"]
WAIT = 300.0  # seconds that no call takes
PLANNING_KILLS = 2
PLANNING_SECONDS = 0.5  # less than a planning takes
RUN_SECONDS = 1.5  # about what a run takes
WORKERS = 2
EXPERIMENT = """\
datasets:
  tales: {folder}/tales.txt
  backwards: {folder}/backwards.txt
evals:
  novel: {folder}/novel.txt
budget: 80k bytes
eval_bytes: 5000
seeds: 3
rates: [0.5]
tokenizer: byte
model: {{d_model: 32, num_layers: 1, context_length: 64}}
batch_size: 8
"""


@dataclass(frozen=True)
class Kill:
    """When to kill: so many seconds after so many runs are done and another is being trained."""

    runs: int | None  # None: the planning has begun
    seconds: float


def write_experiment(folder: Path) -> Path:
    """Write texts, and the file of an experiment on them."""
    told = list(sample_stories(300, seed=1))
    texts = {
        "tales": told,
        "backwards": [text[::-1] for text in told],
        "novel": list(sample_stories(20, seed=2)),
    }
    for name, documents in texts.items():
        (folder / f"{name}.txt").write_text("\n<|endoftext|>\n".join(documents))
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT.format(folder=folder))
    return file


def call(experiment: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the comparison; what it says goes to a file beside its folder."""
    words = ["compare", str(experiment), "--out", str(out), "--workers", str(WORKERS)]
    with out.with_name(out.name + ".log").open("ab") as log:
        return subprocess.Popen([*COMMAND, *words], stdout=log, stderr=log)


def finished_runs(out: Path) -> int:
    """Return how many runs have their scores."""
    return len(list((out / "scores").glob("*.npz")))


def has_come_to(out: Path, kill: Kill, start: float) -> bool:
    """Return whether a comparison that was called at `start` is where it is to be killed."""
    if kill.runs is None:
        return (out / "request.json").is_file()
    told = (file.stat().st_mtime for file in out.glob("runs/*/status.json"))
    return finished_runs(out) >= kill.runs and any(when > start for when in told)


def kill_once(experiment: Path, out: Path, kill: Kill) -> str:
    """Start the comparison and kill it; return where it was, or "" where it ended before."""
    start = time.time()
    process = call(experiment, out)
    while not has_come_to(out, kill, start) and process.poll() is None:
        if time.time() > start + WAIT:
            break
        time.sleep(0.002)
    time.sleep(kill.seconds)
    process.kill()
    if process.wait() != -9:
        return ""
    if not (out / "plan.json").is_file():
        return "in the planning"
    return f"after {finished_runs(out)} runs"


def moments(kills: int, jobs: int, seed: int) -> list[Kill]:
    """Return the kills, in an order in which they can all land."""
    draw = random.Random(seed)
    planning = min(PLANNING_KILLS, kills)
    runs = sorted(draw.randrange(jobs - 1) for _ in range(kills - planning))
    return [Kill(None, draw.uniform(0, PLANNING_SECONDS)) for _ in range(planning)] + [
        Kill(number, draw.uniform(0, RUN_SECONDS)) for number in runs
    ]


def kill_and_compare(experiment: Path, folder: Path, kills: int, seed: int) -> tuple[int, bool]:
    """Return how many kills landed on one comparison, and whether it ended as the other one."""
    out = folder / f"killed-{seed}"
    landed: list[str] = []
    for kill in moments(kills, len(list((folder / "whole" / "scores").iterdir())), seed):
        where = kill_once(experiment, out, kill)
        if where:
            landed.append(where)
            say(f"killed {where}")
    if call(experiment, out).wait() != 0:
        say(f"FAILED: see {out}.log")
        return len(landed), False
    names = ("results.json", "results.csv")
    same = {name: (out / name).read_bytes() == whole_bytes(folder, name) for name in names}
    for name, is_same in same.items():
        say(f"{name}: {'identical' if is_same else 'FAILED: another one'}")
    return len(landed), all(same.values())


def whole_bytes(folder: Path, name: str) -> bytes:
    """Return a file of the comparison that was left alone."""
    return (folder / "whole" / name).read_bytes()


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """Return 0 when all is well, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    kills = parser.parse_args().kills
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="seedbed-faults-"))
    experiment = write_experiment(folder)
    if call(experiment, folder / "whole").wait() != 0:
        say((folder / "whole.log").read_text())
        return 1
    say(f"left alone: {time.monotonic() - start:.0f} seconds")
    landed, same = 0, True
    for seed in range(3):  # one that ends before it is killed is no kill
        landed, same = kill_and_compare(experiment, folder, kills, seed)
        if landed == kills or not same:
            break
        say(f"only {landed} of {kills} kills landed: once more")
    well = same and landed == kills
    seconds = time.monotonic() - start
    say(f"{'all well' if well else 'FAILED'}: {landed} kills, {seconds:.0f} seconds")
    if well:
        shutil.rmtree(folder)
    else:
        say(f"see {folder}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
