"""Checkpoints: saved whole, found, linked, dropped."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from model_shapes import small
from seedbed import checkpoints
from seedbed.checkpoints import (
    CheckpointFolder,
    find_checkpoint,
    load_checkpoint,
    load_training_state,
    load_weights,
    save_checkpoint,
)
from seedbed.errors import CheckpointError
from seedbed.files import read_json
from seedbed.model.transformer import Transformer, init_weights
from seedbed.tokenizers.simple import ByteTokenizer


def model_of(seed: int = 1, **fields: int) -> Transformer:
    tokenizer = ByteTokenizer()
    model = Transformer(small(vocab_size=tokenizer.vocab_size, **fields))
    init_weights(model, seed)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "run" / "checkpoints")


def save(folder: CheckpointFolder, *steps: int) -> None:
    for step in steps:
        save_checkpoint(
            folder.at(step),
            model_of(step),
            ByteTokenizer(),
            facts={"step": step},
            optimizer={"a:momentum": torch.full((2, 3), float(step))},
            state={"step": step},
        )


def test_a_checkpoint_gives_back_what_was_saved(folder: CheckpointFolder) -> None:
    save(folder, 7)
    loaded = load_checkpoint(folder.at(7))
    expected = model_of(7).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in loaded.model.state_dict().items())
    assert loaded.facts["step"] == 7
    assert loaded.tokenizer.fingerprint() == ByteTokenizer().fingerprint()
    optimizer, state = load_training_state(folder.at(7))
    assert torch.equal(optimizer["a:momentum"], torch.full((2, 3), 7.0))
    assert state == {"step": 7}


@pytest.mark.parametrize("content", ["", '{"model_type": "qw', "\x00"])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_config_is_told(content: str, sealed: bool, folder: CheckpointFolder) -> None:
    save(folder, 1)
    (folder.at(1) / "config.json").write_text(content)
    if not sealed:
        (folder.at(1) / "manifest.json").unlink()
    problem = "bytes, but" if sealed else "is damaged: it is not JSON"
    with pytest.raises(CheckpointError, match=rf"config\.json .*{problem}"):
        load_checkpoint(folder.at(1))


def test_a_checkpoint_of_ours_without_its_seal_is_refused(folder: CheckpointFolder) -> None:
    save(folder, 1)
    (folder.at(1) / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"without its manifest\.json.*--with-training"):
        load_checkpoint(folder.at(1))


def test_a_checkpoint_saved_twice_has_the_same_bytes(folder: CheckpointFolder) -> None:
    def content() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in folder.at(7).rglob("*") if p.is_file()}

    save(folder, 7)
    first = content()
    save(folder, 7)
    assert content() == first
    assert {"model.safetensors", "optimizer.safetensors", "manifest.json"} <= set(first)


def test_a_model_without_training_state_cannot_go_on(folder: CheckpointFolder) -> None:
    save_checkpoint(folder.at(1), model_of(), ByteTokenizer(), facts={})
    assert load_checkpoint(folder.at(1)).model is not None
    with pytest.raises(CheckpointError, match="holds a model only"):
        load_training_state(folder.at(1))


@pytest.mark.parametrize(
    ("fields", "problem"), [({"d_ff": 96}, "does not fit the model"), ({"num_layers": 3}, "lack")]
)
def test_weights_of_another_shape_are_refused(
    fields: dict[str, int], problem: str, folder: CheckpointFolder
) -> None:
    save(folder, 1)
    with pytest.raises(CheckpointError, match=problem):
        load_weights(model_of(**fields), folder.at(1))


def test_the_newest_whole_checkpoint_is_found_and_damage_told(folder: CheckpointFolder) -> None:
    assert folder.newest_whole() == (None, [])
    save(folder, 1, 2, 3)
    assert folder.newest_whole() == (folder.at(3), [])
    (folder.at(3) / "model.safetensors").write_bytes(b"")
    (folder.at(2) / "manifest.json").unlink()
    newest, damaged = folder.newest_whole()
    assert newest == folder.at(1)
    assert ["model.safetensors" in damaged[0], "manifest.json" in damaged[1]] == [True, True]
    with pytest.raises(CheckpointError, match=r"model\.safetensors has 0 bytes"):
        load_checkpoint(folder.at(3))


def test_other_folders_are_no_checkpoints(folder: CheckpointFolder) -> None:
    save(folder, 1)
    shutil.copytree(folder.at(1), folder.path / "step-000001-copy")
    (folder.path / "step-000002.partial").mkdir()
    assert folder.steps() == [1]


@pytest.mark.parametrize(
    ("newest", "keep", "best", "kept"),
    [
        (5, 2, None, [4, 5]),
        (5, 2, 1, [1, 4, 5]),
        (5, 9, None, [1, 2, 3, 4, 5]),
        (3, 1, None, [3]),  # 4 and 5 are damaged: they do not count, and go
        (3, 1, 2, [2, 3]),
    ],
)
def test_the_newest_and_the_best_are_kept(
    newest: int, keep: int, best: int | None, kept: list[int], folder: CheckpointFolder
) -> None:
    save(folder, 1, 2, 3, 4, 5)
    (folder.path / "step-000009.partial").mkdir()
    folder.prune(newest, keep, best)
    assert sorted(p.name for p in folder.path.iterdir()) == [f"step-{n:06d}" for n in kept]


def test_links_lead_to_their_checkpoint(folder: CheckpointFolder) -> None:
    save(folder, 1, 2)
    folder.point("latest", 1)
    folder.point("latest", 2)
    link = folder.path / "latest"
    assert link.is_symlink()
    assert link.resolve() == folder.at(2).resolve()
    assert load_checkpoint(link).facts["step"] == 2


def test_without_symbolic_links_a_link_is_a_copy(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    save(folder, 1, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "symlink_to", refuse)
        for step in (1, 2):
            folder.point("latest", step)
            assert not (folder.path / "latest").is_symlink()
            assert load_checkpoint(folder.path / "latest").facts["step"] == step
    folder.point("latest", 1)  # a copy that symbolic links came to, as after a move
    assert (folder.path / "latest").resolve() == folder.at(1).resolve()


def test_a_run_means_its_best_checkpoint_else_its_latest(folder: CheckpointFolder) -> None:
    run = folder.path.parent
    with pytest.raises(CheckpointError, match="does not exist"):
        find_checkpoint(run)
    save(folder, 1, 2)
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        find_checkpoint(run)
    folder.point("latest", 2)
    assert find_checkpoint(run) == folder.at(2).resolve()
    folder.point("best", 1)
    assert find_checkpoint(run) == folder.at(1).resolve()
    assert find_checkpoint(folder.at(2)) == folder.at(2).resolve()
    shutil.rmtree(folder.at(1))
    assert find_checkpoint(run) == folder.at(2).resolve()


def test_a_checkpoint_names_the_ids_that_stock_classes_need(folder: CheckpointFolder) -> None:
    save(folder, 1)
    special = ByteTokenizer().special
    assert read_json(folder.at(1) / "generation_config.json") == {
        "bos_token_id": special.bos,
        "eos_token_id": special.eos,
    }


def test_the_optimizer_state_outlives_its_file(folder: CheckpointFolder) -> None:
    save(folder, 7)
    optimizer, _ = load_training_state(folder.at(7))
    (folder.at(7) / "training" / "optimizer.safetensors").write_bytes(b"")
    assert torch.equal(optimizer["a:momentum"], torch.full((2, 3), 7.0))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(13, "Permission denied"), "Mend that"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (SafetensorError("I/O error: No space left on device"), "Free some space"),
        (SafetensorError("something else"), "Mend that"),
    ],
    ids=["forbidden", "full", "full too", "other"],
)
def test_only_a_full_disk_asks_for_space(
    error: Exception, advice: str, folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(CheckpointError, match=f"before it are whole. {advice} and run"):
        save(folder, 1)
