"""What arrives at the Hub is the model, whole; and refusals say what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hub_stand_in import TOKEN, StandIn
from seedbed.checkpoints import load_checkpoint
from seedbed.errors import CheckpointError, ConfigError, UserError
from seedbed.export.hub import push

MODEL_FILES = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def write_out(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_the_command_sends_a_folder_that_transformers_loads(
    hub: StandIn, finished_run: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    surroundings = {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    words = ["push", str(finished_run), "ada/stories", "--private", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "seedbed", *words],
        env={**os.environ, **surroundings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["repo"] == "ada/stories"
    assert told["url"] == f"{hub.url}/ada/stories/commit/1"
    assert hub.created["ada/stories"]["private"]
    arrived = hub.repos["ada/stories"]["main"]
    assert set(arrived) == MODEL_FILES
    assert told["files"] == {name: len(content) for name, content in arrived.items()}
    assert arrived["README.md"].decode() == told["card"]

    folder = write_out(arrived, tmp_path / "arrived")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = load_checkpoint(finished_run)
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, ours.model(ids), rtol=1e-4, atol=1e-4)


def test_with_training_state_seedbed_opens_what_arrived(
    at_hub: StandIn, finished_run: Path, tmp_path: Path
) -> None:
    pushed = push(finished_run, "ada/stories", with_training=True)
    arrived = at_hub.repos["ada/stories"]["main"]
    assert set(arrived) == set(pushed.files) > MODEL_FILES
    again = load_checkpoint(write_out(arrived, tmp_path / "arrived"))
    assert again.facts["step"] == 3


def test_a_branch_a_message_and_a_card_of_ones_own(
    at_hub: StandIn, finished_run: Path, tmp_path: Path
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# Poems, by me: Ä\n", encoding="utf-8")
    push(finished_run, "ada/stories", revision="v2", message="Second try", card=card)
    branches = at_hub.repos["ada/stories"]
    assert branches["main"] == {}
    assert branches["v2"]["README.md"].decode() == "# Poems, by me: Ä\n"
    assert at_hub.commits == ["Second try"]


def test_a_name_without_an_owner_is_the_token_owners(at_hub: StandIn, finished_run: Path) -> None:
    assert push(finished_run, "stories").repo == "ada/stories"
    assert set(at_hub.repos["ada/stories"]["main"]) == MODEL_FILES


def test_a_dry_run_asks_the_hub_nothing(
    at_hub: StandIn, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    notes: list[str] = []
    shown = push(finished_run, "ada/stories", dry_run=True, note=notes.append)
    assert shown.url is None
    assert set(shown.files) == MODEL_FILES
    assert shown.card.startswith("---\n")
    assert "Nothing was sent" in notes[-1]
    assert at_hub.requests == []


def test_pushing_again_to_a_public_repository_works_but_not_as_private(
    at_hub: StandIn, finished_run: Path
) -> None:
    at_hub.public.add("ada/stories")
    push(finished_run, "ada/stories")
    with pytest.raises(ConfigError, match="is public"):
        push(finished_run, "ada/stories", private=True)
    assert len(at_hub.commits) == 1


@pytest.mark.parametrize(
    ("token", "repo", "hint"),
    [
        ("hf_wrong", "ada/stories", "does not know the token"),
        (TOKEN, "bob/stories", "may not write to bob/stories"),
    ],
)
def test_a_refusal_says_what_to_do(
    token: str, repo: str, hint: str, at_hub: StandIn, finished_run: Path
) -> None:
    with pytest.raises(UserError, match=hint):
        push(finished_run, repo, token=token)
    assert at_hub.commits == []


def test_a_card_that_the_hub_refuses_is_told(at_hub: StandIn, finished_run: Path) -> None:
    with pytest.raises(UserError, match=r'"license" must be one of .* Nothing was committed'):
        push(finished_run, "ada/stories", license_name="no-such")
    assert at_hub.commits == []


def test_a_hub_that_is_out_of_order_is_told_with_its_status(
    at_hub: StandIn, finished_run: Path
) -> None:
    at_hub.broken = True
    with pytest.raises(UserError, match="status 500"):
        push(finished_run, "ada/stories")
    assert at_hub.repos["ada/stories"]["main"] == {}


def test_a_hub_that_cannot_be_reached_is_told(
    at_hub: StandIn, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 failed.*Check the network"):
        push(finished_run, "ada/stories")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        push(finished_run, "ada/stories")


def test_no_token_is_told_before_anything_is_sent(
    at_hub: StandIn, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match="There is no token"):
        push(finished_run, "ada/stories")
    assert at_hub.requests == []


@pytest.mark.parametrize("repo", ["", "a/b/c", "ada/", "ada/some name", "ada/..", "-x", "ada/ö"])
def test_a_name_that_cannot_be_is_refused(repo: str, finished_run: Path) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        push(finished_run, repo, dry_run=True)


def test_a_damaged_checkpoint_is_not_sent(
    at_hub: StandIn, finished_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree((finished_run / "checkpoints" / "best").resolve(), copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="damaged"):
        push(copy, "ada/stories")
    assert at_hub.requests == []


def test_a_card_that_cannot_be_read_is_told(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes(b"\xe4")
    for card in (tmp_path / "none.md", tmp_path / "latin.md", tmp_path):
        with pytest.raises(ConfigError, match="--card"):
            push(finished_run, "ada/stories", card=card, dry_run=True)
