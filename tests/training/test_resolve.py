from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seedbed.checkpoints import save_checkpoint
from seedbed.config import build, read_yaml, to_yaml
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset
from seedbed.distributed import World, join_world
from seedbed.errors import ConfigError, DataError
from seedbed.model.config import ModelSettings
from seedbed.model.transformer import Transformer
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.costs import estimate_memory
from seedbed.training.resolve import resolve, steps_for, with_steps


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    out = tmp_path_factory.mktemp("data") / "stories"
    sources = ("sample:stories:60",)
    return prepare(PrepareConfig(sources=sources, out=out, tokenizer="byte"))


SMALL = {"d_model": 32, "num_layers": 2, "context_length": 64}


def config(**said: Any) -> TrainConfig:
    return build(TrainConfig, {"data": "data", "out": "out", "model": SMALL}, said)


def resolved(dataset: PreparedDataset, size: int = 1, **said: Any) -> TrainConfig:
    return resolve(config(**said), dataset, World(size=size))


# --- horizons


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("500 steps", 500, "steps"),
        ("1 step", 1, "steps"),
        ("2m tokens", 2e6, "tokens"),
        ("1.5b tokens", 1.5e9, "tokens"),
        ("1_000k tokens", 1e6, "tokens"),
        ("0.5 epochs", 0.5, "epochs"),
        (".5 Minutes", 0.5, "minutes"),
        (" 10 minutes ", 10, "minutes"),
    ],
)
def test_a_horizon_is_an_amount_and_a_unit(text: str, amount: float, unit: str) -> None:
    assert Horizon.parse(text) == Horizon(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "500", "0 steps", "-5 steps", "ten steps", "5 days", "1e3"])
def test_what_is_no_horizon_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"`horizon` is .*Write how long to train"):
        config(horizon=text)


def test_a_horizon_comes_to_steps() -> None:
    assert steps_for(Horizon(500, "steps"), 4096, 10**6) == 500
    assert steps_for(Horizon(409_600, "tokens"), 4096, 10**6) == 100
    assert steps_for(Horizon(2, "epochs"), 1000, 10**6) == 2000
    assert steps_for(Horizon(1, "tokens"), 4096, 10**6) == 1


@pytest.mark.parametrize("unit", ["steps", "tokens", "epochs"])
def test_a_resolved_horizon_is_in_steps(unit: str, dataset: PreparedDataset) -> None:
    per_step = 4 * 64
    amounts = {"steps": 12, "tokens": 12 * per_step,
               "epochs": 12 * per_step / dataset.train.num_tokens}  # fmt: skip
    horizon = f"{amounts[unit]:.12f} {unit}"
    made = resolved(dataset, batch_size=4, horizon=horizon, evaluation={"tokens": 64})
    assert made.horizon == "12 steps"
    assert made.evaluation.every == made.checkpoint.every == 2
    assert made.log_every == 1
    assert made.schedule.warmup_steps == 0


def test_a_short_run_has_few_evaluations(dataset: PreparedDataset) -> None:
    for steps, every in ((2, 2), (12, 4), (100, 10)):
        as_many = {"tokens": 4 * 64}  # as a step
        made = resolved(dataset, batch_size=4, horizon=f"{steps} steps", evaluation=as_many)
        assert made.evaluation.every == every


def test_steps_count_with_the_batch_that_they_have(dataset: PreparedDataset) -> None:
    by_steps = resolved(dataset, horizon="4000 steps")
    tokens = 4000 * by_steps.tokens_per_step(by_steps.model.resolve(dataset.tokenizer.vocab_size))
    by_tokens = resolved(dataset, horizon=f"{tokens} tokens", batch_size=by_steps.batch_size)
    assert by_steps.optimizer == by_tokens.optimizer
    assert by_steps.compile == by_tokens.compile


def test_rates_and_decay_follow_from_how_often_the_text_is_seen(dataset: PreparedDataset) -> None:
    once, often = (resolved(dataset, horizon=f"{n} epochs").optimizer for n in (1, 2))
    assert once.learning_rate is not None
    assert once.learning_rate == pytest.approx(0.0015 * 260**0.5)
    assert often.learning_rate == pytest.approx(once.learning_rate / 2)
    few, many = (resolved(dataset, batch_size=n, horizon="9 steps").optimizer for n in (256, 1))
    assert (few.weight_decay, many.weight_decay) == (1.0, 0.1)


def test_minutes_stay_until_steps_are_measured(dataset: PreparedDataset) -> None:
    made = resolved(dataset, horizon="3 minutes")
    assert made.horizon == "3 minutes"
    assert made.evaluation.every is None
    measured = with_steps(made, 200)
    assert measured.horizon == "200 steps"
    assert measured.evaluation.every == 20
    assert with_steps(measured, 200) == measured


def test_minutes_without_a_size_choose_one(dataset: PreparedDataset) -> None:
    short, long = (
        resolved(dataset, model={"d_model": None}, max_epochs=1e9, horizon=f"{n} minutes")
        for n in (0.1, 60)
    )
    sizes = [c.model.resolve(260).parameters.total for c in (short, long)]
    assert sizes[0] < sizes[1]


# --- everything is decided, alike each time


def test_every_choice_is_made(dataset: PreparedDataset) -> None:
    made = resolved(dataset, horizon="100 steps")
    tree = made.model_dump()
    empty = {k for k, v in tree.items() if v is None}
    empty |= {f"{g}.{k}" for g in tree if isinstance(tree[g], dict) for k in tree[g]
              if tree[g][k] is None}  # fmt: skip
    left = {"from_checkpoint", "finetune", "model.size", "evaluation.patience", "samples.prompts"}
    assert empty == left
    assert "auto" not in (made.device, made.precision, made.compile)
    assert resolved(dataset, horizon="100 steps") == made


@pytest.mark.parametrize(
    "said",
    [
        {"horizon": "100 steps"},
        {"horizon": "2 epochs", "optimizer": {"kind": "adamw"}},
        {"horizon": "5 minutes", "model": {"preset": "gpt2", "size": "1m", "d_model": None}},
        {"horizon": "30 steps", "model": {"num_kv_heads": 1, "tie_embeddings": False}},
    ],
)
def test_a_resolved_config_resolves_to_itself(
    said: dict[str, Any], dataset: PreparedDataset, tmp_path: Path
) -> None:
    made = resolved(dataset, **said)
    assert resolve(made, dataset, World()) == made
    (tmp_path / "config.yaml").write_text(to_yaml(made))
    read = build(TrainConfig, read_yaml(tmp_path / "config.yaml"))
    assert read == made
    assert resolve(read, dataset, World()) == made


def test_what_is_said_stays(dataset: PreparedDataset) -> None:
    said = {
        "horizon": "40 steps",
        "batch_size": 6,
        "micro_batch_size": 3,
        "precision": "fp32",
        "compile": "off",
        "log_every": 7,
        "evaluation": {"every": 11},
        "checkpoint": {"every": 13},
        "schedule": {"warmup_steps": 5},
        "optimizer": {"learning_rate": 0.125},
    }
    made = resolved(dataset, **said)
    assert build(TrainConfig, made.model_dump(), said) == made


def test_the_batch_is_shared_among_processes(dataset: PreparedDataset) -> None:
    made = resolved(dataset, size=3, horizon="100 steps")
    assert made.batch_size is not None
    assert made.batch_size % 3 == 0
    with pytest.raises(ConfigError, match=r"is 4 but must be a multiple of the 3 .* Try 3 or 6"):
        resolved(dataset, size=3, batch_size=4)


def test_a_micro_batch_that_does_not_divide_is_refused(dataset: PreparedDataset) -> None:
    with pytest.raises(ConfigError, match=r"is 4 but must divide the 6 .* Try 3 or 6\."):
        resolved(dataset, batch_size=6, micro_batch_size=4)


def test_a_context_larger_than_a_batch_still_has_a_row(dataset: PreparedDataset) -> None:
    made = resolved(dataset, model={"context_length": 8192}, horizon="5 steps")
    assert made.batch_size == 1


# --- windows shorter than the context


def test_a_window_is_the_context_unless_said(dataset: PreparedDataset) -> None:
    assert resolved(dataset, horizon="9 steps").window == 64


def test_steps_of_a_window_have_fewer_tokens(dataset: PreparedDataset) -> None:
    fields = {"window": 16, "batch_size": 4, "precision": "fp32"}  # where attention is linear
    made = resolved(dataset, **fields, horizon=f"{12 * 4 * 16} tokens")
    assert (made.window, made.model.context_length, made.horizon) == (16, 64, "12 steps")
    assert resolve(made, dataset, World()) == made
    shape = made.model.resolve(dataset.tokenizer.vocab_size)
    assert made.tokens_per_step(shape) == 4 * 16
    whole = estimate_memory(shape, made.model_copy(update={"window": None}))
    assert estimate_memory(shape, made).activations == pytest.approx(whole.activations / 4)


def test_a_window_beyond_the_positions_is_refused(dataset: PreparedDataset) -> None:
    with pytest.raises(ConfigError, match="`window` is 65 tokens, but the model has 64 positions"):
        resolved(dataset, window=65)


def test_a_text_that_has_a_window_needs_no_whole_context(dataset: PreparedDataset) -> None:
    context = {"context_length": 10**6}
    with pytest.raises(DataError, match="too few for a context of 1,000,000"):
        resolved(dataset, model=context, horizon="5 steps")
    assert resolved(dataset, model=context, window=64, horizon="5 steps").window == 64


# --- going on from weights


@pytest.fixture
def checkpoint(dataset: PreparedDataset, tmp_path: Path) -> Path:
    shape = build(ModelSettings, SMALL).resolve(dataset.tokenizer.vocab_size)
    save_checkpoint(tmp_path / "weights", Transformer(shape), dataset.tokenizer, facts={})
    return tmp_path / "weights"


def from_weights(checkpoint: Path, **model: Any) -> TrainConfig:
    said = {"data": "data", "out": "out", "from_checkpoint": checkpoint, "horizon": "9 steps"}
    return build(TrainConfig, said, {"model": model})


def test_the_shape_comes_from_the_checkpoint(dataset: PreparedDataset, checkpoint: Path) -> None:
    made = resolve(from_weights(checkpoint), dataset, World())
    assert (made.model.d_model, made.model.num_layers, made.model.context_length) == (32, 2, 64)


def test_what_is_not_of_the_shape_may_change(dataset: PreparedDataset, checkpoint: Path) -> None:
    made = resolve(from_weights(checkpoint, dropout=0.2, attention="plain"), dataset, World())
    assert (made.model.dropout, made.model.attention) == (0.2, "plain")
    assert resolve(made, dataset, World()) == made


@pytest.mark.parametrize(
    ("said", "name"),
    [({"num_layers": 3}, "num_layers"), ({"size": "1m"}, "size"), ({"preset": "gpt2"}, "preset")],
)
def test_another_shape_than_the_checkpoint_is_refused(
    said: dict[str, Any], name: str, dataset: PreparedDataset, checkpoint: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"`model\.{name}` is"):
        resolve(from_weights(checkpoint, **said), dataset, World())


def test_another_tokenizer_than_the_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    sources = ("sample:stories:60",)
    other = prepare(PrepareConfig(sources=sources, out=tmp_path / "char", tokenizer="char"))
    with pytest.raises(ConfigError, match="`data` was prepared with another tokenizer"):
        resolve(from_weights(checkpoint), other, World())


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    for name in ("cuda", "gpu"):
        with pytest.raises(ConfigError, match=f"`device` is '?{name}"):
            join_world(name)
