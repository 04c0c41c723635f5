"""A run that was begun before a setting existed goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from seedbed.config import read_yaml
from seedbed.files import read_json
from seedbed.runs import RunDir
from seedbed.training.job import RunResult

Trained = Callable[..., RunResult]


def test_a_run_older_than_a_setting_goes_on(trained: Trained, tmp_path: Path) -> None:
    trained(horizon="6 steps")
    run = RunDir(tmp_path / "run")
    request, config = read_json(run.request), read_yaml(run.config)
    for tree in (request["config"], config):
        del tree["window"], tree["optimizer"]["decay_embeddings"]
    run.request.write_text(json.dumps(request))
    run.config.write_text(json.dumps(config))  # which is YAML too
    assert trained(horizon="6 steps").state == "already finished"
    assert trained(horizon="8 steps").step == 8
