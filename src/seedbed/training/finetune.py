"""Fine-tuning on conversations: a start, a dataset, and then a training like any other.

RUN/base   the weights to start from, with the vocabulary that conversations need
RUN/data   the conversations as token files
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from seedbed.checkpoints import WEIGHTS, CheckpointFolder, load_checkpoint, save_checkpoint
from seedbed.data.chats import prepare_chats
from seedbed.data.documents import find_sources
from seedbed.errors import ConfigError, UserError
from seedbed.files import check_seal, read_json, read_manifest, sha256_of
from seedbed.model.huggingface import model_config
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
    checkpoint, neither is read again (but for the text of `replay`). `note` is told what became of
    the vocabulary. Raises what `train` raises, DataError for sources without conversations, and
    ConfigError where something else is in the way of these copies.
    """
    settings = config.finetune
    if settings is None:
        raise ConfigError("These are settings without `finetune`: ask `seedbed train` for it.")
    started = time.perf_counter() if started is None else started

    def make_start(run: RunDir) -> None:
        _refuse_what_is_not_ours(run)
        if CheckpointFolder(run.checkpoints).steps():
            _note_changes(run, settings, note)
        else:
            _make_base(run, settings, note)
            _make_data(run, config)

    return train(config, resume=resume, quiet=quiet, started=started, make_start=make_start)


def _refuse_what_is_not_ours(run: RunDir) -> None:
    """Raise ConfigError for a run of another kind, and for folders that this would replace."""
    asked = run.read_request().get("config")
    if isinstance(asked, dict) and not asked.get("finetune"):
        raise ConfigError(f"{run.path} holds a run of `seedbed train`. Choose another --out.")
    for folder, fact in ((run.base, "origin"), (run.data, "conversations")):
        if folder.exists() and fact not in _facts_of(folder):
            raise ConfigError(
                f"{folder} exists and was not made by `seedbed finetune`, which would put its own "
                "there. Choose another --out."
            )


def _note_changes(run: RunDir, settings: FinetuneSettings, note: Callable[[str], object]) -> None:
    """Tell of files that are no longer what the run has its conversations from."""
    before = {source["name"]: source for source in _facts_of(run.data).get("sources", [])}
    here = [name for name in (*settings.val, *settings.sources) if Path(name).exists()]
    changed = [s.name for s in find_sources(here) if s.facts() != before.get(s.name)]
    if changed:
        note(
            f"{', '.join(changed)} changed since this run began; it goes on with the conversations "
            "that it has. Another --out begins anew."
        )


def _facts_of(folder: Path) -> dict[str, Any]:
    """Return what the manifest of an earlier start says, {} where there is none."""
    try:
        return read_manifest(folder)
    except UserError:
        return {}


def _make_base(run: RunDir, settings: FinetuneSettings, note: Callable[[str], object]) -> None:
    """Write RUN/base, unless it is there, whole and made of the same."""
    loaded = load_checkpoint(settings.checkpoint)
    tokenizer = load_tokenizer(settings.tokenizer) if settings.tokenizer else loaded.tokenizer
    shape = loaded.model.config
    kept = kept_rows(
        loaded.tokenizer,
        tokenizer,
        num_rows=shape.vocab_size,
        declared=declared_ids(loaded.path),
    )
    facts = {
        "origin": str(loaded.path),
        "weights": sha256_of(loaded.path / WEIGHTS),
        "tokenizer": tokenizer.fingerprint(),
        "new_rows": len(kept.rows) - kept.count,
    }
    if _is_whole(run.base, facts):
        return
    if settings.tokenizer or facts["new_rows"]:
        note(f"vocabulary: {kept}; new ones begin at the mean of the old")
    shape, weights = change_vocabulary(shape, loaded.model.state_dict(), kept)
    model = Transformer(shape)
    model.load_state_dict(weights)
    save_checkpoint(run.base, model, tokenizer, facts=facts)


def _is_whole(base: Path, facts: dict[str, Any]) -> bool:
    try:
        return check_seal(base).items() >= facts.items()
    except UserError:
        return False


def _make_data(run: RunDir, config: TrainConfig) -> None:
    """Write RUN/data anew: the sources may have changed."""
    settings = config.finetune
    assert settings is not None
    shape = model_config(read_json(run.base / "config.json"))
    prepare_chats(
        settings.sources,
        run.data,
        load_tokenizer(run.base),
        window=config.window_in(shape),
        val=settings.val,
        val_fraction=settings.val_fraction,
        preferences=settings.method == "dpo",
    )
