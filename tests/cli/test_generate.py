from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.checkpoints import load_checkpoint
from seedbed.cli.generation_options import _SAMPLING
from seedbed.generation.engine import generate
from seedbed.generation.sampling import SamplingSettings

SHORT = ("--max-new-tokens", 12)


def expected(model: Path, *prompts: str, **options: object) -> list[str]:
    loaded = load_checkpoint(model)
    chosen = {"max_new_tokens": 12, "sampling": SamplingSettings(temperature=0), **options}
    return [
        g.prompt + g.text
        for g in generate(loaded.model, loaded.tokenizer, prompts, **chosen)  # type: ignore[arg-type]
    ]


def test_a_text_goes_to_stdout_and_nothing_else_does(model: Path, seedbed: Callable) -> None:
    shown = seedbed("generate", model, "--prompt", "Once", "--greedy", *SHORT)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == expected(model, "Once")[0] + "\n"


def test_greedy_is_temperature_zero(model: Path, seedbed: Callable) -> None:
    greedy = seedbed("generate", model, "--prompt", "Once", "--greedy", *SHORT)
    cold = seedbed("generate", model, "--prompt", "Once", "--temperature", 0, *SHORT)
    assert greedy.out == cold.out


def test_several_texts_are_told_apart(model: Path, seedbed: Callable) -> None:
    words = ("--prompt", "One", "--prompt", "Two", "--samples", 2, "--greedy")
    shown = seedbed("generate", model, *words, *SHORT)
    one, two = expected(model, "One", "Two")
    assert shown.out == "\n\n---\n\n".join([one, one, two, two]) + "\n"


def test_json_holds_prompt_text_tokens_and_finished(model: Path, seedbed: Callable) -> None:
    shown = seedbed("generate", model, "--prompt", "Once é", "--greedy", "--json", *SHORT)
    [made] = json.loads(shown.out)
    assert list(made) == ["prompt", "text", "tokens", "finished"]
    assert made["prompt"] + made["text"] == expected(model, "Once é")[0]
    assert (made["tokens"], made["finished"]) == (12, "length")
    assert shown.err == ""


def test_help_documents_the_json(seedbed: Callable) -> None:
    text = " ".join(seedbed("generate", "--help").out.split())
    for word in ("prompt", "text", "tokens", "finished", '"end"', '"stop"', '"length"'):
        assert word in text


def test_defaults_of_the_options_are_those_of_the_settings() -> None:
    defaults = {name[2:].replace("-", "_"): default for name, (_, default, _) in _SAMPLING.items()}
    assert defaults == {"max_new_tokens": 200, **SamplingSettings().model_dump()}


def test_a_seed_writes_the_same_text(model: Path, seedbed: Callable) -> None:
    first, again, other = (
        seedbed("generate", model, "--prompt", "a", "--seed", seed, *SHORT).out
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_stop_text_ends_a_text(model: Path, seedbed: Callable) -> None:
    text = expected(model, "Once")[0].removeprefix("Once")
    stop = next(c for c in text if c.isprintable() and c != "\N{REPLACEMENT CHARACTER}")
    words = ("--prompt", "Once", "--greedy", "--json", "--stop", stop)
    [made] = json.loads(seedbed("generate", model, *words, *SHORT).out)
    assert made["text"] == text[: text.index(stop)]
    assert made["finished"] == "stop"


@pytest.mark.parametrize("more", [(), ("--json",), ("--samples", 2)])
@pytest.mark.parametrize(
    "wrong", [("--max-new-tokens", 0), ("--samples", 0), ("--stop", ""), ("--samples", -1)]
)
def test_nothing_to_do_is_refused(
    wrong: tuple[str, object], more: tuple[object, ...], model: Path, seedbed: Callable
) -> None:
    shown = seedbed("generate", model, "--prompt", "a", *more, *wrong)
    assert shown.code == 2
    assert shown.out == ""
    assert f"`{wrong[0][2:].replace('-', '_')}` is" in shown.err


def test_piped_lines_are_prompts(
    model: Path, seedbed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("One\nTwo\n"))
    shown = seedbed("generate", model, "--greedy", *SHORT)
    assert shown.code == 0
    assert shown.out == "".join(text + "\n" for text in expected(model, "One", "Two"))
    assert shown.err == ""


def test_piped_lines_give_json_a_line_each(
    model: Path, seedbed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("One\nTwo\n"))
    shown = seedbed("generate", model, "--greedy", "--json", "--samples", 2, *SHORT)
    made = [json.loads(line) for line in shown.out.splitlines()]
    assert [[g["prompt"] for g in texts] for texts in made] == [["One"] * 2, ["Two"] * 2]


def test_bytes_that_are_no_text_are_replaced(model: Path) -> None:
    code = "import sys; from seedbed.cli.main import main; main(sys.argv[1:])"
    words = (sys.executable, "-X", "utf8", "-c", code, "generate", str(model), "--greedy")
    short = ("--max-new-tokens", "12")
    piped = subprocess.run([*words, *short], input=b"caf\xe9\n", capture_output=True, check=False)
    given = subprocess.run(
        [*words, *short, "--prompt", b"caf\xe9"], capture_output=True, check=False
    )
    wanted = expected(model, "caf\N{REPLACEMENT CHARACTER}")[0] + "\n"
    for done in (piped, given):
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == wanted


def test_a_prompt_that_the_context_has_no_room_for_is_told(model: Path, seedbed: Callable) -> None:
    long, fits = "a" * 64, "a" * 62  # and what a document begins with
    shown = seedbed("generate", model, "--prompt", fits, "--prompt", long, "--json", *SHORT)
    assert [made["prompt"] for made in json.loads(shown.out)] == [fits, long]
    assert shown.err.count("note: ") == 1
    assert "65 tokens" in shown.err
    assert "context 64" in shown.err
    assert seedbed("generate", model, "--prompt", long, *SHORT).err == shown.err


def test_no_input_writes_nothing(
    model: Path, seedbed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    shown = seedbed("generate", model)
    assert (shown.code, shown.out) == (0, "")


@pytest.mark.gpu
def test_a_gpu_writes_the_same_text(model: Path, seedbed: Callable) -> None:
    words = ("generate", model, "--prompt", "a", "--seed", 1, "--max-new-tokens", 20, "--device")
    assert seedbed(*words, "cuda").out == seedbed(*words, "cpu").out


def test_generating_imports_no_other_library_of_models(model: Path) -> None:
    code = (
        "import sys; from seedbed.cli.main import run;"
        f"run(['generate', {str(model)!r}, '--prompt', 'Once', '--max-new-tokens', '1']);"
        "slow = ['transformers', 'torch._dynamo', 'matplotlib', 'pandas', 'huggingface_hub'];"
        "sys.exit(' '.join(name for name in slow if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_garbage_is_collected_once_all_is_imported() -> None:
    code = (
        "import gc; from seedbed.cli.imports import import_at_once; import_at_once('torch');"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000; gc.unfreeze();"
        "import_at_once('torch'); assert gc.get_freeze_count() == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_text_is_written_in_the_precision_asked_for(model: Path, seedbed: Callable) -> None:
    words = ("--prompt", "Once", "--temperature", 2, "--seed", 1, "--max-new-tokens", 300)
    sampling = SamplingSettings(temperature=2)
    wanted = {}
    for precision in ("fp32", "bf16", "int8"):
        loaded = load_checkpoint(model, "cpu", precision)
        [made] = generate(
            loaded.model, loaded.tokenizer, ["Once"], max_new_tokens=300, sampling=sampling, seed=1
        )
        wanted[precision] = f"Once{made.text}\n"
    assert len(set(wanted.values())) == 3  # else the next lines would show nothing
    for precision, text in wanted.items():
        shown = seedbed("generate", model, *words, "--precision", precision, "--device", "cpu")
        assert shown.out == text
    assert seedbed("generate", model, *words, "--device", "cpu").out == wanted["fp32"]


@pytest.mark.slow
def test_compiled_text_equals_eager_text(model: Path, seedbed: Callable) -> None:
    words = ("generate", model, "--prompt", "Once", "--greedy", "--device", "cpu")
    long = ("--max-new-tokens", 100)  # longer than the context
    assert seedbed(*words, *long, "--compile").out == seedbed(*words, *long).out
