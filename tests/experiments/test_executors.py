"""Small experiments run by processes of this machine, by submitit and by Ray."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from seedbed.errors import ConfigError
from seedbed.experiments import executors
from seedbed.experiments.executors import run_jobs
from seedbed.experiments.jobs import load_all_scores
from seedbed.experiments.local_jobs import run_locally
from seedbed.experiments.plan import ExperimentDir, Plan
from seedbed.experiments.planning import make_plan
from small_experiment import small_config

_RUN = """
import sys
from pathlib import Path
from seedbed.experiments.executors import run_jobs
outcome = run_jobs(Path(sys.argv[1]), workers=1, quiet=True)
sys.exit(75 if outcome.stopped else 0)
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a planned experiment of two runs, and one where they are done."""
    folder = tmp_path_factory.mktemp("executors")
    make_plan(
        small_config(folder / "texts", budget="60k bytes", seeds=1), folder / "out", workers=1
    )
    shutil.copytree(folder / "out", folder / "done")
    outcome = run_jobs(folder / "done", workers=1, quiet=True)
    assert (outcome.finished, outcome.failed, outcome.stopped) == (2, {}, False)
    return folder


@pytest.fixture
def fresh(planned: Path, tmp_path: Path) -> Path:
    """Return a copy of the planned experiment."""
    return Path(shutil.copytree(planned / "out", tmp_path / "out"))


def scores(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "scores").iterdir()}


def jobs_alive(folder: Path) -> list[int]:
    """Return the processes of jobs of an experiment."""
    found: list[int] = []
    for process in psutil.process_iter(["cmdline"]):
        words: list[str] = process.info["cmdline"] or []
        if "seedbed.experiments.jobs" in words and str(folder) in words:
            found.append(process.pid)
    return found


def wait_until(true: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _RUN, str(folder)])


def test_results_are_equal_for_any_number_of_workers(planned: Path, fresh: Path) -> None:
    run_jobs(fresh, workers=3, quiet=True)
    assert scores(fresh) == scores(planned / "done")
    timings = json.loads((fresh / "timings.json").read_text())
    assert set(timings["jobs"]) == {"a.s0", "b.s0"}


def test_a_killed_experiment_leaves_no_process_and_goes_on(planned: Path, fresh: Path) -> None:
    parent = start(fresh)
    wait_until(lambda: (fresh / "scores").is_dir() and jobs_alive(fresh))
    parent.kill()
    parent.wait()
    wait_until(lambda: not jobs_alive(fresh), seconds=20)
    done = {file: file.stat().st_mtime_ns for file in (fresh / "scores").glob("*.npz")}
    assert done
    run_jobs(fresh, workers=2, quiet=True)
    assert scores(fresh) == scores(planned / "done")
    assert all(file.stat().st_mtime_ns == time for file, time in done.items())


def test_an_interrupted_experiment_stops_and_says_so(planned: Path, fresh: Path) -> None:
    parent = start(fresh)
    wait_until(lambda: len(list(fresh.glob("runs/*/metrics.jsonl"))) > 0)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=60) == 75
    assert not jobs_alive(fresh)
    assert not (fresh / "failed.json").exists()
    run_jobs(fresh, workers=2, quiet=True)
    assert scores(fresh) == scores(planned / "done")


def test_a_failed_job_is_tried_twice_then_told_and_the_others_go_on(
    planned: Path, fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ExperimentDir(fresh).data("b", "0") / "train.bin"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-100])
    outcome = run_jobs(fresh, workers=2)
    assert outcome.finished == 1
    assert list(outcome.failed) == ["b.s0"]
    assert "train.bin" in outcome.failed["b.s0"]
    assert json.loads((fresh / "failed.json").read_text()) == outcome.failed
    assert capsys.readouterr().err.count("b.s0 failed and is run once more") == 1
    broken.write_bytes(whole)
    assert run_jobs(fresh, quiet=True).finished == 2
    assert not (fresh / "failed.json").exists()
    assert scores(fresh) == scores(planned / "done")


def test_a_job_that_fails_once_is_run_again_from_its_beginning(planned: Path, fresh: Path) -> None:
    plan = ExperimentDir(fresh).read_plan()
    run = ExperimentDir(fresh).run(plan.jobs[0])
    run.mkdir(parents=True)
    (run / "request.json").write_text('{"seed": 5}')  # a run of something else
    (run / "config.yaml").write_text("seed: 5")
    outcome = run_jobs(fresh, plan.jobs[:1], workers=1, quiet=True)
    assert (outcome.finished, outcome.failed) == (1, {})
    name = f"{plan.jobs[0].name}.npz"
    assert scores(fresh)[name] == scores(planned / "done")[name]


def test_finished_jobs_start_no_process(planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("all is done")

    monkeypatch.setattr(subprocess, "Popen", started)
    assert run_jobs(planned / "done", quiet=True).finished == 2


@pytest.mark.parametrize(
    ("executor", "package", "extra"), [("slurm", "submitit", "cluster"), ("ray", "ray", "ray")]
)
def test_an_executor_that_is_not_installed_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, executor: Any, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f'needs {package}: pip install .*"\\.\\[{extra}\\]"'):
        run_jobs(fresh, executor=executor, quiet=True)


def test_options_of_the_local_executor_are_refused(fresh: Path) -> None:
    with pytest.raises(ConfigError, match=r"slurm_partition` is of slurm or ray"):
        run_jobs(fresh, options={"slurm_partition": "short"}, quiet=True)


@pytest.mark.parametrize(
    ("executor", "package", "options"),
    [("slurm", "submitit", {"cluster": "local", "slurm_partitio": "x"}), ("ray", "ray", {"x": 1})],
)
def test_an_option_that_an_executor_does_not_know_is_named(
    fresh: Path, executor: Any, package: str, options: dict[str, Any]
) -> None:
    pytest.importorskip(package)
    with pytest.raises(ConfigError, match=f"{executor} executor cannot start.*{[*options][-1]}"):
        run_jobs(fresh, executor=executor, options=options, quiet=True)


def test_a_job_that_failed_once_before_a_stop_has_not_failed_twice(
    planned: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ExperimentDir(fresh).data("b", "0") / "train.bin"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-100])

    def run_then_interrupt(*arguments: Any) -> dict[str, str]:
        failed = run_locally(*arguments)
        assert list(failed) == ["b.s0"]
        os.kill(os.getpid(), signal.SIGINT)
        return failed

    with monkeypatch.context() as patched:
        patched.setitem(executors._EXECUTORS, "local", run_then_interrupt)
        outcome = run_jobs(fresh, workers=2, quiet=True)
    assert (outcome.finished, outcome.failed, outcome.stopped) == (1, {}, True)
    assert not (fresh / "failed.json").exists()
    broken.write_bytes(whole)
    assert run_jobs(fresh, quiet=True).finished == 2
    assert scores(fresh) == scores(planned / "done")


def test_slurm_that_is_not_there_is_told(fresh: Path) -> None:
    pytest.importorskip("submitit")
    if shutil.which("srun"):
        pytest.skip("there is SLURM here")
    with pytest.raises(ConfigError, match="slurm executor cannot start"):
        run_jobs(fresh, executor="slurm", quiet=True)


@pytest.mark.slow
def test_submitit_runs_the_same_jobs(planned: Path, fresh: Path) -> None:
    pytest.importorskip("submitit")
    plan = ExperimentDir(fresh).read_plan()
    broken = ExperimentDir(fresh).data("b", "0") / "train.bin"
    broken.write_bytes(b"")
    outcome = run_jobs(fresh, plan.jobs, executor="slurm", options={"cluster": "local"}, quiet=True)
    assert outcome.finished == 1
    assert "train.bin" in outcome.failed["b.s0"]
    done = scores(planned / "done")
    assert scores(fresh) == {name: done[name] for name in done if name != "b.s0.npz"}


@pytest.mark.slow
def test_what_slurm_stops_in_good_order_keeps_its_steps(
    planned: Path, fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    plan = ExperimentDir(fresh).read_plan()
    run = ExperimentDir(fresh).run(plan.jobs[0])

    def stop() -> None:
        wait_until((run / "metrics.jsonl").is_file)
        (run / "mark").touch()
        for process in psutil.Process().children(recursive=True):
            if "submitit.core._submit" in process.cmdline():
                process.terminate()

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = run_jobs(fresh, plan.jobs[:1], executor="slurm", options={"cluster": "local"})
    thread.join()
    assert (outcome.finished, outcome.failed) == (1, {})
    assert "run once more" not in capsys.readouterr().err
    assert (run / "mark").exists()
    name = f"{plan.jobs[0].name}.npz"
    assert scores(fresh)[name] == scores(planned / "done")[name]


@pytest.mark.slow
def test_ray_runs_the_same_jobs(planned: Path, fresh: Path) -> None:
    pytest.importorskip("ray")
    plan = ExperimentDir(fresh).read_plan()
    broken = ExperimentDir(fresh).data("b", "0") / "train.bin"
    broken.write_bytes(b"")
    outcome = run_jobs(fresh, plan.jobs, executor="ray", workers=2, quiet=True)
    assert outcome.finished == 1
    assert "train.bin" in outcome.failed["b.s0"]
    done = scores(planned / "done")
    assert scores(fresh) == {name: done[name] for name in done if name != "b.s0.npz"}


def test_scores_are_found_by_the_jobs_names(planned: Path) -> None:
    plan: Plan = ExperimentDir(planned / "done").read_plan()
    assert list(load_all_scores(planned / "done", plan)) == [job.name for job in plan.jobs]
