"""What can be said of a training run. No torch.

None means "chosen for you": `resolve.resolve` fills it by rule, and config.yaml shows what it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from seedbed.config import Settings
from seedbed.model.config import ModelConfig, ModelSettings
from seedbed.runs import RunDir

Unit = Literal["steps", "tokens", "epochs", "minutes"]
LoraTarget = Literal["query", "key", "value", "output", "gate", "up", "down"]


@dataclass(frozen=True)
class Horizon:
    """How long to train."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Horizon:
        """Return the horizon that a text such as "500 steps" or "2.5m tokens" says.

        >>> Horizon.parse("2.5m tokens")
        Horizon(amount=2500000.0, unit='tokens')
        """
        match = re.fullmatch(
            r"([\d_,]*\.?\d+)\s*([kmb]?)\s+(step|token|epoch|minute)s?", text.strip().lower()
        )
        amount = float(re.sub("[_,]", "", match[1])) if match else 0.0
        if not match or amount <= 0:
            raise ValueError(
                f"`horizon` is {text!r}. Write how long to train: 500 steps, 2m tokens, "
                "3 epochs or 10 minutes."
            )
        scale = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}[match[2]]
        return cls(amount * scale, f"{match[3]}s")  # pyright: ignore[reportArgumentType]


class OptimizerSettings(Settings):
    """How gradients become steps."""

    kind: Literal["muon", "adamw"] = "muon"  # muon: for the blocks' matrices; adamw for the rest
    learning_rate: float | None = Field(default=None, gt=0)  # of AdamW, at the peak
    matrix_learning_rate: float | None = Field(default=None, gt=0)  # of Muon, at the peak
    beta1: float | None = Field(default=None, ge=0, lt=1)
    beta2: float | None = Field(default=None, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)  # of Muon
    weight_decay: float | None = Field(default=None, ge=0)  # on matrices of blocks
    decay_embeddings: bool = False  # on embeddings and head too, as GPT-2's trainers do
    clip_norm: float | None = Field(default=1.0, gt=0)  # of the whole gradient; null: no clipping


class ScheduleSettings(Settings):
    """How the learning rate moves from first step to last."""

    kind: Literal["linear", "cosine", "trapezoid", "constant"] = "linear"
    warmup_steps: int | None = Field(default=None, ge=0)
    floor: float = Field(default=0.0, ge=0, le=1)  # the last rate, as a share of the peak
    decay_fraction: float = Field(default=0.4, gt=0, le=1)  # of a trapezoid


class EvaluationSettings(Settings):
    """What is measured as training goes."""

    every: int | None = Field(default=None, gt=0)  # steps
    tokens: int = Field(default=32_768, gt=0)  # of the validation split: documents spread over it
    train_split: bool = False  # the same on as many tokens of the training split
    patience: int | None = Field(
        default=None, gt=0
    )  # stop after so many evaluations without a new best


class CheckpointSettings(Settings):
    """When states are saved, and which stay."""

    every: int | None = Field(default=None, gt=0)  # steps
    keep: int = Field(default=2, gt=0)  # newest ones; the best stays besides


class SampleSettings(Settings):
    """Texts written at each evaluation, to samples.jsonl."""

    prompts: tuple[str, ...] | None = None  # null: the first words of validation documents
    tokens: int = Field(default=64, ge=0)  # 0: none


class LoraSettings(Settings):
    """A low-rank change to frozen weights, which is all that is learned (Hu et al., 2021)."""

    rank: int = Field(default=8, gt=0)  # inner width of the change
    alpha: float | None = Field(default=None, gt=0)  # the change counts alpha / rank; null: twice
    targets: tuple[LoraTarget, ...] | None = Field(default=None, min_length=1)  # null: all

    @property
    def scale(self) -> float:
        """What the change is multiplied by."""
        return 2.0 if self.alpha is None else self.alpha / self.rank


class FinetuneSettings(Settings):
    """What fine-tuning on conversations adds to training."""

    checkpoint: Path  # a run or a checkpoint: what to start from
    sources: tuple[str, ...] = Field(min_length=1)  # conversations, or pairs of answers
    val: tuple[str, ...] = ()  # sources held out
    val_fraction: float | None = Field(default=None, gt=0, lt=1)  # where `val` is not given
    method: Literal["sft", "dpo"] = "sft"
    lora: LoraSettings | None = None  # null: every weight is trained
    beta: float = Field(default=0.1, gt=0)  # of dpo: how dear it is to leave the start
    tokenizer: Path | None = None  # another one than the checkpoint's
    replay: Path | None = None  # a prepared dataset, of which to go on learning
    replay_share: float = Field(default=0.2, gt=0, lt=1)  # of the rows of a step

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.val and self.val_fraction is not None:
            raise ValueError("`val` and `val_fraction` both choose what is held out: give one.")
        if self.replay is not None and self.method == "dpo":
            raise ValueError(
                "`replay` is for method sft: pairs of answers are not mixed with text."
            )
        return self


class TrainConfig(Settings):
    """One training run.

    With `finetune`, `data` and `from_checkpoint` are folders of the run itself, which
    `training.finetune` fills.
    """

    data: Path
    out: Path
    from_checkpoint: Path | None = None  # weights to go on from
    finetune: FinetuneSettings | None = None
    seed: int = Field(default=1337, ge=0)
    horizon: str = "10 minutes"  # or: 500 steps, 2m tokens, 3 epochs
    model: ModelSettings = ModelSettings()
    batch_size: int | None = Field(default=None, gt=0)  # sequences in a step, over all ranks
    micro_batch_size: int | None = Field(default=None, gt=0)  # sequences at a time on a device
    window: int | None = Field(default=None, gt=1)  # tokens of a sequence; null: context_length
    sampling: Literal["epochs", "random"] = "epochs"
    max_epochs: float = Field(default=8.0, gt=0)  # where `minutes` would go on, it ends here
    device: str = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    samples: SampleSettings = SampleSettings()
    log_every: int | None = Field(default=None, gt=0)  # steps
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _finetuning_keeps_its_start(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not {"finetune", "out"} <= fields.keys():  # pyright: ignore[reportUnknownMemberType]
            return fields  # pyright: ignore[reportUnknownVariableType]
        given = cast("dict[str, Any]", fields)
        if given["finetune"] is None:
            return given
        own = RunDir(Path(given["out"]))
        few = {"horizon": "3 epochs", "max_epochs": 3.0}  # docs/experiments.md
        return {**few, **given, "data": own.data, "from_checkpoint": own.base}

    @field_validator("horizon")
    @classmethod
    def _horizon_is_understood(cls, text: str) -> str:
        Horizon.parse(text)
        return text

    def window_in(self, shape: ModelConfig) -> int:
        """Return how many tokens the sequences have that a model of a shape is trained on."""
        return self.window or shape.context_length

    def tokens_per_step(self, shape: ModelConfig) -> int:
        """Return how many tokens a step takes, over all ranks, once the batch size is known."""
        assert self.batch_size is not None
        return self.batch_size * self.window_in(shape)

    def flops_per_token(self, shape: ModelConfig) -> int:
        """Return the floating-point operations of training on a token."""
        return shape.training_flops_in(self.window_in(shape))
