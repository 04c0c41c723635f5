from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.experiments.timing import time_a_core
from seedbed.machine import this_machine
from seedbed.model.config import ModelSettings
from seedbed.training.trial import Trial
from small_experiment import small_config

FOUND = Trial(3.0, step=0.5, evaluation=0.1, save=0.1, memory=0, timed_steps=5, whole_steps=True)


def test_no_more_processes_are_timed_than_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def try_out(*settings: object, **_: object) -> Trial:
        asked.append(settings)
        return FOUND

    monkeypatch.setattr("seedbed.experiments.timing.try_out", try_out)
    config = small_config(tmp_path / "texts")
    data = tmp_path / "data"
    prepare(PrepareConfig(sources=("sample:stories:60",), out=data, tokenizer="byte"))
    shape = ModelSettings(d_model=32, num_layers=1, context_length=64).resolve(257)
    rate = time_a_core(config, shape, data, workers=this_machine().cores + 60)
    assert len(asked) == this_machine().cores
    assert rate.tokens_per_second == 8 * 64 / FOUND.step
    time_a_core(config, shape, data, workers=1)
    assert len(asked) == this_machine().cores + 1
