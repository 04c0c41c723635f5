from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from seedbed.cli.main import COMMANDS
from seedbed.model.transformer import Transformer

# The names of the issue that others script against.
OPTIONS = {
    "prepare": "--out --tokenizer --vocab-size --val --val-fraction --text-field "
    "--document-separator --limit-documents --dedup --workers --seed",
    "train": "--data --out --model --size --recipe --from --steps --tokens --epochs --minutes "
    "--precision --compile --seed --checkpoint-every --eval-every --resume --print-config",
    "finetune": "--data --out --val --val-fraction --method --lora-rank --lora-alpha --beta "
    "--tokenizer --replay --replay-share --steps --epochs --minutes --learning-rate --precision "
    "--compile --seed --checkpoint-every --eval-every --resume --json",
    "recipes": "--json",
    "eval": "--data --text --split --limit-tokens --text-field --document-separator --prompts "
    "--chat --against --tasks --save-tasks --samples --max-new-tokens --temperature --top-k "
    "--top-p --seed --limit --device --json",
    "generate": "--prompt --max-new-tokens --temperature --top-k --top-p --min-p "
    "--repetition-penalty --greedy --samples --seed --stop --device --json",
    "chat": "--system --prompt --transcript --max-new-tokens --temperature --top-k --top-p --min-p "
    "--repetition-penalty --seed --device --precision --json",
    "compare": "--eval --name --out --minutes --budget --seeds --size --tokenizer --vocab-size "
    "--alpha --margin --rates --tasks --race --seed --text-field --document-separator --workers "
    "--executor --executor-option --plan-only --json",
    "mix": "--target --out --runs --seeds --minutes --budget --size --max-epochs --for-budget "
    "--tokenizer --vocab-size --seed --text-field --document-separator --workers --executor "
    "--executor-option --json",
    "ladder": "--eval --out --sizes --budgets --minutes --seeds --to-size --to-budget --alpha "
    "--margin --tokenizer --vocab-size --seed --text-field --document-separator --workers "
    "--executor --executor-option --json",
    "push": "--private --token --message --revision --license --card --evaluate --with-training "
    "--dry-run --json",
    "plot": "--x --y --log-y --smooth --out --json",
    "runs": "--in --sort --json",
    "describe": "--tokenizer --eval --text-field --document-separator --html --json",
    "tokenizer": "--kinds --vocab-size --size --limit-bytes --text-field --document-separator "
    "--json",
    "doctor": "--data --out --model --size --recipe --from --steps --tokens --epochs --minutes "
    "--precision --compile --seed --checkpoint-every --eval-every --timed --json",
    "demo": "",
}


def command(name: str) -> click.Command:
    return importlib.import_module(f"seedbed.cli.{name}").command


def in_a_process(*arguments: str, code: str = "", **options: object) -> subprocess.CompletedProcess:
    words = [sys.executable, *(("-c", code) if code else ("-m", "seedbed")), *arguments]
    return subprocess.run(words, text=True, capture_output=True, timeout=60, **options)  # type: ignore[call-overload]


def test_every_command_is_listed() -> None:
    assert set(OPTIONS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    assert command(name).name == name
    assert (command(name).help or "").split("\n\n")[0].replace("\n", " ") == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_promised_options(name: str) -> None:
    known = {option for p in command(name).params for option in p.opts}
    assert set(OPTIONS[name].split()) <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_parses(name: str, seedbed: Callable) -> None:
    shown = seedbed(name, "--help")
    assert shown.code == 0
    last = shown.out.rstrip().split("\n\n")[-1]
    example = re.sub(r"\s+", " ", last).strip()
    assert example.startswith(f"Example: seedbed {name} ")
    words = shlex.split(example.removeprefix("Example: seedbed "))
    with command(name).make_context(name, words[1:], resilient_parsing=False):
        pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_or_speaks_for_itself(name: str) -> None:
    obvious = {"max_new_tokens", "top_p", "min_p", "repetition_penalty"}
    options = [p for p in command(name).params if isinstance(p, click.Option)]
    assert {p.name for p in options if not p.help} <= obvious


def test_help_and_version_answer(seedbed: Callable) -> None:
    assert "Commands:" in seedbed("--help").out
    assert seedbed("--help").out.rstrip().endswith("Example: seedbed demo")
    assert re.fullmatch(r"seedbed, version \d+\.\d+\.\d+\n", seedbed("--version").out)


def test_help_imports_only_click_so_that_it_answers_in_a_moment() -> None:
    code = (
        "import sys; before = {name.split('.')[0] for name in sys.modules};"
        "from seedbed.cli.main import run; code = run(['--help']);"
        "own = set(sys.stdlib_module_names) | {'seedbed', 'click', 'colorama', '__main__'};"
        "other = {name.split('.')[0] for name in sys.modules} - own - before;"
        "sys.exit(code or ' '.join(other) or None)"
    )
    done = in_a_process(code=code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("trian",), "`trian` is not a command. Did you mean `train`?"),
        (("xyz",), f"`xyz` is not a command. Commands: {', '.join(COMMANDS)}."),
        (("train", "--dat", "x"), "--data"),
        (("train", "--epoch", "1"), "--epochs"),
        (("eval", "m", "--jsn"), "--json"),
        (("generate", "m", "--promt", "x"), "--prompt"),
        (("train", "--data", "x", "modle.size=1m"), "Did you mean `model`?"),
        (("train", "--data", "x", "model.num_layer=1"), "Did you mean `num_layers`?"),
        (("train", "--data", "x", "optimizer.lerning_rate=1"), "Did you mean `learning_rate`?"),
        (("train", "--data", "x", "--model", "modren"), "Did you mean `modern`?"),
        (("train", "--data", "x", "--recipe", "none.yaml"), "`--recipe` is 'none.yaml'"),
        (("train", "--data", "x", "--size", "big"), "Write a count such as 1m"),
        (("train", "--data", "x", "--precision", "fp8"), "`precision` is 'fp8'"),
        (("train", "--data", "x", "--compile", "maybe"), "`compile` is 'maybe'"),
        (("train", "--data", "x", "--seed", "-1"), "`seed` is -1"),
        (("train", "--data", "x", "--steps", "0"), "`horizon` is '0 steps'"),
        (("train", "--data", "x", "--steps", "1", "--minutes", "2"), "--steps and --minutes both"),
        (("train", "--data", "x", "seed"), "Write key.path=value"),
        (("train", "data=123"), "`data` is 123"),
        (("train",), "`--data` is missing"),
        (("train", "--data", "/none"), "is not a prepared dataset"),
        (("prepare", "/none.txt", "--out", "o"), "does not exist"),
        (("prepare", "--out", "o"), "SOURCE"),
        (("eval", "/none"), "/none does not exist"),
        (("eval", "/none", "--device", "warp"), "`device` is 'warp'"),
        (("generate", "/none", "--device", "warp", "--prompt", "x"), "`device` is 'warp'"),
        (("generate", "/none", "--prompt", "x"), "/none does not exist"),
        (("generate", "/none", "--top-p", "2", "--prompt", "x"), "`top_p` is 2.0"),
        (("generate", "/none", "--temperature", "nan", "--prompt", "x"), "`temperature` is nan"),
        (("push", "none", "ada/stories"), "none does not exist"),
        (("push", ".", "ada/stories"), "neither a checkpoint"),
        (("push", "none", "a/b/c"), "`REPO` is 'a/b/c'. Write OWNER/NAME"),
        (("push", "none"), "'REPO'"),
    ],
)
def test_a_users_mistake_is_told_with_the_way_out(
    words: tuple[str, ...],
    hint: str,
    seedbed: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = seedbed(*words)
    assert shown.code == 2
    assert hint in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err
    message = shown.err.rstrip().splitlines()
    assert len([line for line in message if line and not line.startswith(("Usage", "Try"))]) == 1
    written = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"]
    assert not written


def test_a_mistake_in_a_process_exits_with_2(tmp_path: Path) -> None:
    done = in_a_process("eval", str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_run_folder_that_cannot_be_is_told_in_a_line(
    data: Path, tmp_path: Path, seedbed: Callable
) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        shown = seedbed("train", "--data", data, "--out", out, "--steps", 1)
        assert shown.code == 2
        assert str(out) in shown.err
        assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes\n\nC++"),
        MemoryError(),
    ],
)
def test_a_want_of_memory_is_told_in_a_line(
    error: Exception,
    model: Path,
    seedbed: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Transformer, "forward", fail)
    shown = seedbed("generate", model, "--prompt", "a")
    assert shown.code == 2
    assert shown.err.startswith("error: There is not enough memory for this: ")
    assert "smaller --size" in shown.err
    assert shown.err.count("\n") == 1


def test_another_error_keeps_its_traceback(
    model: Path, seedbed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Transformer, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        seedbed("generate", model, "--prompt", "a")


def test_a_closed_pipe_is_quiet(model: Path) -> None:
    words = f"generate {model} --prompt a --max-new-tokens 400 --greedy --seed 1"
    line = f"{sys.executable} -m seedbed {words} | head -c 20"
    done = subprocess.run(line, shell=True, text=True, capture_output=True, timeout=60, check=False)
    assert done.stderr == ""
    assert len(done.stdout.encode()) <= 60
