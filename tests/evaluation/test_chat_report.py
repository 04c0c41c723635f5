from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from chat_models import KNOWN, TOKENIZER, chat_dataset, model_that_knows, talk, write_messages
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.errors import ConfigError
from seedbed.evaluation.chat import score_messages
from seedbed.evaluation.chat_report import ChatReport, evaluate_chat
from seedbed.generation.sampling import SamplingSettings

GREEDY = SamplingSettings(temperature=0)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "learned"
    save_checkpoint(folder, model_that_knows(), TOKENIZER, facts={})
    return folder


def measured(model: Path, *sources: Path | str, **options: Any) -> tuple[ChatReport, list[str]]:
    notes: list[str] = []
    options = {"max_new_tokens": 20, "device": "cpu", "note": notes.append, **options}
    return evaluate_chat(model, [str(source) for source in sources], **options), notes


def test_a_model_that_learned_the_answers_by_heart_has_the_best_figures(
    learned: Path, tmp_path: Path
) -> None:
    file = write_messages(tmp_path / "known.jsonl", KNOWN)
    report, notes = measured(learned, file, sampling=GREEDY)
    assert not notes
    assert report.assistant.documents == 4
    assert report.assistant.bytes == 5 * 4
    assert report.assistant.bits_per_byte < 0.2
    assert report.shuffled is not None
    assert (report.shuffled.worsening.value or 0) > 1
    assert report.questions == 4
    assert report.answers is not None
    assert report.answers.exact_match.value == report.answers.token_f1.value == 1.0
    assert report.answers.texts.finished.value == report.answers.distinct.value == 1.0
    assert report.answers.texts.loops.value == 0.0
    assert report.human is not None
    assert report.human.tokens.value == 5.0
    json.dumps(asdict(report), allow_nan=False)


def test_figures_are_those_of_the_conversations(learned: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(learned, precision="fp32")
    wanted = score_messages(loaded.model, TOKENIZER, KNOWN)
    report, _ = measured(learned, write_messages(tmp_path / "known.jsonl", KNOWN), limit=1)
    assert report.assistant.bits_per_byte == pytest.approx(wanted.bits_per_byte, rel=1e-6)
    assert report.assistant.standard_error == pytest.approx(wanted.standard_error, rel=1e-6)
    assert report.assistant.tokens == int(wanted.tokens.sum())
    assert len(report.texts) == report.questions == 1


def test_a_split_of_a_dataset_is_measured_as_its_conversations_are(
    learned: Path, tmp_path: Path
) -> None:
    data = chat_dataset(tmp_path / "data", KNOWN[:1], KNOWN[1:])
    by_split, _ = measured(learned, "val", data=data)
    by_file, _ = measured(learned, write_messages(tmp_path / "val.jsonl", KNOWN[1:]))
    assert asdict(by_split) == asdict(by_file)
    both, _ = measured(learned, "train", "val", data=data)
    assert both.assistant.documents == 4


def test_what_is_left_out_is_noted(learned: Path, tmp_path: Path) -> None:
    file = write_messages(tmp_path / "some.jsonl", [*KNOWN, talk("x" * 60, "long")])
    file.write_text(file.read_text() + '{"messages": [{"role": "user", "content": "Hm"}]}\n')
    report, notes = measured(learned, file)
    assert report.assistant.documents == 5
    assert report.questions == 4
    assert any("1 left out: " in note and "some.jsonl" in note for note in notes)
    assert any("1 of 5 questions do not fit" in note for note in notes)


def test_conversations_that_the_run_was_trained_on_are_noted(tmp_path: Path) -> None:
    run, data = tmp_path / "run", chat_dataset(tmp_path / "data", KNOWN[:3], KNOWN[3:])
    save_checkpoint(run / "checkpoints" / "latest", model_that_knows(), TOKENIZER, facts={})
    (run / "config.yaml").write_text(f"data: {data}\nout: {run}\n")
    mixed = write_messages(tmp_path / "mixed.jsonl", [*KNOWN[1:], talk("new?", "yes!")])
    _, notes = measured(run, mixed)
    [note] = notes
    assert "trained on 2 of these 4 conversations" in note
    assert measured(run, "val")[1] == []
    (data / "train.mask").unlink()  # then it is not known
    assert measured(run, mixed)[1] == []


def test_where_no_question_fits_the_answers_are_left_out(learned: Path, tmp_path: Path) -> None:
    file = write_messages(tmp_path / "long.jsonl", [talk("x" * 60, "long")])
    report, _ = measured(learned, file)
    assert (report.answers, report.human, report.shuffled) == (None, None, None)
    assert report.texts == ()
    json.dumps(asdict(report), allow_nan=False)


def test_what_cannot_be_measured_is_refused(learned: Path, tmp_path: Path) -> None:
    file = write_messages(tmp_path / "known.jsonl", KNOWN)
    with pytest.raises(ConfigError, match="`--data` is for `--chat val`"):
        measured(learned, file, data=tmp_path)
    with pytest.raises(ConfigError, match="`limit` is 0"):
        measured(learned, file, limit=0)
    with pytest.raises(ConfigError, match="not in a run folder"):
        measured(learned, "val")
    config = PrepareConfig(sources=("sample:stories:60",), out=tmp_path / "s", tokenizer="byte")
    with pytest.raises(ConfigError, match="holds no conversations, so `--chat val`"):
        measured(learned, "val", data=prepare(config).folder)
