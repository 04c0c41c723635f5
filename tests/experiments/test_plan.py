from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.errors import DataError
from seedbed.experiments.plan import ExperimentDir, Job


def job(**changes: object) -> Job:
    fields = {"dataset": "a", "replicate": 0, "seed": 7, "part": "0"}
    return Job.model_validate({**fields, **changes})


def test_jobs_have_different_names() -> None:
    jobs = [job(dataset=d, replicate=r, rate=x) for d in "ab" for r in (0, 1) for x in (0.5, 1, 2)]
    assert len({one.name for one in jobs}) == 12
    assert job(replicate=1).name == "a.s1"
    assert job(rate=2.0).name == "a.s0.x2"


def test_only_one_process_has_an_experiment(tmp_path: Path) -> None:
    place = ExperimentDir(tmp_path)
    with place.lock(), pytest.raises(DataError, match="in use"), ExperimentDir(tmp_path).lock():
        pass
