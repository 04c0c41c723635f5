from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from chat_models import KNOWN, chat_dataset, talk
from model_shapes import random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation import evaluate as module
from seedbed.evaluation.bits_per_byte import score_documents
from seedbed.evaluation.chat import score_messages
from seedbed.evaluation.evaluate import (
    choose_documents,
    evaluate,
    evaluate_against,
    evaluate_splits,
)
from seedbed.runs import RunDir
from seedbed.statistics import ratio_standard_error
from seedbed.tokenizers.base import Tokenizer
from seedbed.tokenizers.simple import CharTokenizer

KEYS = [
    "bits_per_byte",
    "standard_error",
    "loss",
    "perplexity",
    "tokens",
    "bytes",
    "documents",
    "baseline_bits_per_byte",
]


def made(out: Path, *sources: str, **settings: object) -> PreparedDataset:
    given = {"tokenizer": "byte", **settings, "sources": sources, "out": out}
    return prepare(PrepareConfig.model_validate(given))


def checkpoint(folder: Path, tokenizer: Tokenizer) -> Path:
    model = random_model(vocab_size=tokenizer.vocab_size, context_length=64)
    save_checkpoint(folder, model, tokenizer, facts={})
    return folder


@pytest.fixture(scope="module")
def bytes_of_stories(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return made(tmp_path_factory.mktemp("data") / "bytes", "sample:stories:60")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, bytes_of_stories: PreparedDataset) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "model", bytes_of_stories.tokenizer)


def write_documents(path: Path, dataset: PreparedDataset) -> Path:
    """Write the validation documents as text, a document a record."""
    decode = dataset.tokenizer.decode
    texts = [decode(ids.tolist()) for ids in dataset.val.documents()]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_the_report_has_the_promised_keys(model: Path, bytes_of_stories: PreparedDataset) -> None:
    report = evaluate(model, data=bytes_of_stories.folder)
    assert list(asdict(report)) == KEYS
    assert report.baseline_bits_per_byte == bytes_of_stories.baseline_bits_per_byte
    assert report.documents == bytes_of_stories.val.num_documents
    assert report.bytes == bytes_of_stories.manifest["val"]["bytes"]
    assert report.standard_error is not None
    assert 0 < report.standard_error < report.bits_per_byte


@pytest.mark.gpu
def test_a_gpu_gives_the_same_figures(model: Path, bytes_of_stories: PreparedDataset) -> None:
    on_gpu = evaluate(model, data=bytes_of_stories.folder, device="cuda")
    on_cpu = evaluate(model, data=bytes_of_stories.folder, device="cpu")
    assert asdict(on_gpu) == pytest.approx(asdict(on_cpu), rel=1e-4)


def test_text_and_dataset_of_the_same_documents_score_alike(
    model: Path, bytes_of_stories: PreparedDataset, tmp_path: Path
) -> None:
    text = write_documents(tmp_path / "val.jsonl", bytes_of_stories)
    by_data = evaluate(model, data=bytes_of_stories.folder)
    by_text = evaluate(model, text=str(text))
    assert asdict(by_text) == {**asdict(by_data), "baseline_bits_per_byte": None}


def test_either_split_can_be_measured(model: Path, bytes_of_stories: PreparedDataset) -> None:
    report = evaluate(model, data=bytes_of_stories.folder, split="train")
    assert report.documents == bytes_of_stories.train.num_documents
    assert report.baseline_bits_per_byte is None  # it is known of the validation text only


def test_both_splits_are_those_of_each_and_the_gap_between_them(
    model: Path, bytes_of_stories: PreparedDataset
) -> None:
    stages: list[tuple[str, int, int]] = []
    both = evaluate_splits(
        model,
        data=bytes_of_stories.folder,
        progress=lambda *stage: stages.append(stage),
    )
    assert both.val == evaluate(model, data=bytes_of_stories.folder, split="val")
    assert both.train == evaluate(model, data=bytes_of_stories.folder, split="train")
    assert both.gap_bits_per_byte == both.val.bits_per_byte - both.train.bits_per_byte
    assert both.gap_loss == both.val.loss - both.train.loss
    errors = [both.val.standard_error or 0.0, both.train.standard_error or 0.0]
    assert both.gap_standard_error == pytest.approx(math.hypot(*errors))
    assert {split for split, _, _ in stages} == {"val", "train"}


def test_a_limit_reads_whole_documents_spread_over_the_split(
    model: Path, bytes_of_stories: PreparedDataset
) -> None:
    shards = bytes_of_stories.train
    limit = shards.num_tokens // 4
    report = evaluate(model, data=bytes_of_stories.folder, split="train", limit_tokens=limit)
    assert report.tokens + report.documents == pytest.approx(limit, rel=0.2)  # an end each
    chosen = list(choose_documents(shards, limit))
    assert (chosen[0], chosen[-1]) == (0, shards.num_documents - 1)
    assert report.documents == len(chosen) == len(set(chosen))
    assert list(choose_documents(shards, 1)) == [0]
    assert list(choose_documents(shards, None)) == list(range(shards.num_documents))


def test_without_a_limit_a_training_split_is_read_in_part(
    model: Path, bytes_of_stories: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FEWEST_TRAIN_TOKENS", 1)
    folder, shards = bytes_of_stories.folder, bytes_of_stories
    assert shards.train.num_tokens > 3 * shards.val.num_tokens
    report = evaluate(model, data=folder, split="train")
    assert report.tokens == pytest.approx(shards.val.num_tokens, rel=0.3)
    assert evaluate(model, data=folder).documents == shards.val.num_documents


def test_a_part_of_the_validation_split_has_no_baseline(
    model: Path, bytes_of_stories: PreparedDataset
) -> None:
    notes: list[str] = []
    report = evaluate(model, data=bytes_of_stories.folder, limit_tokens=1000, note=notes.append)
    assert report.baseline_bits_per_byte is None
    assert report.documents < bytes_of_stories.val.num_documents
    assert not notes


def test_a_limit_must_be_of_a_dataset_and_positive(
    model: Path, bytes_of_stories: PreparedDataset
) -> None:
    with pytest.raises(ConfigError, match="`--limit-tokens` is for a dataset"):
        evaluate(model, text="x.txt", limit_tokens=5)
    with pytest.raises(ConfigError, match="`limit_tokens` is 0 but must be 1 or more"):
        evaluate(model, data=bytes_of_stories.folder, limit_tokens=0)


def test_a_dataset_of_another_tokenizer_gives_the_same_figures(
    model: Path, bytes_of_stories: PreparedDataset, tmp_path: Path
) -> None:
    other = made(tmp_path / "bpe", "sample:stories:60", tokenizer="bpe", vocab_size=400)
    mine = asdict(evaluate(model, data=bytes_of_stories.folder))
    theirs = asdict(evaluate(model, data=other.folder))
    assert theirs == pytest.approx(mine)


def test_a_text_of_one_document_has_no_standard_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("A single short document.")
    report = evaluate(model, text=str(tmp_path / "one.txt"))
    assert report.documents == 1
    assert report.standard_error is None
    json.dumps(asdict(report), allow_nan=False)


def test_a_long_file_is_cut_into_documents(model: Path, tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {i}. " + "All work and no play. " * 40 for i in range(20)]
    (tmp_path / "long.txt").write_text("\n\n".join(paragraphs))
    report = evaluate(model, text=str(tmp_path / "long.txt"))
    assert report.documents > 3
    assert report.standard_error is not None


def test_documents_that_prepare_would_drop_are_left_out(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "some.jsonl"
    broken.write_bytes(b'{"text": "One good."}\n{"text": "bro\xffken"}\n{"text": " "}\n')
    report = evaluate(model, text=str(broken))
    assert (report.documents, report.bytes) == (1, len("One good."))


def test_a_text_is_read_by_its_field_and_its_separator(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"story": "One."}\n{"story": "Two."}\n')
    report = evaluate(model, text=str(tmp_path / "a.jsonl"), text_field="story")
    assert (report.documents, report.bytes) == (2, 8)
    (tmp_path / "a.txt").write_text("One.\n---\nTwo.\n---\nSix.")
    report = evaluate(model, text=str(tmp_path / "a.txt"), document_separator="\n---\n")
    assert (report.documents, report.bytes) == (3, 12)
    with pytest.raises(ConfigError, match="are for `--text`"):
        evaluate(model, text_field="story")


def test_a_dataset_that_does_not_give_its_text_back_is_noted(model: Path, tmp_path: Path) -> None:
    CharTokenizer("abcdefghijklmnopqrstuvwxyz ").save(tmp_path / "tokenizer")
    data = made(tmp_path / "data", "sample:stories:60", tokenizer=str(tmp_path / "tokenizer"))
    notes: list[str] = []
    report = evaluate(model, data=data.folder, note=notes.append)
    assert len(notes) == 1
    assert f"{data.manifest['val']['bytes']:,} bytes read back as {report.bytes:,}" in notes[0]
    assert report.baseline_bits_per_byte is None  # of another text


def run_of(folder: Path, data: Path, dataset: PreparedDataset, out: Path = Path("runs/a")) -> Path:
    """Return a run at folder / runs / a, as training begun in `folder` leaves it."""
    run = RunDir(folder / "runs" / "a")
    checkpoint(run.checkpoints / "best", dataset.tokenizer)
    run.config.write_text(f"data: {data}\nout: {out}\n")
    run.request.write_text(json.dumps({"data": dataset.fingerprint}))
    return run.path


def test_a_run_finds_its_dataset_from_anywhere(
    bytes_of_stories: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bytes_of_stories.folder, tmp_path / "project" / "data" / "a")
    run = run_of(tmp_path / "project", Path("data/a"), bytes_of_stories)
    monkeypatch.chdir(tmp_path)
    assert evaluate(run).bytes == bytes_of_stories.manifest["val"]["bytes"]
    moved = run.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match=r"trained on data/a, .*--data DIR"):
        evaluate(moved)
    monkeypatch.chdir(tmp_path / "project")
    assert evaluate(moved).bytes == bytes_of_stories.manifest["val"]["bytes"]


def test_a_run_at_an_absolute_path_finds_its_dataset(
    bytes_of_stories: PreparedDataset, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "a"
    run = run_of(tmp_path, bytes_of_stories.folder, bytes_of_stories, out)
    assert evaluate(run).bytes == bytes_of_stories.manifest["val"]["bytes"]


def test_a_dataset_made_anew_since_is_refused(
    bytes_of_stories: PreparedDataset, tmp_path: Path
) -> None:
    other = made(tmp_path / "data", "sample:stories:70")
    run = run_of(tmp_path, other.folder, bytes_of_stories)
    with pytest.raises(ConfigError, match=r"is not the dataset that .* --data DIR"):
        evaluate(run)
    assert evaluate(run, data=other.folder).documents == other.val.num_documents


def test_two_things_to_evaluate_on_are_refused(
    model: Path, bytes_of_stories: PreparedDataset
) -> None:
    with pytest.raises(ConfigError, match="--text"):
        evaluate(model, data=bytes_of_stories.folder, text="x.txt")


def test_nothing_to_evaluate_on_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="--data DIR or --text FILE"):
        evaluate(model)


def test_a_text_without_text_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"empty\.txt"):
        evaluate(model, text=str(tmp_path / "empty.txt"))


def test_a_missing_text_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        evaluate(model, text=str(tmp_path / "none.txt"))


# --- two checkpoints ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with other weights and another tokenizer."""
    tokenizer = CharTokenizer("".join(map(chr, range(32, 127))) + "\n")
    weights = random_model("gpt2", vocab_size=tokenizer.vocab_size, context_length=64)
    folder = tmp_path_factory.mktemp("model") / "other"
    save_checkpoint(folder, weights, tokenizer, facts={})
    return folder


def test_a_model_against_another_is_both_reports_and_their_paired_difference(
    model: Path, other: Path, bytes_of_stories: PreparedDataset
) -> None:
    data = bytes_of_stories.folder
    both = evaluate_against(model, other, data=data)
    assert both.checkpoint == evaluate(model, data=data)
    assert both.against == evaluate(other, data=data)
    difference = both.checkpoint.bits_per_byte - both.against.bits_per_byte
    assert both.difference_bits_per_byte == difference
    assert both.difference_share == pytest.approx(difference / both.against.bits_per_byte)
    texts = [
        bytes_of_stories.tokenizer.decode(ids[:-1].tolist())
        for ids in bytes_of_stories.val.documents()
    ]
    bits = []
    for path in (model, other):
        loaded = load_checkpoint(path, precision="fp32")
        ids = [loaded.tokenizer.encode(text) for text in texts]
        bos = loaded.tokenizer.special.bos
        scores = score_documents(loaded.model, ids, [len(t.encode()) for t in texts], bos=bos)
        bits.append(scores.nats / math.log(2))
    sizes = [len(text.encode()) for text in texts]
    wanted = ratio_standard_error(bits[0] - bits[1], sizes)
    assert both.difference_standard_error == pytest.approx(wanted, rel=1e-5)
    turned = evaluate_against(other, model, data=data)
    assert turned.difference_bits_per_byte == -difference


def test_a_model_against_itself_differs_by_nothing(
    model: Path, bytes_of_stories: PreparedDataset
) -> None:
    stages: list[str] = []
    data = bytes_of_stories.folder
    same = evaluate_against(
        model, model, data=data, progress=lambda name, _done, _total: stages.append(name)
    )
    assert same.checkpoint == same.against
    assert (same.difference_bits_per_byte, same.difference_standard_error) == (0.0, 0.0)
    assert set(stages) == {"checkpoint", "the other"}


def test_any_text_will_do_to_compare_on(model: Path, other: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("A single short document.")
    both = evaluate_against(model, other, text=str(tmp_path / "one.txt"))
    assert both.difference_standard_error is None
    assert both.checkpoint.bytes == both.against.bytes == 24
    json.dumps(asdict(both), allow_nan=False)


# --- conversations --------------------------------------------------------------------------


def test_of_conversations_what_the_assistant_says_is_measured(model: Path, tmp_path: Path) -> None:
    data = chat_dataset(tmp_path / "data", KNOWN[:2], KNOWN[2:])
    notes: list[str] = []
    report = evaluate(model, data=data, note=notes.append)
    loaded = load_checkpoint(model, precision="fp32")
    scores = score_messages(loaded.model, loaded.tokenizer, KNOWN[2:])
    assert report.bits_per_byte == pytest.approx(scores.bits_per_byte, rel=1e-6)
    assert (report.documents, report.bytes, report.tokens) == (2, 12, 15)
    assert report.baseline_bits_per_byte is None
    assert len(notes) == 1
    both = evaluate_splits(model, data=data, note=notes.append)
    assert both.val == report
    assert both.train.documents == 2
    against = evaluate_against(model, model, data=data, note=notes.append)
    assert against.checkpoint == report


def test_of_pairs_of_answers_the_chosen_ones_are_measured(model: Path, tmp_path: Path) -> None:
    pairs = [KNOWN[0], talk("cat?", "bark"), KNOWN[1], talk("dog?", "moo")]
    data = chat_dataset(tmp_path / "pairs", KNOWN, pairs, preferences=True)
    chosen = chat_dataset(tmp_path / "chosen", KNOWN, KNOWN[:2])
    notes: list[str] = []
    of_chosen = evaluate(model, data=chosen, note=notes.append)
    assert evaluate(model, data=data, note=notes.append) == of_chosen


def test_a_run_finds_the_conversations_that_it_keeps_even_when_it_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_dataset(tmp_path / "runs" / "a" / "data", KNOWN[:2], KNOWN[2:])
    dataset = open_dataset(tmp_path / "runs" / "a" / "data")
    run = run_of(tmp_path, Path("runs/a/data"), dataset)
    monkeypatch.chdir(tmp_path)
    wanted = evaluate(run, note=lambda _text: None)
    assert wanted.documents == 2
    moved = run.rename(tmp_path / "moved")
    assert evaluate(moved, note=lambda _text: None) == wanted


def test_a_split_without_a_conversation_is_refused(model: Path, tmp_path: Path) -> None:
    data = chat_dataset(tmp_path / "data", KNOWN, [[]])
    with pytest.raises(DataError, match=r"val split of .* holds no conversation"):
        evaluate(model, data=data, note=lambda _text: None)
