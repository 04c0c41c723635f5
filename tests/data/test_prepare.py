"""prepare: what is in the folder, on which side, what was dropped, and the errors on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from seedbed.cli.main import run
from seedbed.data import prepare as prepare_module
from seedbed.data.ngrams import measure_baseline
from seedbed.data.prepare import PrepareConfig
from seedbed.data.prepared import PreparedDataset, open_dataset
from seedbed.errors import ConfigError, DataError

Prepared = Callable[..., PreparedDataset]
Texts = Callable[..., list[str]]
END = "\n<|endoftext|>\n"


def test_every_document_comes_back_from_the_tokens(
    prepared: Prepared, texts_of: Texts, story_file: Path, stories: list[str]
) -> None:
    for tokenizer in ("byte", "char", "bpe"):
        dataset = prepared(story_file, out=tokenizer, tokenizer=tokenizer, vocab_size=400)
        assert sorted(texts_of(dataset)) == sorted(stories)
        assert texts_of(dataset, "train") == [s for s in stories if s in texts_of(dataset, "train")]
        for shards in (dataset.train, dataset.val):
            ends = shards.tokens[shards.offsets[1:] - 1]
            assert (ends == dataset.tokenizer.special.eos).all()
            assert np.count_nonzero(shards.tokens == ends[0]) == shards.num_documents


def test_the_folder_and_the_manifest_hold_what_was_promised(
    prepared: Prepared, story_file: Path, stories: list[str]
) -> None:
    dataset = prepared(story_file, tokenizer="bpe", vocab_size=300)
    names = ["train.bin", "train.idx", "val.bin", "val.idx", "manifest.json"]
    names += ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    assert {p.name for p in dataset.folder.iterdir()} == set(names)
    manifest = dataset.manifest
    assert (manifest["dtype"], manifest["vocab_size"]) == ("uint16", dataset.tokenizer.vocab_size)
    assert manifest["tokenizer"]["fingerprint"] == dataset.tokenizer.fingerprint()
    for split, shards in (("train", dataset.train), ("val", dataset.val)):
        assert (
            manifest[split]["tokens"]
            == shards.num_tokens
            == np.fromfile(dataset.folder / f"{split}.bin", "<u2").size
        )
        assert manifest[split]["documents"] == shards.num_documents
    total = manifest["train"]["bytes"] + manifest["val"]["bytes"]
    assert total == sum(len(s.encode()) for s in stories)
    assert manifest["sources"][0]["bytes"] == story_file.stat().st_size


def test_the_baseline_is_that_of_the_two_splits(
    prepared: Prepared, texts_of: Texts, story_file: Path
) -> None:
    dataset = prepared(story_file)
    train, val = ([t.encode() for t in texts_of(dataset, s)] for s in ("train", "val"))
    assert dataset.manifest["baseline"] == measure_baseline(train, val)
    assert 0.5 < dataset.baseline_bits_per_byte < 4


def test_a_vocabulary_above_65536_is_written_in_four_bytes(
    prepared: Prepared, texts_of: Texts, tmp_path: Path
) -> None:
    planes = [chr(0x20000 + n) for n in range(40_000)] + [chr(0xAC00 + n) for n in range(11_000)]
    many = "".join(planes) + "".join(chr(0x30000 + n) for n in range(4_000))
    many += "".join(chr(0x3400 + n) for n in range(6_500)) + "".join(
        map(chr, range(0xF0000, 0xF2000))
    )
    (tmp_path / "a.txt").write_text(many, encoding="utf-8")
    dataset = prepared(tmp_path / "a.txt", tokenizer="char")
    assert dataset.manifest["dtype"] == "uint32"
    assert sorted("".join(texts_of(dataset))) == sorted(many)


# --- the split ------------------------------------------------------------------------------


def test_a_small_text_gives_a_tenth_of_its_documents_to_validation(
    prepared: Prepared, story_file: Path
) -> None:
    assert prepared(story_file).val.num_documents == 12
    assert prepared(story_file, out="half", val_fraction=0.5).val.num_documents == 60
    assert prepared(story_file, out="one", val_fraction=1e-6).val.num_documents == 1


def test_the_side_of_a_document_depends_on_its_content_alone(
    prepared: Prepared, texts_of: Texts, tmp_path: Path, stories: list[str]
) -> None:
    for name, order in (("a", stories), ("b", stories[::-1])):
        (tmp_path / f"{name}.txt").write_text(END.join(order))
    first, second = (prepared(tmp_path / f"{n}.txt", out=n) for n in "ab")
    assert set(texts_of(first, "val")) == set(texts_of(second, "val"))


@pytest.mark.parametrize("dedup", ["none", "exact", "near"])
def test_no_document_is_on_both_sides(
    dedup: str, prepared: Prepared, texts_of: Texts, tmp_path: Path, stories: list[str]
) -> None:
    (tmp_path / "a.txt").write_text(END.join(stories))
    (tmp_path / "b.txt").write_text(END.join(stories[::-1]))
    dataset = prepared(tmp_path / "a.txt", tmp_path / "b.txt", dedup=dedup)
    train, val = texts_of(dataset, "train"), texts_of(dataset, "val")
    assert val
    assert not set(train) & set(val)
    assert len(train) + len(val) == (240 if dedup == "none" else 120)


def test_a_validation_source_is_used_whole_and_leaves_the_training_text(
    prepared: Prepared, texts_of: Texts, tmp_path: Path, stories: list[str]
) -> None:
    (tmp_path / "train.txt").write_text(END.join(stories[:80]))
    (tmp_path / "val.txt").write_text(END.join(stories[60:] + stories[60:62]))
    dataset = prepared(tmp_path / "train.txt", val=[str(tmp_path / "val.txt")])
    assert texts_of(dataset, "val") == stories[60:]
    assert texts_of(dataset, "train") == stories[:60]
    counts = {reason: d["documents"] for reason, d in dataset.manifest["drops"].items()}
    assert counts == {"also in the validation source": 20, "exact duplicate": 2}
    assert dataset.manifest["documents_read"] == 142


def test_the_limit_is_on_documents_read_from_the_sources(
    prepared: Prepared, story_file: Path
) -> None:
    assert prepared(story_file, limit_documents=30).manifest["documents_read"] == 30


def test_the_limit_on_bytes_ends_before_the_first_document_beyond(
    prepared: Prepared, texts_of: Texts, story_file: Path, stories: list[str]
) -> None:
    size = sum(len(story.encode()) for story in stories[:30])
    exact = prepared(story_file, limit_bytes=size)
    assert sorted(texts_of(exact)) == sorted(stories[:30])
    less = prepared(story_file, limit_bytes=f"{(size - 1) / 1e6}m", out="less")
    assert sorted(texts_of(less)) == sorted(stories[:29])
    both = prepared(story_file, limit_bytes="1g", limit_documents=40, out="both")
    assert both.manifest["documents_read"] == 40
    with pytest.raises(DataError, match=r"`limit_bytes` is 9, but .*stories.txt line 1 alone has"):
        prepared(story_file, limit_bytes=9, out="none")
    with pytest.raises(ValidationError, match="Write a count of bytes, such as 10m"):
        prepared(story_file, limit_bytes="10 potatoes")


def test_the_command_takes_every_option_of_cleaning(
    story_file: Path, tmp_path: Path, texts_of: Texts, stories: list[str]
) -> None:
    long = sorted(s for s in stories if 500 <= len(s) <= 900)
    options = "--tokenizer byte --limit-bytes 1m --unicode nfc --newlines --min-chars 500"
    options += " --max-chars 900 --max-repetition 0.2 --language EN,fr --json"
    command = ["prepare", str(story_file), "--out", str(tmp_path / "out"), *options.split()]
    assert run(command) == 0
    dataset = open_dataset(tmp_path / "out")
    assert 10 < len(long) < 120
    assert sorted(texts_of(dataset)) == long
    assert dataset.manifest["settings"]["filters"]["languages"] == ["en", "fr"]


# --- drops ----------------------------------------------------------------------------------


def test_every_drop_is_counted_with_its_reason_and_first_example(
    prepared: Prepared, texts_of: Texts, tmp_path: Path, stories: list[str]
) -> None:
    lines = [json.dumps({"text": s}).encode() for s in stories]
    lines[10:10] = [b'{"text": "  "}', b'{"txt": "x"}', b"oops", b'{"text": "caf\xe9"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "b.txt").write_text(END.join(stories[:50]))
    dataset = prepared(tmp_path / "a.jsonl", tmp_path / "b.txt")
    assert sorted(texts_of(dataset)) == sorted(stories)
    drops = dataset.manifest["drops"]
    assert {reason: d["documents"] for reason, d in drops.items()} == {
        "broken UTF-8": 1,
        "empty": 1,
        "exact duplicate": 50,
        "malformed JSON": 1,
        "no text field": 1,
    }
    assert drops["empty"]["first"] == f"{tmp_path / 'a.jsonl'} line 11"
    assert drops["exact duplicate"]["first"] == f"{tmp_path / 'b.txt'} line 1"


def test_near_duplicates_are_dropped_on_request(
    prepared: Prepared, tmp_path: Path, stories: list[str]
) -> None:
    (tmp_path / "a.txt").write_text(END.join(stories + [s.upper() for s in stories]))
    dataset = prepared(tmp_path / "a.txt", dedup="near")
    assert dataset.manifest["drops"]["near duplicate"]["documents"] >= 120
    assert dataset.manifest["near_duplicate_threshold"] == 0.71


# --- workers --------------------------------------------------------------------------------


def test_any_number_of_workers_gives_the_same_bytes(
    prepared: Prepared,
    story_file: Path,
    bytes_of: Callable[[Path], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare_module, "BLOCK_BYTES", 4_000)
    folders = [
        prepared(story_file, out=f"out{n}", workers=n, tokenizer="bpe", vocab_size=300).folder
        for n in (1, 2, 3)
    ]
    assert bytes_of(folders[0]) == bytes_of(folders[1]) == bytes_of(folders[2])


def test_progress_tells_the_stages_and_ends_at_the_whole(story_file: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    config = PrepareConfig(sources=(str(story_file),), out=tmp_path / "out", tokenizer="byte")
    dataset = prepare_module.prepare(config, progress=lambda *facts: told.append(facts))
    total = dataset.manifest["train"]["bytes"] + dataset.manifest["val"]["bytes"]
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["reading", "tokenizer", "baseline", "encoding"]
    assert told[-1] == ("encoding", total, total)


# --- what stands at OUT already -------------------------------------------------------------


def test_the_same_command_again_does_nothing_and_says_so(
    prepared: Prepared, story_file: Path
) -> None:
    first = prepared(story_file)
    before = (first.folder / "train.bin").stat().st_mtime_ns
    again = prepared(story_file, workers=3)
    assert (first.was_finished, again.was_finished) == (False, True)
    assert (again.folder / "train.bin").stat().st_mtime_ns == before


def test_another_dataset_is_refused_naming_what_changed_unless_to_be_overwritten(
    prepared: Prepared, story_file: Path, texts_of: Texts, stories: list[str]
) -> None:
    prepared(story_file)
    with pytest.raises(DataError, match=r"`dedup` changed.*--overwrite"):
        prepared(story_file, dedup="none")
    with pytest.raises(DataError, match=r"`filters.min_chars` changed"):
        prepared(story_file, filters={"min_chars": 3})
    story_file.write_text(END.join(stories[:70]))
    os.utime(story_file, (2**31, 2**31))
    with pytest.raises(DataError, match=r"stories\.txt changed"):
        prepared(story_file)
    dataset = prepared(story_file, overwrite=True)
    assert sorted(texts_of(dataset)) == sorted(stories[:70])
    assert not list(dataset.folder.parent.glob("*.partial*"))


def test_a_folder_of_something_else_is_never_touched(
    prepared: Prepared, story_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not a prepared dataset"):
        prepared(story_file, overwrite=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_tokenizer_comes_from_another_dataset_or_a_file(
    prepared: Prepared, story_file: Path
) -> None:
    first = prepared(story_file, tokenizer="bpe", vocab_size=300)
    for number, path in enumerate((first.folder, first.folder / "tokenizer.json")):
        again = prepared(story_file, out=f"again{number}", tokenizer=str(path))
        assert again.tokenizer.fingerprint() == first.tokenizer.fingerprint()
        assert (again.train.tokens == first.train.tokens).all()


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"SOURCE holds no text: 1 documents read, none of them kept \(1 empty\)"),
        ("too short", "too little text: 9 bytes"),
        ("a" * 3000, "too little text for a validation split"),
        (END.join(["the same text " * 20] * 60), "too little text: 279 bytes.*59 exact dup"),
    ],
)
def test_too_little_text_is_told(
    text: str, message: str, prepared: Prepared, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path / "a.txt")
    assert not list(tmp_path.glob("out*"))


def test_an_empty_validation_source_is_told(
    prepared: Prepared, story_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="--val SOURCE holds no text"):
        prepared(story_file, val=[str(tmp_path / "val.txt")])


def test_latin1_text_is_told_to_be_converted(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 au lait, " * 10_000)
    with pytest.raises(DataError, match="iconv"):
        prepared(tmp_path / "a.txt")


def test_an_unknown_tokenizer_names_the_known_ones(prepared: Prepared, story_file: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean `byte`"):
        prepared(story_file, tokenizer="bite")


def test_settings_that_contradict_or_are_unknown_are_refused() -> None:
    with pytest.raises(ValidationError, match="give one"):
        PrepareConfig(sources=("a",), out=Path("o"), val=("b",), val_fraction=0.1)
    with pytest.raises(ValidationError):
        PrepareConfig.model_validate({"sources": ["a"], "out": "o", "worker": 2})


def test_an_unfinished_dataset_is_no_dataset(
    prepared: Prepared, story_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="`seedbed prepare` makes one"):
        open_dataset(tmp_path / "nothing")
    (tmp_path / "out.partial").mkdir()
    with pytest.raises(DataError, match="not finished: run the same"):
        open_dataset(tmp_path / "out")
