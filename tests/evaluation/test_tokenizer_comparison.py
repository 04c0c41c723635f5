from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.data.samples import sample_stories
from seedbed.errors import ConfigError, DataError
from seedbed.evaluation.tokenizer_comparison import compare_tokenizers
from seedbed.model.config import ModelSettings
from sentencepiece_models import LLAMA, SENTENCES, train_model

STORIES = "sample:stories:300"


def test_bytes_per_token_is_measured_on_documents_not_trained_on() -> None:
    compared = compare_tokenizers([STORIES], kinds=["byte", "bpe"], vocab_sizes=[400, 800])
    byte, small, large = compared.tokenizers
    assert [f.vocab_size for f in compared.tokenizers] == [260, 400, 800]
    assert byte.bytes_per_token == 1
    assert 1.5 < small.bytes_per_token < large.bytes_per_token < 8
    assert compared.held_out_documents == 30
    assert compared.documents == 300
    assert compared.bytes == sum(len(text.encode()) for text in sample_stories(300, seed=0))


def test_unknown_characters_of_held_out_text_are_counted(tmp_path: Path) -> None:
    lines = [f"Story {'abcdefghij'[i % 10]} {chr(0x4E00 + i)} of the fox." * 5 for i in range(100)]
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(lines), encoding="utf-8")
    kinds = ["char", "byte", "bpe", "sentencepiece"]
    figures = compare_tokenizers([str(tmp_path / "a.txt")], kinds=kinds).tokenizers
    assert figures[0].changed_documents == 10  # each has a character that no other has
    assert figures[0].unknown_share == pytest.approx(5 / len(lines[0]), rel=1e-3)
    assert [(f.unknown_share, f.changed_documents) for f in figures[1:]] == [(0, 0)] * 3


def test_share_of_parameters_is_that_of_the_default_shape() -> None:
    [figures] = compare_tokenizers(
        [STORIES], kinds=["bpe"], vocab_sizes=[2000], sizes=["1m", "50k"]
    ).tokenizers
    counts = ModelSettings(size="1m").resolve(figures.vocab_size).parameters
    assert figures.vocabulary_shares == {"1m": counts.embedding / counts.total, "50k": None}


def test_a_path_is_compared_beside_kinds(tmp_path: Path) -> None:
    path = train_model(tmp_path / "llama.model", SENTENCES, **LLAMA)
    figures = compare_tokenizers([STORIES], kinds=["byte", str(path)]).tokenizers
    assert figures[1].tokenizer == str(path)
    assert figures[1].vocab_size == 603


def test_no_more_is_read_than_asked() -> None:
    assert compare_tokenizers([STORIES], kinds=["byte"], limit_bytes=50_000).bytes <= 50_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ["bite"]}, "Did you mean `byte`"),
        ({"kinds": ["bpe"], "vocab_sizes": [10]}, "at least 260"),
        ({"sizes": ["huge"]}, "`size` is 'huge'"),
    ],
)
def test_wrong_settings_are_told(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_tokenizers([STORIES], **wrong)


def test_too_little_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A fox.")
    with pytest.raises(DataError, match="1 documents, 6 bytes"):
        compare_tokenizers([str(tmp_path / "a.txt")])


def test_a_kind_that_cannot_be_had_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("seedbed.tokenizers.pretrained._GPT2_MERGES", str(tmp_path / "none"))
    told: list[str] = []
    compared = compare_tokenizers([STORIES], note=told.append)
    assert "gpt2" not in [figures.tokenizer for figures in compared.tokenizers]
    assert len(told) == 1
    assert "gpt2 is left out: The GPT-2 tokenizer" in told[0]
    with pytest.raises(DataError, match="GPT-2"):
        compare_tokenizers([STORIES], kinds=["gpt2"], note=told.append)
