"""hf:NAME[:CONFIG][:SPLIT], on a folder laid out as a dataset of the hub."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.data.documents import find_sources, read_documents
from seedbed.data.pieces import ReadOptions
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import DataError, how_to_install

Prepared = Callable[..., PreparedDataset]

pytest.importorskip("datasets")

README = """---
configs:
- config_name: stories
  default: true
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/validation-*
- config_name: other
  data_files:
  - split: train
    path: other/train-*
---
# Stories
"""


def write_rows(path: Path, texts: list[str], field: str = "text") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": list(range(len(texts))), field: texts}), path)


@pytest.fixture
def folder(tmp_path: Path, stories: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "tiny"
    write_rows(folder / "data" / "train-00000-of-00002.parquet", stories[:50])
    write_rows(folder / "data" / "train-00001-of-00002.parquet", stories[50:70])
    write_rows(folder / "data" / "validation-00000-of-00001.parquet", stories[70:])
    write_rows(folder / "other" / "train-00000-of-00001.parquet", [f"Row {n}." for n in range(60)])
    (folder / "README.md").write_text(README)
    return folder


def texts(source: str, **options: str) -> list[str]:
    return [d.text for d in read_documents(find_sources([source]), ReadOptions(**options))]


def told(source: str, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        texts(source, **options)
    return str(caught.value)


def test_a_name_alone_a_split_a_configuration_and_both(folder: Path, stories: list[str]) -> None:
    assert texts(f"hf:{folder}") == texts(f"hf:{folder}:train") == stories[:70]
    assert texts(f"hf:{folder}:validation") == stories[70:]
    assert texts(f"hf:{folder}:stories:validation") == stories[70:]
    assert texts(f"hf:{folder}:other")[:2] == ["Row 0.", "Row 1."]
    assert texts(f"hf:{folder}:other:train") == texts(f"hf:{folder}:other")


def test_prepare_takes_the_validation_split_and_continues(
    folder: Path, prepared: Prepared, texts_of: Callable[..., list[str]], stories: list[str]
) -> None:
    dataset = prepared(f"hf:{folder}", val=[f"hf:{folder}:validation"])
    assert texts_of(dataset, "train") == stories[:70]
    assert texts_of(dataset, "val") == stories[70:]
    assert prepared(f"hf:{folder}", val=[f"hf:{folder}:validation"]).was_finished
    write_rows(folder / "data" / "train-00001-of-00002.parquet", stories[50:69])
    with pytest.raises(DataError, match=r"tiny changed"):
        prepared(f"hf:{folder}", val=[f"hf:{folder}:validation"])


def test_unknown_names_are_told_with_the_known_ones(folder: Path) -> None:
    assert "Did you mean `validation`? It has train, validation" in told(f"hf:{folder}:validatoin")
    assert "no split `validation`" in told(f"hf:{folder}:other:validation")
    assert "has no configuration `othr`. Did you mean `other`?" in told(f"hf:{folder}:othr:train")
    assert "its fields are `id`, `text`" in told(f"hf:{folder}", text_field="story")
    assert "there is no folder" in told(f"hf:{folder}s")
    for wrong in ("hf:", "hf:a:b:c:d", "hf:a:"):
        assert "is not hf:NAME" in told(wrong)


def test_several_configurations_without_a_default_must_be_chosen_from(folder: Path) -> None:
    (folder / "README.md").write_text(README.replace("  default: true\n", ""))
    assert f"Choose one of stories, other, as in hf:{folder}:stories" in told(f"hf:{folder}")


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = told("hf:roneneldan/TinyStories")
    assert "HF_HUB_OFFLINE" in message
    assert "hf:./FOLDER" in message


def test_a_damaged_file_is_an_error(folder: Path) -> None:
    path = folder / "data" / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    assert "cannot be read" in told(f"hf:{folder}")


def test_without_datasets_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert f"needs datasets: {how_to_install('data')}" in told(f"hf:{folder}")
