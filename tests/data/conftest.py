"""Small datasets made of the project's own stories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset
from seedbed.data.samples import sample_stories


@pytest.fixture(scope="session")
def stories() -> list[str]:
    return list(sample_stories(120, seed=3))


@pytest.fixture
def story_file(tmp_path: Path, stories: list[str]) -> Path:
    path = tmp_path / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return path


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., PreparedDataset]:
    """Return a function that prepares sources with the byte tokenizer, unless told otherwise."""

    def make(*sources: Path | str, out: str = "out", **settings: object) -> PreparedDataset:
        given = {"tokenizer": "byte", **settings}
        names = tuple(str(source) for source in sources)
        return prepare(
            PrepareConfig.model_validate({"sources": names, "out": tmp_path / out, **given})
        )

    return make


@pytest.fixture
def texts_of() -> Callable[..., list[str]]:
    """Return a function that gives the documents of a dataset as text, one split or both."""

    def texts(dataset: PreparedDataset, *splits: str) -> list[str]:
        shards = [getattr(dataset, split) for split in splits or ("train", "val")]
        decode = dataset.tokenizer.decode
        return [decode(ids.tolist()) for s in shards for ids in s.documents()]

    return texts


@pytest.fixture
def bytes_of() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that gives the content of every file in a folder."""

    def content(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    return content
