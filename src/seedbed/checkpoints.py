"""A checkpoint is a Hugging Face model folder plus what training needs to go on.

checkpoints/step-000500/ holds config.json, model.safetensors, generation_config.json,
tokenizer.json, tokenizer_config.json, chat_template.jinja; training/ with the optimizer's and the
loop's state; and manifest.json, the size and SHA-256 of each file, written last. latest and best
point to such.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seedbed.errors import CheckpointError
from seedbed.files import (
    MANIFEST,
    PARTIAL,
    check_seal,
    flush_to_disk,
    is_full_disk,
    read_json,
    replace_folder,
    seal_folder,
    write_json,
)
from seedbed.model.huggingface import from_stock, model_config, stock_config, to_stock
from seedbed.model.inference import choose_inference_precision, for_inference
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.load import load_tokenizer

WEIGHTS = "model.safetensors"
OPTIMIZER = "training/optimizer.safetensors"
ADAPTER = "training/adapter.safetensors"
STATE = "training/state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds, read and checked."""

    path: Path
    model: Transformer
    tokenizer: Tokenizer
    facts: dict[str, Any]  # of its manifest: step, tokens, chat; {} where it has none


def save_checkpoint(
    folder: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    facts: dict[str, Any],
    optimizer: dict[str, Tensor] | None = None,
    adapter: dict[str, Tensor] | None = None,
    state: dict[str, Any] | None = None,
) -> None:
    """Write the folder, whole or not at all. `adapter`: what LoRA has added to the weights.

    Raises CheckpointError when the disk is full or cannot be written; what was there stays.
    """
    config, special = model.config, tokenizer.special
    try:
        with replace_folder(folder) as aside:
            (aside / "training").mkdir()
            weights = to_stock(config, {k: v.cpu() for k, v in model.state_dict().items()})
            save_file(weights, aside / WEIGHTS, metadata={"format": "pt"})
            write_json(
                aside / "config.json", stock_config(config, bos=special.bos, eos=special.eos)
            )
            write_json(
                aside / "generation_config.json",
                {"bos_token_id": special.bos, "eos_token_id": special.eos},
            )
            tokenizer.save(aside)
            if optimizer is not None:
                save_file(_copies(optimizer), aside / OPTIMIZER)
            if adapter:
                save_file(_copies(adapter), aside / ADAPTER)
            if state is not None:
                write_json(aside / STATE, state)
            seal_folder(aside, **facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} could not be saved: {error}. The checkpoints before it are whole. "
            + ("Free some space and run" if _is_full_disk(error) else "Mend that and run")
            + " the same command again."
        ) from error


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the processor: views of one tensor cannot be saved."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def _is_full_disk(error: OSError | SafetensorError) -> bool:
    if isinstance(error, OSError):
        return is_full_disk(error)
    return any(words in str(error) for words in ("No space", "quota", "too large"))


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu", precision: str | None = None
) -> Checkpoint:
    """Return the model (in evaluation mode) and tokenizer of a checkpoint or run folder.

    Or of a Hugging Face model folder of a stock class that our model computes: nothing says then
    what its files should hold, so they are taken as they are.

    Without `precision` the weights are as they were saved, ready to train on. With auto, fp32, bf16
    or int8 the model is quicker, and to be read from only (`for_inference`). Raises CheckpointError
    when the checkpoint is missing or damaged, ConfigError for a precision that is not there.
    """
    chosen = choose_inference_precision(precision or "auto", torch.device(device))
    folder = find_checkpoint(path)
    is_sealed = (folder / MANIFEST).is_file()
    facts = check_seal(folder, error=CheckpointError) if is_sealed else {}
    model = Transformer(model_config(_read_config(folder, is_sealed=is_sealed)))
    load_weights(model, folder)
    model.to(device).eval()
    if precision is not None:
        model = for_inference(model, chosen)
    return Checkpoint(folder, model, load_tokenizer(folder), facts)


def _read_config(folder: Path, *, is_sealed: bool) -> dict[str, Any]:
    """Return config.json; raise CheckpointError for one of ours without its seal."""
    file = folder / "config.json"
    try:
        stock = read_json(file)
    except ValueError:
        raise CheckpointError(f"{file} is damaged: it is not JSON.") from None
    if "seedbed" in stock and not is_sealed:
        raise CheckpointError(
            f"{folder} is a checkpoint of Seedbed without its {MANIFEST}, so nothing says whether "
            "it is whole. Copy it anew, or push it with --with-training. If transformers saved it "
            f"again, take `seedbed` out of {file.name}: then it is read as any model of theirs."
        )
    return stock


def load_weights(model: Transformer, folder: Path) -> None:
    """Copy the weights of a checkpoint into `model`.

    Raises CheckpointError when they are of another shape.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{file} is missing. Weights in other files are not read.")
    try:
        model.load_state_dict(from_stock(model.config, load_file(file)))
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{file} does not fit the model: {error}") from None


def load_training_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimizer's tensors and the loop's state, as `save_checkpoint` took them.

    Raises CheckpointError for a checkpoint saved without them.
    """
    if not (folder / STATE).is_file():
        raise CheckpointError(f"{folder} holds a model only: training cannot go on from it.")
    mapped = load_file(folder / OPTIMIZER)
    return {k: v.clone() for k, v in mapped.items()}, read_json(folder / STATE)


def load_saved_adapter(folder: Path) -> dict[str, Tensor]:
    """Return what LoRA had added to the weights that training began from; {} without LoRA."""
    file = folder / ADAPTER
    return {k: v.clone() for k, v in load_file(file).items()} if file.is_file() else {}


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that `path` means: itself, or of a run the best, else the latest.

    Raises CheckpointError, saying what was looked for, when there is none.
    """
    candidates = [path, path / "checkpoints" / "best", path / "checkpoints" / "latest"]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate.resolve()
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Give a run folder or a checkpoint folder.")
    raise CheckpointError(
        f"{path} is neither a checkpoint (no config.json) nor a run with one "
        "(no checkpoints/best or checkpoints/latest)."
    )


class CheckpointFolder:
    """The checkpoints of one run, by step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def at(self, step: int) -> Path:
        """Return the folder of the checkpoint at `step`."""
        return self.path / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Return the steps that have a folder, oldest first."""
        numbers = (p.name.removeprefix("step-") for p in self.path.glob("step-*"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def newest_whole(self) -> tuple[Path | None, list[str]]:
        """Return the newest undamaged checkpoint, and what is wrong with each newer one."""
        damaged = []
        for step in reversed(self.steps()):
            try:
                check_seal(self.at(step), error=CheckpointError)
            except CheckpointError as error:
                damaged.append(str(error))
            else:
                return self.at(step), damaged
        return None, damaged

    def point(self, name: str, step: int) -> None:
        """Let `name` ("best" or "latest") stand for the checkpoint at `step`, atomically."""
        link, aside = self.path / name, self.path / (name + PARTIAL)
        _remove(aside)
        try:
            aside.symlink_to(self.at(step).name, target_is_directory=True)
        except OSError as error:  # no symbolic links here: a copy
            if is_full_disk(error):
                raise
            shutil.copytree(self.at(step), aside)
        if not link.is_symlink():
            _remove(link)
        aside.replace(link)
        flush_to_disk(self.path)

    def prune(self, newest: int, keep: int, best: int | None) -> None:
        """Remove all but the last `keep` checkpoints up to `newest`, and the best.

        Later ones are damaged or of steps that are done again; with them goes what kills left.
        """
        for leftover in self.path.glob("step-*" + PARTIAL):
            _remove(leftover)
        steps = self.steps()
        kept = {*[step for step in steps if step <= newest][-keep:], best}
        for step in steps:
            if step not in kept:
                aside = self.at(step).with_name(self.at(step).name + PARTIAL)
                self.at(step).rename(aside)
                _remove(aside)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
