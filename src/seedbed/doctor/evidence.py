"""What a run folder tells: its settings, curves, state, dataset and newest checkpoint.

Each part is read when it is first asked for; a part that is not there raises NotCheckedError, whose
message says why, and what rests on it is not checked.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError

from seedbed.checkpoints import load_weights
from seedbed.config import build, read_yaml
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.doctor.curve import Curve
from seedbed.errors import CheckpointError, UserError
from seedbed.evaluation.evaluate import data_of_run
from seedbed.files import MANIFEST, read_json
from seedbed.model.config import ModelConfig
from seedbed.model.huggingface import model_config
from seedbed.model.transformer import Transformer
from seedbed.runs import RunDir
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.load import load_tokenizer
from seedbed.training.config import Horizon, TrainConfig

ENOUGH_RECORDS = 10  # of a curve, to say anything about its shape
_COUNTED = 20_000_000  # tokens, of the training split


class NotCheckedError(Exception):
    """Something that a check needs is not there. The message says what."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    name: str
    severity: Literal["fault", "warning"]  # fault: the model or its score is worth little
    evidence: str
    advice: str


class RunEvidence:
    """The parts of one run folder.

    Raises CheckpointError when it is not a run folder.
    """

    def __init__(self, path: Path) -> None:
        self.run = RunDir(path)
        if not self.run.config.is_file():
            raise CheckpointError(
                f"{path} is not a run folder: it has no {self.run.config.name}. Give the folder "
                "that `seedbed train` wrote; what a run would cost is asked with --data."
            )
        self.config = build(TrainConfig, read_yaml(self.run.config))
        self.status = _read_status(self.run)
        self.records = _read_lines(self.run.metrics)
        self.samples = _read_lines(self.run.samples)
        self.request = self.run.read_request()

    @property
    def steps_done(self) -> int:
        """The last step that metrics.jsonl has."""
        return max((r["step"] for r in self.records), default=0)

    @property
    def steps_planned(self) -> int | None:
        """How many steps the run was to have; None where minutes never became steps."""
        horizon = Horizon.parse(self.config.horizon)
        return round(horizon.amount) if horizon.unit == "steps" else None

    @cached_property
    def training(self) -> Curve:
        """The training loss at each record that has one."""
        points = [(r["step"], r["train_loss"]) for r in self.records if r.get("train_loss")]
        if len(points) < ENOUGH_RECORDS:
            raise NotCheckedError(
                f"metrics.jsonl has {len(points)} training losses, and {ENOUGH_RECORDS} are needed"
            )
        return Curve.of(points)

    @cached_property
    def validation(self) -> Curve:
        """The validation loss at each evaluation."""
        points = [(r["step"], r["val_loss"]) for r in self.records if r.get("val_loss")]
        if not points:
            raise NotCheckedError("metrics.jsonl has no validation loss")
        return Curve.of(points)

    @cached_property
    def dataset(self) -> PreparedDataset:
        """The dataset that the run was trained on, unchanged since."""
        found = self.dataset_now
        if self.request and self.request.get("data") != found.fingerprint:
            raise NotCheckedError(f"{found.folder} was made anew since the run began")
        return found

    @cached_property
    def dataset_now(self) -> PreparedDataset:
        """What stands where the run's dataset was."""
        try:
            return open_dataset(data_of_run(self.run), verify=False)
        except UserError as error:
            raise NotCheckedError(str(error).splitlines()[0]) from None

    @cached_property
    def checkpoint(self) -> Path:
        """The folder of the newest checkpoint."""
        folder = self.run.checkpoints / "latest"
        if not (folder / "config.json").is_file():
            raise NotCheckedError("the run has no checkpoint")
        return folder.resolve()

    @cached_property
    def checkpoint_step(self) -> int:
        """The step of the newest checkpoint."""
        try:
            return int(read_json(self.checkpoint / MANIFEST)["step"])
        except (OSError, ValueError, KeyError, TypeError):
            raise NotCheckedError(f"the checkpoint has no whole {MANIFEST}") from None

    @cached_property
    def model(self) -> Transformer:
        """The model of the newest checkpoint, in evaluation mode."""
        try:
            model = Transformer(model_config(read_json(self.checkpoint / "config.json")))
            load_weights(model, self.checkpoint)
        except (UserError, OSError, ValueError, SafetensorError) as error:
            raise NotCheckedError(f"the checkpoint cannot be loaded: {error}") from None
        return model.eval()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer in the newest checkpoint."""
        try:
            return load_tokenizer(self.checkpoint)
        except UserError as error:
            raise NotCheckedError(f"the checkpoint's tokenizer cannot be loaded: {error}") from None

    @cached_property
    def shape(self) -> ModelConfig:
        """The shape of the model: of its checkpoint, or else as it was asked for."""
        with suppress(NotCheckedError, UserError, OSError, ValueError):
            return model_config(read_json(self.checkpoint / "config.json"))
        return self.config.model.resolve(self.dataset_now.tokenizer.vocab_size)

    @cached_property
    def unigram_entropy(self) -> float:
        """Nats per token of a model that knows only how often each token occurs."""
        tokens = self.dataset.train.tokens[:_COUNTED]
        counts = np.bincount(tokens, minlength=1)
        shares = counts[counts > 0] / tokens.size
        return float(-(shares * np.log(shares)).sum())

    @property
    def chance(self) -> float:
        """Nats per token of a model that knows nothing: ln V."""
        return math.log(self.shape.vocab_size)


def _read_status(run: RunDir) -> dict[str, Any]:
    """Return status.json, or {} where it is missing or damaged."""
    try:
        return dict(run.read_status())
    except (OSError, ValueError, TypeError):
        return {}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file, without lines that a kill or an editor broke."""
    if not path.is_file():
        return []
    records: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records
