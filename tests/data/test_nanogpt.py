"""Folders that nanoGPT wrote: its text and its split come back, and no pickle is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seedbed.data.documents import find_sources, read_documents
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import DataError

Prepared = Callable[..., PreparedDataset]
Texts = Callable[..., list[str]]

TRAP = b"cos\nmkdir\n(S'opened'\ntR."  # a pickle that makes a folder when it is read


def write_ids(path: Path, ids: list[int]) -> None:
    np.array(ids, np.uint16).tofile(path)


@pytest.fixture
def character_folder(tmp_path: Path, stories: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder as nanoGPT's shakespeare_char leaves it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "chars"
    folder.mkdir()
    text = "\n\n".join(stories) + "é語🌱\n"
    (folder / "input.txt").write_text(text, encoding="utf-8")
    id_of = {character: number for number, character in enumerate(sorted(set(text)))}
    ids, split = [id_of[character] for character in text], int(len(text) * 0.9)
    write_ids(folder / "train.bin", ids[:split])
    write_ids(folder / "val.bin", ids[split:])
    (folder / "meta.pkl").write_bytes(TRAP)
    return folder


def test_characters_come_back_with_the_split_of_nanogpt(
    character_folder: Path, prepared: Prepared, texts_of: Texts, tmp_path: Path
) -> None:
    dataset = prepared(f"nanogpt:{character_folder}", tokenizer="char", dedup="none")
    text = (character_folder / "input.txt").read_text(encoding="utf-8")
    split = int(len(text) * 0.9)
    assert "".join("".join(texts_of(dataset, "train")).split()) == "".join(text[:split].split())
    assert "".join("".join(texts_of(dataset, "val")).split()) == "".join(text[split:].split())
    assert dataset.tokenizer.vocab_size >= len(set(text))
    assert not (tmp_path / "opened").exists()
    assert [s["name"] for s in dataset.manifest["sources"]] == [
        f"nanogpt:{character_folder}:val",
        f"nanogpt:{character_folder}",
    ]
    assert prepared(f"nanogpt:{character_folder}", tokenizer="char", dedup="none").was_finished


def test_a_validation_split_that_is_gone_is_noticed(
    character_folder: Path, prepared: Prepared
) -> None:
    prepared(f"nanogpt:{character_folder}", tokenizer="char")
    (character_folder / "val.bin").unlink()
    with pytest.raises(DataError, match=r"chars:val changed"):
        prepared(f"nanogpt:{character_folder}", tokenizer="char")


def test_another_validation_may_be_chosen(
    character_folder: Path, story_file: Path, prepared: Prepared, texts_of: Texts
) -> None:
    name = f"nanogpt:{character_folder}"
    assert len(prepared(name, val_fraction=0.5).manifest["sources"]) == 1
    other = prepared(story_file, out="other", val=[f"{name}:val"], dedup="none")
    assert "🌱" in texts_of(other, "val")[-1]


def told(source: str) -> str:
    with pytest.raises(DataError) as caught:
        list(read_documents(find_sources([source])))
    return str(caught.value)


def test_characters_without_their_text_or_with_another_are_told(character_folder: Path) -> None:
    name, text = f"nanogpt:{character_folder}", character_folder / "input.txt"
    whole = text.read_text(encoding="utf-8")
    for other in (whole + "more", whole[:-3], whole.replace("e", "E"), whole[::-1], "x"):
        text.write_text(other, encoding="utf-8")
        assert "not the characters of its input.txt" in told(name)
    text.write_bytes(b"caf\xe9")
    assert "not UTF-8" in told(name)
    text.unlink()
    assert f"Put the text that it was made of at {text}" in told(name)
    assert not (character_folder.parent / "opened").exists()


def test_a_folder_that_is_not_whole_or_not_of_nanogpt_is_told(
    tmp_path: Path, story_file: Path, prepared: Prepared
) -> None:
    assert f"no file {tmp_path / 'train.bin'}" in told(f"nanogpt:{tmp_path}")
    (tmp_path / "train.bin").write_bytes(b"\0\0\0")
    assert "cut short" in told(f"nanogpt:{tmp_path}")
    dataset = prepared(story_file)
    assert "is a dataset of Seedbed" in told(f"nanogpt:{dataset.folder}")


def test_a_folder_with_bins_only_names_the_scheme(tmp_path: Path) -> None:
    write_ids(tmp_path / "train.bin", [1, 2])
    assert f"write nanogpt:{tmp_path}" in told(str(tmp_path))


@pytest.fixture
def gpt2(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_data / "tiktoken_cache"))
    import tiktoken

    return tiktoken.get_encoding("gpt2")


def test_gpt2_documents_come_back_as_nanogpt_wrote_them(
    gpt2: object,
    tmp_path: Path,
    stories: list[str],
    prepared: Prepared,
    texts_of: Texts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from seedbed.data import nanogpt

    monkeypatch.setattr(nanogpt, "_CHUNK_TOKENS", 7)  # documents and characters span chunks
    odd = ["🌱 語 é", *stories]
    folder = tmp_path / "openwebtext"
    folder.mkdir()
    for name, texts in (("train", odd[:90]), ("val", odd[90:])):
        ids = [i for text in texts for i in [*gpt2.encode_ordinary(text), gpt2.eot_token]]
        write_ids(folder / f"{name}.bin", ids)
    found = [d.text for d in read_documents(find_sources([f"nanogpt:{folder}"]))]
    assert found == odd[:90]
    dataset = prepared(f"nanogpt:{folder}", tokenizer="gpt2")
    assert texts_of(dataset, "train") == odd[:90]
    bins = np.fromfile(folder / "train.bin", np.uint16)
    assert (dataset.train.tokens == bins).all()
    write_ids(folder / "train.bin", [5, 50_300])
    assert "has the id 50,300, which GPT-2 has not" in told(f"nanogpt:{folder}")


def test_gpt2_text_without_ends_is_one_document_cut_into_blocks(
    gpt2: object, tmp_path: Path, stories: list[str]
) -> None:
    text = "\n\n".join(stories)
    write_ids(tmp_path / "train.bin", gpt2.encode_ordinary(text))
    blocks = [d.text for d in read_documents(find_sources([f"nanogpt:{tmp_path}"]))]
    assert len(blocks) > 5
    assert " ".join(blocks).split() == text.split()
