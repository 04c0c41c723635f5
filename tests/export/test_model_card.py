"""What the card says is what the run wrote down, and nothing of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from seedbed.config import read_yaml
from seedbed.errors import CheckpointError, ConfigError
from seedbed.evaluation.evaluate import EvalReport
from seedbed.export.model_card import model_card, public_name
from seedbed.files import read_json, read_json_lines, seal_folder
from seedbed.training.config import TrainConfig
from seedbed.training.finetune import finetune


@pytest.fixture
def folder(finished_run: Path) -> Path:
    return (finished_run / "checkpoints" / "best").resolve()


def test_the_figures_are_those_of_the_run(folder: Path, finished_run: Path) -> None:
    card = model_card(folder, repo="ada/stories")
    last = read_json_lines(finished_run / "metrics.jsonl")[-1]
    manifest = read_json(finished_run.parent / "stories" / "manifest.json")
    parameters = sum(w.size for w in load_file(folder / "model.safetensors").values())
    assert f"{parameters:,} parameters" in card
    assert f"{last['val_bits_per_byte']:.4f} bits per byte" in card
    assert f"{manifest['baseline']['bits_per_byte']:.4f} on the whole validation text" in card
    assert f"step 3, after {3 * 2 * 32:,} tokens" in card
    assert f"{manifest['train']['documents']:,} documents" in card
    assert "`sample:stories:60`" in card
    assert "| horizon | 3 steps |" in card
    assert "| context, in tokens | 32 |" in card


def test_the_front_matter_is_yaml_that_claims_no_licence(folder: Path) -> None:
    _, front, _ = model_card(folder, repo="ada/stories").split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["license"] == "unknown"
    assert said["library_name"] == "transformers"
    given = model_card(folder, repo="ada/stories", license_name="apache-2.0")
    assert yaml.safe_load(given.split("---\n")[1])["license"] == "apache-2.0"


def test_a_measurement_of_the_whole_split_replaces_the_one_of_training(folder: Path) -> None:
    report = EvalReport(1.23456, 0.0125, 2.0, 7.389, 900, 1000, 12, 1.5)
    card = model_card(folder, repo="ada/stories", report=report)
    assert "**1.2346 ± 0.0125 bits per byte**" in card
    assert "A byte n-gram model reaches 1.5000" in card
    assert "measured while training" not in card


def test_no_path_of_this_machine_is_told(folder: Path, finished_run: Path) -> None:
    card = model_card(folder, repo="ada/stories")
    assert str(finished_run.parent) not in card
    assert "`stories`" in card


def test_a_checkpoint_without_its_run_says_what_is_not_known(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    card = model_card(alone, repo="ada/stories")
    assert "Not measured." in card
    assert "How it was trained" not in card
    assert "was not known" in card


def test_a_dataset_made_anew_since_is_not_described(folder: Path, finished_run: Path) -> None:
    manifest = finished_run.parent / "stories" / "manifest.json"
    before = manifest.read_bytes()
    try:
        made = {k: v for k, v in read_json(manifest).items() if k not in ("files", "checksum")}
        seal_folder(manifest.parent, **made, seed=1)
        card = model_card(folder, repo="ada/stories")
    finally:
        manifest.write_bytes(before)
    assert "documents" not in card
    assert "n-gram" not in card


@pytest.fixture(scope="module", params=["sft", "dpo"])
def fine_tuned(
    request: pytest.FixtureRequest, finished_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a checkpoint of a model that learned conversations, or pairs of answers."""
    home = tmp_path_factory.mktemp(request.param)
    answers = {"sft": {"completion": "Yes."}, "dpo": {"chosen": "Yes.", "rejected": "No."}}
    with (home / "answers.jsonl").open("w") as lines:
        for n in range(20):
            lines.write(json.dumps({"prompt": f"{n}?", **answers[request.param]}) + "\n")
    own = {"sources": (str(home / "answers.jsonl"),), "method": request.param}
    config = {
        "out": home / "run",
        "finetune": {"checkpoint": finished_run, **own},
        "horizon": "2 steps",
        "batch_size": 2,
        "precision": "fp32",
        "samples": {"tokens": 0},
    }
    finetune(TrainConfig.model_validate(config), quiet=True)
    return (home / "run" / "checkpoints" / "best").resolve()


def test_of_fine_tuning_only_what_is_known_is_told(fine_tuned: Path) -> None:
    card = model_card(fine_tuned, repo="ada/answers")
    run = fine_tuned.parent.parent
    documents = read_json(run / "data" / "manifest.json")["train"]["documents"]
    pairs = read_yaml(run / "config.yaml")["finetune"]["method"] == "dpo"
    count = f"{documents // 2} pairs of answers" if pairs else f"{documents} conversations"
    assert f"It was trained on `answers.jsonl` ({count})." in card
    assert "weights of another model, `run`, whose training" in card
    last = read_json_lines(run / "metrics.jsonl")[-1]
    assert f"{last['val_bits_per_byte']:.4f} bits per byte on what the assistant says" in card
    assert ("nats per token" in card) == (not pairs)
    assert "apply_chat_template" in card
    for false in (
        "epochs)",
        "tokens of training",
        "`data`",
        "validation text",
        "documents",
        "Once",
    ):
        assert false not in card
    report = EvalReport(1.23456, 0.0125, 2.0, 7.389, 900, 1000, 12, None)
    assert "says, 12 conversations of 1,000" in model_card(fine_tuned, repo="a/b", report=report)


def test_the_lines_that_use_a_model_run(
    folder: Path, fine_tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    for checkpoint, first in ((folder, "Once upon a time"), (fine_tuned, "")):
        card = model_card(checkpoint, repo=str(checkpoint))
        exec(card.split("```python\n")[1].split("```")[0], {})
        assert capsys.readouterr().out.startswith(first)


def test_damaged_metrics_are_told(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (tmp_path / "run" / "metrics.jsonl").write_text("{\n{}\n")
    best = (tmp_path / "run" / "checkpoints" / "best").resolve()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged"):
        model_card(best, repo="ada/stories")


@pytest.mark.parametrize("name", ["", "apache 2.0", "mit\ntags: [x]", "-"])
def test_a_licence_that_is_no_identifier_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="--license"):
        model_card(folder, repo="ada/stories", license_name=name)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("my-text", "my-text"),
        ("../secret/place/", "place"),
        ("C:\\Users\\ada\\poems.txt", "poems.txt"),
        ("hf:roneneldan/TinyStories", "hf:roneneldan/TinyStories"),
        ("hf:/home/ada/stories", "hf:stories"),
        ("hf:../stories", "hf:stories"),
        ("nanogpt:/home/ada/shakespeare_char", "nanogpt:shakespeare_char"),
        ("sample:stories:500", "sample:stories:500"),
        ("s3://key:word@bucket/a.txt", "s3://bucket/a.txt"),
        ("https://example.org/a.txt?token=abc", "https://example.org/a.txt"),
        ("file:///home/ada/a.txt", "a.txt"),
    ],
)
def test_a_source_is_named_without_folders_and_secrets(source: str, told: str) -> None:
    assert public_name(source) == told
