"""From what a user says of a run to every number of it."""

from __future__ import annotations

from seedbed.checkpoints import find_checkpoint
from seedbed.data.batches import WindowSampler
from seedbed.data.chat_batches import ChatSampler
from seedbed.data.prepared import PreparedDataset
from seedbed.data.token_shards import TokenShards
from seedbed.distributed import World
from seedbed.errors import CheckpointError, ConfigError
from seedbed.files import check_seal, read_json
from seedbed.machine import this_machine
from seedbed.model.config import PRESETS, ModelConfig, ModelSettings
from seedbed.model.huggingface import model_config
from seedbed.tokenizers.load import load_tokenizer
from seedbed.training import defaults
from seedbed.training.config import Horizon, TrainConfig
from seedbed.training.costs import blocks_bytes
from seedbed.training.precision import choose_precision
from seedbed.training.preferences import width_of_pairs

EVALUATIONS = 10  # in a run, at most, unless said


def resolve(config: TrainConfig, dataset: PreparedDataset, world: World) -> TrainConfig:
    """Return the config with every choice made, except that `minutes` become steps later.

    Raises ConfigError when the settings do not fit the dataset or each other, DataError when the
    dataset is too small for the context.
    """
    shape = _shape(config, dataset, world)
    window = _window(config, shape)
    per_epoch = tokens_per_epoch(config, dataset, window)
    tokens = _expected_tokens(config, shape, per_epoch, world)
    rows, micro = _batch_sizes(config, shape, tokens, world, row_width(config, dataset, shape))
    with_rows = config.model_copy(update={"batch_size": rows})
    per_epoch = tokens_per_epoch(with_rows, dataset, window)
    horizon = Horizon.parse(config.horizon)
    if horizon.unit == "steps":
        tokens = horizon.amount * rows * window
    seconds = tokens / _nominal_rate(config, shape, world)
    compiled = defaults.compile_pays(config.compile, seconds, world.device)
    optimizer = defaults.optimizer_for(
        config.optimizer,
        shape.parameters.total,
        vocab_size=shape.vocab_size,
        epochs=tokens / per_epoch,
        steps_per_epoch=per_epoch / (rows * window),
        fresh=config.from_checkpoint is None,
        share=defaults.share_of_rates(config.finetune),
    )
    resolved = config.model_copy(
        update={
            "model": ModelSettings(
                preset=config.model.preset, **shape.model_dump(exclude={"vocab_size"})
            ),
            "batch_size": rows,
            "micro_batch_size": micro,
            "window": window,
            "device": world.device.type,
            "precision": choose_precision(config.precision, world.device),
            "compile": "on" if compiled else "off",
            "optimizer": optimizer,
        }
    )
    if horizon.unit == "minutes":
        return resolved
    tokens_per_step = resolved.tokens_per_step(shape)
    steps = steps_for(horizon, tokens_per_step, per_epoch)
    evaluated = evaluated_tokens(config, dataset)
    affordable = defaults.evaluations_for(steps * tokens_per_step, evaluated)
    return with_steps(resolved, steps, min(EVALUATIONS, affordable))


def tokens_per_epoch(config: TrainConfig, dataset: PreparedDataset, window: int) -> int:
    """Return how many tokens steps have read once they have seen all of the training split.

    Of conversations, what pads the rows counts too, and the text that is mixed in. Raises DataError
    when there is less than a window.
    """
    shards, finetune = dataset.train, config.finetune
    if finetune is None:
        WindowSampler(shards.tokens, window, config.seed)  # checks the size
        return shards.num_tokens
    if finetune.method == "dpo":
        return shards.num_documents // 2 * window
    rows = ChatSampler(shards, window, config.seed).rows_per_epoch
    share = rows_replayed(config) / config.batch_size if config.batch_size else 0.0
    return round(rows * window / (1 - share))


def row_width(config: TrainConfig, dataset: PreparedDataset, shape: ModelConfig) -> int:
    """Return how many tokens the rows of a batch have: a window, or the longest pair of answers."""
    if config.finetune and config.finetune.method == "dpo":
        return width_of_pairs(dataset.train)
    return config.window_in(shape)


def rows_replayed(config: TrainConfig) -> int:
    """Return how many rows of a step are of the text that was learned before.

    Raises ConfigError where a step has a single row.
    """
    if config.finetune is None or config.finetune.replay is None:
        return 0
    assert config.batch_size is not None
    if config.batch_size == 1:
        raise ConfigError(
            "`replay` needs steps of two rows at least, and `batch_size` is 1. Give batch_size=2 "
            "or more, or leave `replay` out."
        )
    wanted = round(config.finetune.replay_share * config.batch_size)
    return min(config.batch_size - 1, max(1, wanted))


def evaluated_tokens(config: TrainConfig, dataset: PreparedDataset) -> int:
    """Return how many tokens an evaluation of the run has: as many as asked, where there are."""
    splits = watched_splits(config, dataset).values()
    return sum(min(config.evaluation.tokens, split.num_tokens) for split in splits)


def watched_splits(config: TrainConfig, dataset: PreparedDataset) -> dict[str, TokenShards]:
    """Return the splits that are scored as the run goes on: "val", and "train" on request."""
    both = {"val": dataset.val, "train": dataset.train}
    return both if config.evaluation.train_split else {"val": dataset.val}


def _window(config: TrainConfig, shape: ModelConfig) -> int:
    """Return how many tokens a training sequence has.

    Raises ConfigError when the model has fewer positions.
    """
    window = config.window_in(shape)
    if window > shape.context_length:
        raise ConfigError(
            f"`window` is {window:,} tokens, but the model has {shape.context_length:,} positions. "
            "Give less, or a larger model.context_length."
        )
    return window


def _batch_sizes(
    config: TrainConfig, shape: ModelConfig, tokens: float, world: World, width: int
) -> tuple[int, int]:
    """Return the sequences of a step over all ranks, and those computed at a time.

    `width` is how many tokens a row has, of which a window counts.
    """
    context = config.window_in(shape)
    wanted = defaults.batch_tokens_for(tokens, shape.parameters.total, shape.d_model)
    rows = config.batch_size or max(1, wanted // context // world.size) * world.size
    own = rows_of_a_process(rows, world)
    half = choose_precision(config.precision, world.device) in ("bf16", "fp16")
    masked = config.finetune is not None
    micro = config.micro_batch_size or defaults.micro_batch_for(
        own,
        logits=4 * width * shape.vocab_size,
        kept=width * blocks_bytes(shape, half, width, world.device.type, masked=masked),
        device=world.device,
    )
    if own % micro:
        raise ConfigError(
            f"`micro_batch_size` is {micro} but must divide the {own} sequences that a process "
            f"computes in a step. Try {_nearest_divisors(own, micro)}."
        )
    return rows, micro


def _nearest_divisors(number: int, near: int) -> str:
    """Return the divisors below and above `near`, in words.

    >>> _nearest_divisors(12, 5), _nearest_divisors(12, 20)
    ('4 or 6', '12')
    """
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    below, above = [n for n in divisors if n < near], [n for n in divisors if n > near]
    return " or ".join(map(str, below[-1:] + above[:1]))


def rows_of_a_process(batch_size: int, world: World) -> int:
    """Return how many sequences of a step each process computes.

    Raises ConfigError when they cannot be shared out evenly.
    """
    if batch_size % world.size:
        below = batch_size // world.size * world.size
        nearest = [n for n in (below, below + world.size) if n]
        raise ConfigError(
            f"`batch_size` is {batch_size} but must be a multiple of the {world.size} processes. "
            f"Try {' or '.join(map(str, nearest))}."
        )
    return batch_size // world.size


def _nominal_rate(config: TrainConfig, shape: ModelConfig, world: World) -> float:
    flops = config.flops_per_token(shape)
    return world.size * defaults.nominal_rate(this_machine(), world.device, flops)


def _training_seconds(minutes: float) -> float:
    return max(60 * minutes - defaults.START_SECONDS, 1.0)


def _shape(config: TrainConfig, dataset: PreparedDataset, world: World) -> ModelConfig:
    vocab_size = dataset.tokenizer.vocab_size
    if config.from_checkpoint is not None:
        return _shape_of_checkpoint(config, dataset)
    settings = config.model
    horizon = Horizon.parse(config.horizon)
    if settings.size is None and not settings.shape_is_given and horizon.unit == "minutes":
        rate = world.size * defaults.nominal_flops(this_machine(), world.device)
        flops = _training_seconds(horizon.amount) * rate
        parameters = defaults.size_for(
            flops, dataset.train.num_tokens, config.max_epochs, vocab_size
        )
        settings = settings.model_copy(update={"size": str(parameters)})
    return settings.resolve(vocab_size)


def _shape_of_checkpoint(config: TrainConfig, dataset: PreparedDataset) -> ModelConfig:
    assert config.from_checkpoint is not None
    folder = find_checkpoint(config.from_checkpoint)
    check_seal(folder, error=CheckpointError)
    shape = model_config(read_json(folder / "config.json"))
    if load_tokenizer(folder).fingerprint() != dataset.tokenizer.fingerprint():
        raise ConfigError(
            f"`data` was prepared with another tokenizer than {folder} was trained with. "
            f"Prepare it again with --tokenizer {folder}."
        )
    asked = config.model.model_dump(exclude={"preset"}, exclude_none=True)
    free = {"dropout", "attention"}
    wrong = [k for k, v in asked.items() if k not in free and getattr(shape, k, None) != v]
    preset = PRESETS[config.model.preset]
    if any(getattr(shape, k) != v for k, v in preset.items() if k not in asked):
        wrong.append("preset")
    if wrong:
        raise ConfigError(
            f"`model.{wrong[0]}` is {getattr(config.model, wrong[0])}, but the shape comes from "
            f"{folder}. Leave it out."
        )
    kept = {k: v for k, v in asked.items() if k in free}
    if config.finetune and config.finetune.method == "dpo":
        kept["dropout"] = 0.0  # the reference has none, and answers are compared with its own
    return shape.model_copy(update=kept)


def _expected_tokens(
    config: TrainConfig, shape: ModelConfig, per_epoch: int, world: World
) -> float:
    """Return how many tokens the horizon comes to, by nominal rates where it is minutes."""
    horizon = Horizon.parse(config.horizon)
    if horizon.unit == "minutes":
        tokens = _training_seconds(horizon.amount) * _nominal_rate(config, shape, world)
        return min(tokens, config.max_epochs * per_epoch)
    if horizon.unit == "steps":
        window = config.window_in(shape)
        rows = config.batch_size or max(1, defaults.TOKENS_PER_STEP // window)
        return horizon.amount * rows * window
    return horizon.amount * (per_epoch if horizon.unit == "epochs" else 1)


def steps_for(horizon: Horizon, tokens_per_step: int, tokens_per_epoch: int) -> int:
    """Return the steps that a horizon in steps, tokens or epochs comes to, at least one."""
    if horizon.unit == "steps":
        return max(1, round(horizon.amount))
    tokens = horizon.amount * (tokens_per_epoch if horizon.unit == "epochs" else 1)
    return max(1, round(tokens / tokens_per_step))


def with_steps(
    config: TrainConfig, steps: int, evaluations: int = EVALUATIONS, saves_between: int = 0
) -> TrainConfig:
    """Return the config with the horizon in steps, and the intervals that follow from it."""
    every = config.evaluation.every or max(1, -(-steps // evaluations))
    save_every = every if not saves_between else max(1, -(-steps // (evaluations + saves_between)))
    warmup = config.schedule.warmup_steps
    if warmup is None:
        warmup = defaults.warmup_for(config.optimizer.kind, steps)
    return config.model_copy(
        update={
            "horizon": f"{steps} steps",
            "evaluation": config.evaluation.model_copy(update={"every": every}),
            "checkpoint": config.checkpoint.model_copy(
                update={"every": config.checkpoint.every or save_every}
            ),
            "schedule": config.schedule.model_copy(update={"warmup_steps": warmup}),
            "log_every": config.log_every or max(1, steps // 200),
        }
    )
