"""What one core does of an experiment's training while all its workers are at work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seedbed.data.prepared import open_dataset
from seedbed.distributed import join_world
from seedbed.experiments.budgets import Rate
from seedbed.experiments.config import ExperimentConfig
from seedbed.machine import this_machine
from seedbed.model.config import ModelConfig, ModelSettings
from seedbed.training.config import EvaluationSettings, SampleSettings, TrainConfig
from seedbed.training.resolve import resolve
from seedbed.training.trial import try_out

_SECONDS = 2.0  # of timed steps
_HORIZON = "500 steps"  # which the batch size follows from


def time_a_core(config: ExperimentConfig, shape: ModelConfig, data: Path, workers: int) -> Rate:
    """Return the rate of the slowest of `workers` processes of one thread, timed together.

    No more of them than this machine has cores: others will run elsewhere. `data` is a prepared
    folder to take steps on.
    """
    world = join_world(config.device)
    trial = TrainConfig(
        data=data,
        out=data.with_name("trial-run"),
        model=ModelSettings(**shape.model_dump(exclude={"vocab_size"})),
        horizon=_HORIZON,
        batch_size=config.batch_size,
        device=config.device,
        precision=config.precision,
        compile="off",
        evaluation=EvaluationSettings(tokens=1024),
        samples=SampleSettings(tokens=0),
    )
    resolved = resolve(trial, open_dataset(data, verify=False), world)
    at_once = min(workers, this_machine().cores)
    with ThreadPoolExecutor(at_once) as threads:
        asked = [
            threads.submit(try_out, resolved, seconds=_SECONDS, threads=1) for _ in range(at_once)
        ]
        found = [one.result() for one in asked]
    slowest = max(one.step for one in found)
    starting = max(one.starting for one in found)
    return Rate(resolved.tokens_per_step(shape) / slowest, starting)
