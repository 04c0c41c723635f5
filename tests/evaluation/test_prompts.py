from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import PreparedDataset
from seedbed.errors import DataError
from seedbed.evaluation.prompts import CutSettings, cut_prompts, read_prompts
from seedbed.tokenizers.simple import ByteTokenizer


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    out = tmp_path_factory.mktemp("data") / "stories"
    return prepare(PrepareConfig(sources=("sample:stories:60",), out=out, tokenizer="byte"))


def written(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "\ufeffOnce upon\r\n\n  \nÉté \u2028 noir")
    read = read_prompts(path)
    assert [p.text for p in read] == ["Once upon", "Été \u2028 noir"]
    assert [p.place for p in read] == [f"{path} line 1", f"{path} line 4"]
    assert not any(p.references for p in read)


def test_json_lines_may_have_references(tmp_path: Path) -> None:
    records = [
        {"prompt": "a"},
        {"prompt": "b", "reference": "x", "id": 7},
        {"prompt": "c", "references": ["y", "z"]},
        {"prompt": "d", "reference": None},
    ]
    path = written(tmp_path, "p.jsonl", "\n".join(map(json.dumps, records)))
    assert [p.references for p in read_prompts(path)] == [(), ("x",), ("y", "z"), ()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"', r"line 2 is not JSON: Expecting ',' delimiter, at column 15"),
        ("[" * 100_000, r"line 2 is not JSON"),
        ('["a"]', r"line 2 has no prompt"),
        ('{"text": "a"}', r'line 2 has no prompt. Write {"prompt"'),
        ('{"prompt": 5}', r"line 2 has no prompt"),
        ('{"prompt": "a", "referense": "b"}', r"line 2: `referense` .* Did you mean `reference`"),
        ('{"prompt": "a", "reference": 5}', r'line 2: write "reference": a text.* it is 5'),
        ('{"prompt": "a", "references": "b"}', r'line 2: write .* it is "b"'),
        ('{"prompt": "a", "reference": "b", "references": ["c"]}', "line 2 has both"),
    ],
)
def test_a_bad_record_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, "p.jsonl", f'{{"prompt": "good"}}\n{line}\n')
    with pytest.raises(DataError, match=message):
        read_prompts(path)


def test_files_that_hold_no_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no prompt"):
        read_prompts(written(tmp_path, "empty.txt", " \n\n"))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8"):
        read_prompts(tmp_path / "latin.txt")
    with pytest.raises(DataError, match=r"none\.txt cannot be read: No such file"):
        read_prompts(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_prompts(tmp_path)


def test_a_limit_takes_prompts_from_all_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "\n".join(map(str, range(100))))
    assert [p.text for p in read_prompts(path, limit=4)] == ["0", "33", "66", "99"]
    assert len(read_prompts(path, limit=1000)) == 100


def test_a_cut_prompt_and_its_reference_are_the_document(stories: PreparedDataset) -> None:
    settings = CutSettings(words=7, tokens=10_000, count=5)
    documents = {ByteTokenizer().decode(ids.tolist()) for ids in stories.val.documents()}
    cut = cut_prompts(stories, "val", ByteTokenizer(), settings)
    assert 0 < len(cut) <= 5
    for prompt in cut:
        assert prompt.text + prompt.references[0] in documents
        assert len(prompt.text.split()) == 7
        assert prompt.whole
    assert cut == cut_prompts(stories, "val", ByteTokenizer(), settings)


def test_a_reference_is_no_longer_than_a_generated_text(stories: PreparedDataset) -> None:
    long = cut_prompts(stories, "train", ByteTokenizer(), CutSettings(tokens=10_000, count=1))[0]
    size = len(long.references[0].encode())
    for tokens, whole in ((20, False), (size, False), (size + 1, True)):
        settings = CutSettings(tokens=tokens, count=1)
        [prompt] = cut_prompts(stories, "train", ByteTokenizer(), settings)
        assert prompt.references[0] == long.references[0][:tokens]
        assert prompt.whole is whole  # the document's end takes a token too


def test_documents_too_short_for_a_prompt_are_told(stories: PreparedDataset) -> None:
    with pytest.raises(DataError, match=r"more than 5000 words .* --prompt-words"):
        cut_prompts(stories, "val", ByteTokenizer(), CutSettings(words=5000))
