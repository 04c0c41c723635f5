from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_models import KNOWN, write_messages
from seedbed.cli import eval as module

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


def test_json_has_the_promised_keys(model: Path, data: Path, seedbed: Callable) -> None:
    shown = seedbed("eval", model, "--data", data, "--json")
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == KEYS
    assert report["tokens"] == report["bytes"]  # a byte model


def test_what_a_precision_loses_can_be_measured(model: Path, data: Path, seedbed: Callable) -> None:
    found = {}
    for precision in ("fp32", "bf16", "int8"):
        words = ("eval", model, "--data", data, "--device", "cpu", "--precision", precision)
        found[precision] = json.loads(seedbed(*words, "--json").out)["bits_per_byte"]
    assert len(set(found.values())) == 3
    assert found["bf16"] == pytest.approx(found["fp32"], rel=0.02)
    assert found["int8"] == pytest.approx(found["fp32"], rel=0.02)


def test_progress_goes_to_stderr(model: Path, data: Path, seedbed: Callable) -> None:
    shown = seedbed("eval", model, "--data", data)
    assert "evaluating" in shown.err
    assert "evaluating" not in shown.out
    assert shown.out.startswith("bits per byte  ")
    assert "baseline" in shown.out


def test_json_of_a_single_document_is_json(model: Path, tmp_path: Path, seedbed: Callable) -> None:
    (tmp_path / "one.txt").write_text("A fox.")
    shown = seedbed("eval", model, "--text", tmp_path / "one.txt", "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    report = json.loads(shown.out, parse_constant=refuse)
    assert report["standard_error"] is None
    assert report["documents"] == 1
    plain = seedbed("eval", model, "--text", tmp_path / "one.txt").out
    assert "nan" not in plain
    assert "+-" not in plain


def test_a_damaged_checkpoint_is_told_in_a_line(
    model: Path, tmp_path: Path, data: Path, seedbed: Callable
) -> None:
    for file in model.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    shown = seedbed("eval", tmp_path, "--data", data)
    assert shown.code == 2
    assert "model.safetensors" in shown.err
    assert shown.err.count("\n") == 1


def test_both_splits_are_shown_beside_their_gap(model: Path, data: Path, seedbed: Callable) -> None:
    shown = seedbed("eval", model, "--data", data, "--split", "both", "--limit-tokens", 3000)
    assert shown.code == 0
    assert "evaluating val tokens" in shown.err
    assert "evaluating train tokens" in shown.err
    heads = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert heads[:2] == ["validation", "training"]
    assert heads[2].startswith("gap ")
    options = ("--split", "both", "--limit-tokens", 3000, "--json")
    report = json.loads(seedbed("eval", model, "--data", data, *options).out)
    assert list(report) == ["val", "train", "gap_bits_per_byte", "gap_standard_error", "gap_loss"]
    assert list(report["val"]) == list(report["train"]) == KEYS


# --- --prompts ------------------------------------------------------------------------------

REPORT_KEYS = [
    "prompts",
    "samples",
    "max_new_tokens",
    "seed",
    "sampling",
    "generated",
    "human",
    "bleu",
    "chrf",
    "training_tokens",
    "copied_run",
    "texts",
]
FIGURES = [
    "texts",
    "tokens",
    "words",
    "word_quantiles",
    "finished",
    "distinct",
    "repetition",
    "loops",
    "copies",
]
WRITING = ("--prompts", "val", "--prompt-words", 4, "--limit", 3, "--max-new-tokens", 40)


def test_json_of_generations_has_the_promised_keys(
    model: Path, data: Path, seedbed: Callable
) -> None:
    pytest.importorskip("sacrebleu")
    options = (*WRITING, "--samples", 2, "--temperature", 0.5, "--json")
    shown = seedbed("eval", model, "--data", data, *options)
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == REPORT_KEYS
    assert list(report["generated"]) == list(report["human"]) == FIGURES
    assert list(report["generated"]["words"]) == ["value", "standard_error"]
    assert list(report["generated"]["copies"]) == ["longest", "longest_of_all", "share"]
    assert list(report["bleu"]) == ["value", "standard_error", "texts", "signature"]
    assert len(report["generated"]["distinct"]) == 4
    assert len(report["texts"]) == 6
    assert (report["generated"]["texts"], report["human"]["texts"]) == (6, 3)
    assert (report["sampling"]["temperature"], report["sampling"]["top_k"]) == (0.5, 50)
    again = seedbed("eval", model, "--data", data, *options)
    assert again.out == shown.out


def test_generations_are_shown_as_a_table_and_some_texts(
    model: Path, data: Path, seedbed: Callable
) -> None:
    shown = seedbed("eval", model, "--data", data, *WRITING)
    assert shown.code == 0
    first, _, head, *lines = shown.out.splitlines()
    assert first == (
        "3 prompts, a text for each, 40 tokens at most; temperature 0.8, top-k 50, seed 0"
    )
    assert head.split() == ["generated", "human"]
    table = lines[: lines.index("---")]
    assert {"distinct-1", "distinct-4", "words a text"} <= {line[:26].strip() for line in table}
    assert lines.count("---") == 3
    assert "writing texts 3 of 3" in shown.err
    assert "searching training tokens" in shown.err


def test_prompts_of_a_file_have_no_human_column(
    model: Path, data: Path, tmp_path: Path, seedbed: Callable
) -> None:
    (tmp_path / "p.txt").write_text("One day\nTwo\n")
    options = ("--prompts", tmp_path / "p.txt", "--max-new-tokens", 10)
    shown = seedbed("eval", model, "--data", data, *options)
    assert shown.code == 0
    assert "human" not in shown.out
    assert "BLEU" not in shown.out
    unknown = seedbed("eval", model, *options)
    assert unknown.code == 0
    assert "Copies of training text are not looked for" in unknown.err
    assert "longest copy" not in unknown.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--save-tasks", "x"], "`--save-tasks` is for --tasks: give it too"),
        (["--tasks", "val", "--top-k", 5], "`--top-k` is not for --tasks"),
        (["--tasks", "val", "--chat", "val"], "give one"),
        (["--tasks", "none.txt", "--tasks", "val"], "`none.txt` does not exist"),
        (["--tasks", "none.txt"], "`--data` is for `--tasks val` or `--tasks train`"),
        (["--samples", 2], "`--samples` is for --prompts or --chat: give it too"),
        (["--top-k", 0], "`--top-k` is for --prompts"),
        (["--prompt-words", 5], "`--prompt-words` is for --prompts: give it too"),
        (["--chat", "val", "--prompt-words", 5], "`--prompt-words` is not for --chat"),
        (["--chat", "val", "--limit-tokens", 5], "`--limit-tokens` is not for --chat"),
        (["--chat", "val", "--against", "x"], "`--against` is not for --chat"),
        (["--chat", "val", "--prompts", "val"], "give one"),
        (["--chat", "val"], "holds no conversations, so `--chat val`"),
        (["--chat", "x.jsonl"], "`--data` is for `--chat val` or `--chat train`"),
        (["--split", "both", "--against", "x"], "`--against` compares on one split"),
        (["--against", "none"], "none does not exist"),
        (["--prompts", "val", "--split", "val"], "`--split` is not for --prompts"),
        (["--prompts", "val", "--text", "x"], "`--text` is not for --prompts"),
        (["--split", "both", "--text", "x"], "`--split` is for a dataset"),
        (["--split", "train", "--text", "x"], "`--split` is for a dataset"),
        (["--prompts", "none.txt"], "none.txt cannot be read"),
        (["--prompts", "val", "--temperature", "-1"], "`temperature` is -1"),
        (["--prompts", "val", "--prompt-words", "900"], "more than 900 words"),
    ],
)
def test_what_does_not_go_together_is_told(
    options: list[object], message: str, model: Path, data: Path, seedbed: Callable
) -> None:
    given = [] if "--text" in options else ["--data", data]
    shown = seedbed("eval", model, *given, *options)
    assert shown.code == 2
    assert message in shown.err
    assert shown.out == ""


# --- --against ------------------------------------------------------------------------------


def test_two_checkpoints_are_shown_beside_their_difference(
    model: Path, data: Path, seedbed: Callable
) -> None:
    words = ("eval", model, "--data", data, "--against", model)
    shown = seedbed(*words)
    assert shown.code == 0
    assert "evaluating checkpoint tokens" in shown.err
    assert "evaluating the other tokens" in shown.err
    heads = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert heads[:2] == ["checkpoint", "against"]
    assert heads[2] == "difference       +0.0000 +- 0.0000 bits per byte, +0.0 %"
    report = json.loads(seedbed(*words, "--json").out)
    assert list(report) == [
        "checkpoint",
        "against",
        "difference_bits_per_byte",
        "difference_standard_error",
        "difference_share",
    ]
    assert list(report["checkpoint"]) == list(report["against"]) == KEYS


# --- --chat ---------------------------------------------------------------------------------

CHAT_KEYS = [
    "assistant",
    "shuffled",
    "questions",
    "samples",
    "max_new_tokens",
    "seed",
    "sampling",
    "answers",
    "human",
    "texts",
]


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_messages(tmp_path / "chats.jsonl", KNOWN)


def test_json_of_a_chat_has_the_promised_keys(model: Path, chats: Path, seedbed: Callable) -> None:
    options = ("--samples", 2, "--limit", 3, "--max-new-tokens", 8, "--top-p", 0.5, "--json")
    shown = seedbed("eval", model, "--chat", chats, *options)
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == CHAT_KEYS
    assert list(report["assistant"]) == KEYS
    assert list(report["shuffled"]) == [
        "conversations",
        "own_bits_per_byte",
        "others_bits_per_byte",
        "worsening",
    ]
    assert list(report["answers"]) == ["texts", "distinct", "exact_match", "token_f1"]
    assert list(report["answers"]["texts"]) == list(report["human"]) == FIGURES
    assert (report["questions"], report["samples"], len(report["texts"])) == (3, 2, 6)
    assert report["sampling"]["top_p"] == 0.5
    assert report["texts"][0]["messages"] == [{"role": "user", "content": "cat?"}]
    assert report["texts"][0]["references"] == ["meow"]
    assert seedbed("eval", model, "--chat", chats, *options).out == shown.out


def test_a_chat_is_shown_with_its_figures_and_some_answers(
    model: Path, chats: Path, seedbed: Callable
) -> None:
    shown = seedbed("eval", model, "--chat", chats, "--chat", chats, "--max-new-tokens", 8)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert "  on             8 conversations, 40 bytes, 50 tokens" in lines
    assert "first answers, of 8 conversations" in lines
    asked = "4 questions, an answer for each, 8 tokens at most; temperature 0.8, top-k 50, seed 0"
    assert asked in lines
    names = {line[:26].strip() for line in lines[lines.index(asked) : lines.index("---")]}
    wanted = {"came to an end", "texts that loop", "distinct answers", "exact match", "token F1"}
    assert wanted <= names
    assert lines.count("---") == 3
    assert "cat? | " in shown.out
    assert "answering answers 4 of 4" in shown.err
    assert "scoring tokens" in shown.err
    assert "shuffling tokens" in shown.err


# --- --tasks --------------------------------------------------------------------------------

TASK_KEYS = [
    "items",
    "groups",
    "chance",
    "accuracy",
    "standard_error",
    "low",
    "high",
    "plain_accuracy",
]
TASKS = ["continuation", "last_word", "swapped_words", "shuffled_words", "agreement"]


def test_json_of_tasks_has_the_promised_keys_and_saved_ones_score_the_same(
    model: Path, tmp_path: Path, seedbed: Callable
) -> None:
    folder = tmp_path / "tasks"
    made = ("--tasks", "sample:stories:200", "--limit", 8, "--seed", 2, "--save-tasks", folder)
    shown = seedbed("eval", model, *made, "--json")
    assert shown.code == 0
    report = json.loads(shown.out)["tasks"]
    assert list(report) == TASKS
    assert all(list(figures) == TASK_KEYS for figures in report.values())
    assert report["continuation"]["items"] == 8
    assert (report["continuation"]["chance"], report["agreement"]["chance"]) == (0.25, 0.5)
    assert {file.name for file in folder.iterdir()} == {
        f"{name}.{kind}" for name in TASKS for kind in ("jsonl", "yaml")
    }
    again = json.loads(seedbed("eval", model, "--tasks", folder, "--json").out)["tasks"]
    assert again == report


def test_tasks_of_several_sources_are_shown_with_their_names(
    model: Path, data: Path, seedbed: Callable
) -> None:
    sources = ("--tasks", "val", "--tasks", "sample:stories:60", "--limit", 8)
    shown = seedbed("eval", model, "--data", data, *sources)
    assert shown.code == 0
    names = {line.split()[0] for line in shown.out.splitlines()[1:]}
    assert {"val-swapped_words", "sample-stories-60-continuation"} <= names
    assert "`val` has text for fewer than 8 items of some" in shown.err
    assert "choosing tokens" in shown.err


def test_progress_shows_each_stage_with_its_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 14.0, 15.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    with module.Stages() as stages:
        stages.show("writing", 0, 12)
        stages.show("writing", 12, 12)
        stages.show("searching", 0, 500)
        stages.note("a note")
    assert capsys.readouterr().err.splitlines() == [
        "writing texts 0 of 12",
        "writing texts 12 of 12  texts/s 3.0",
        "searching tokens 0 of 500",
        "a note",
    ]
