"""Fine-tuning on conversations: a start, a dataset, and then a training like any other.

RUN/base   the weights to start from, with the vocabulary that conversations need
RUN/data   the conversations as token files
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from seedbed.checkpoints import CheckpointFolder, load_checkpoint, save_checkpoint
from seedbed.data.chats import prepare_chats
from seedbed.distributed import join_world
from seedbed.errors import UserError
from seedbed.files import check_seal
from seedbed.model.transformer import Transformer
from seedbed.model.vocabulary import change_vocabulary
from seedbed.runs import RunDir
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.vocabulary import declared_ids, kept_rows
from seedbed.training.config import FinetuneSettings, TrainConfig
from seedbed.training.job import RunResult
from seedbed.training.pretrain import train


def finetune(
    config: TrainConfig,
    *,
    resume: Literal["auto", "never"] = "auto",
    quiet: bool = False,
    started: float | None = None,
    note: Callable[[str], object] = lambda _: None,
) -> RunResult:
    """Fine-tune as `config.finetune` says, going on where an earlier call of the same stopped.

    What it starts from and what it learns are copied into the run first; once the run has a
    checkpoint, neither is read again. `note` is told what became of the vocabulary. Raises what
    `train` raises, and DataError for sources without conversations.
    """
    assert config.finetune is not None
    started = time.perf_counter() if started is None else started
    world = join_world(config.device)
    run = RunDir(config.out)
    with run.lock() if world.on_main else nullcontext(), run.full_disk_explained():
        if world.on_main and not CheckpointFolder(run.checkpoints).steps():
            _make_base(run, config.finetune, note)
            _make_data(run, config)
        world.barrier()
    return train(config, resume=resume, quiet=quiet, started=started)


def _make_base(run: RunDir, settings: FinetuneSettings, note: Callable[[str], object]) -> None:
    """Write RUN/base, unless it is there, made of the same."""
    loaded = load_checkpoint(settings.checkpoint)
    asked = {"origin": str(loaded.path), "tokenizer": str(settings.tokenizer or "")}
    if _facts_of(run.base).items() >= asked.items():
        return
    tokenizer = load_tokenizer(settings.tokenizer) if settings.tokenizer else loaded.tokenizer
    shape = loaded.model.config
    kept = kept_rows(
        loaded.tokenizer,
        tokenizer,
        num_rows=shape.vocab_size,
        declared=declared_ids(loaded.path),
    )
    shape, weights = change_vocabulary(shape, loaded.model.state_dict(), kept)
    if settings.tokenizer or kept.count < len(kept.rows):
        note(f"vocabulary: {kept}; new ones begin at the mean of the old")
    model = Transformer(shape)
    model.load_state_dict(weights)
    save_checkpoint(run.base, model, tokenizer, facts=asked)


def _facts_of(base: Path) -> dict[str, Any]:
    """Return what the manifest of an earlier start says, {} where there is no whole one."""
    try:
        return check_seal(base)
    except UserError:
        return {}


def _make_data(run: RunDir, config: TrainConfig) -> None:
    """Write RUN/data anew: the sources may have changed."""
    settings = config.finetune
    assert settings is not None
    base = load_checkpoint(run.base)
    prepare_chats(
        settings.sources,
        run.data,
        base.tokenizer,
        window=config.window_in(base.model.config),
        val=settings.val,
        val_fraction=settings.val_fraction,
        preferences=settings.method == "dpo",
    )
