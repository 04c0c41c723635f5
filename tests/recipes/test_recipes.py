"""Each recipe: its count at full size, its published figures, and a few steps of it made small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbed.cli.main import run
from seedbed.config import build, parse_yaml, read_yaml
from seedbed.errors import ConfigError
from seedbed.files import read_json, read_json_lines
from seedbed.model.config import ModelSettings
from seedbed.recipes import read_recipe, recipe_names, recipe_settings
from seedbed.training import pretrain
from seedbed.training.config import TrainConfig
from seedbed.training.schedules import multiplier

COUNTS = {  # total and without embeddings and positions, for the vocabulary that each names
    "nanogpt-gpt2-124m": (124_337_664, 84_953_856),
    "nanogpt-shakespeare-char": (10_745_088, 10_621_824),
    "nanogpt-shakespeare-char-cpu": (804_096, 787_584),
    "research-medium": (299_287_776, 240_212_064),
    "research-small": (99_641_344, 63_539_520),
    "research-tiny": (49_847_520, 26_873_632),
    "smollm2-93m": (92_837_376, 66_098_688),
    "tinylm": (8_933_376, 4_739_072),
    "tinystories-10m": (19_315_456, 6_318_592),
    "tinystories-25m": (40_789_632, 21_294_336),
    "tinystories-5m": (12_417_216, 2_669_568),
    "tinystories-gpt": (29_995_392, 10_647_552),
}
SMALL = (
    *("model.size=", "model.d_model=32", "model.num_layers=2", "model.num_heads=2"),
    *("model.d_ff=64", "model.context_length=32", "batch_size=4", "micro_batch_size="),
    *("schedule.warmup_steps=2", "evaluation.every=4", "evaluation.tokens=200", "samples.tokens=4"),
)


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes") / "stories"
    assert run(["prepare", "sample:stories:60", "--out", str(out), "--tokenizer", "byte"]) == 0
    return out


@pytest.fixture
def small(data: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that trains a recipe made small, and gives its config as resolved."""

    def make(name: str, out: str, *words: str) -> dict[str, Any]:
        window = (
            ("window=16",)
            if read_recipe(name).window != read_recipe(name).shape.context_length
            else ()
        )
        given = ["train", "--recipe", name, "--data", str(data), "--out", out, *SMALL, *window]
        assert run([*given, *words]) == 0
        return read_yaml(Path(out) / "config.yaml")

    return make


def losses(run: str) -> list[float]:
    return [line["train_loss"] for line in read_json_lines(Path(run) / "metrics.jsonl")]


# --- what they are


def test_every_recipe_is_known_here() -> None:
    assert recipe_names() == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_a_recipe_has_its_count_at_full_size(name: str) -> None:
    counts = read_recipe(name).shape.parameters
    assert (counts.total, counts.blocks) == COUNTS[name]


def test_the_third_origin_has_its_published_counts() -> None:
    recipe = read_recipe("smollm2-93m")
    model = recipe.settings["model"]

    def millions(**changes: Any) -> float:
        shape = build(ModelSettings, model, changes).resolve(recipe.about.vocab_size)
        return round(shape.parameters.total / 1e6, 1)

    assert recipe.about.vocab_size == 32_768
    assert millions(tie_embeddings=False) == 118.0
    assert millions(context_length=64) == 91.3


def test_gpt2_with_its_biases_has_the_count_of_the_paper() -> None:
    model = build(ModelSettings, read_recipe("nanogpt-gpt2-124m").settings["model"], {"bias": True})
    assert model.resolve(50_257).parameters.total == 124_439_808


@pytest.mark.parametrize(
    ("name", "prints"),
    [("nanogpt-shakespeare-char", 10.65), ("nanogpt-shakespeare-char-cpu", 0.80)],
)
def test_nanogpt_prints_the_count_without_positions(name: str, prints: float) -> None:
    counts = read_recipe(name).shape.parameters
    assert round((counts.total - counts.positions) / 1e6, 2) == prints


@pytest.mark.parametrize(
    ("name", "with_characters"),
    [
        ("tinystories-5m", 2_787_072),
        ("tinystories-10m", 6_475_264),
        ("tinystories-25m", 21_529_344),
    ],
)
def test_comments_tell_the_counts_of_both_vocabularies(name: str, with_characters: int) -> None:
    recipe = read_recipe(name)
    counted = build(ModelSettings, recipe.settings["model"]).resolve(100).parameters.total
    assert counted == with_characters
    assert f"{counted:,} with 100 characters" in recipe.text
    assert f"{recipe.shape.parameters.total:,} with GPT-2's" in recipe.text.replace("\n# ", " ")


@pytest.mark.parametrize("name", COUNTS)
def test_every_setting_is_one_that_exists(name: str) -> None:
    recipe = read_recipe(name)
    config = build(TrainConfig, recipe.settings, {"data": "d", "out": "o"})
    assert config.seed == recipe.settings["seed"]
    assert config.optimizer.kind == "adamw"
    assert recipe.about.prepare.startswith("seedbed prepare ")
    assert f"--tokenizer {recipe.about.tokenizer}" in recipe.about.prepare


@pytest.mark.parametrize(
    ("name", "tokens", "horizon", "peak", "last"),
    [
        ("research-small", 128 * 1024, "100000 steps", 3e-4, 0.0),
        ("tinystories-gpt", 1024 * 128, "20000 steps", 5e-4, 1e-4),
        ("smollm2-93m", 4 * 64, "5000 steps", 3e-4, 3e-4),
        ("tinystories-10m", 32 * 512, "100000 steps", 3e-4, 0.0),
        ("nanogpt-shakespeare-char", 64 * 256, "5000 steps", 1e-3, 1e-4),
        ("nanogpt-shakespeare-char-cpu", 12 * 64, "2000 steps", 1e-3, 1e-4),
        ("nanogpt-gpt2-124m", 491_520, "600000 steps", 6e-4, 6e-5),
    ],
)
def test_steps_and_rates_are_the_published_ones(
    name: str, tokens: int, horizon: str, peak: float, last: float
) -> None:
    recipe = read_recipe(name)
    config = build(TrainConfig, recipe.settings, {"data": "d", "out": "o"})
    rate, total = config.optimizer.learning_rate, int(horizon.split()[0])
    assert rate is not None
    assert (recipe.tokens_per_step, config.horizon) == (tokens, horizon)
    rates = [rate * multiplier(config.schedule, step, total) for step in range(0, total + 1, 100)]
    assert max(rates) == pytest.approx(peak)
    assert rates[-1] == pytest.approx(last)


# --- training them


@pytest.mark.parametrize("name", COUNTS)
def test_a_recipe_trains(name: str, small: Callable[..., dict[str, Any]]) -> None:
    config = small(name, "run", "horizon=8 steps", "log_every=1", "optimizer.learning_rate=0.01")
    first, *_, last = losses("run")
    assert last < first
    wanted = read_recipe(name).settings
    for group in ("optimizer", "schedule", "samples"):
        untouched = {
            k: v
            for k, v in wanted.get(group, {}).items()
            if k not in ("learning_rate", "warmup_steps", "tokens")
        }
        assert {k: config[group][k] for k in untouched} == untouched
    if wanted.get("precision", "auto") != "auto":
        assert config["precision"] == wanted["precision"]


def test_a_run_of_a_recipe_goes_on_from_weights(small: Callable[..., dict[str, Any]]) -> None:
    """The third origin: 5,000 steps, then 50 further from the saved checkpoint, made small."""
    words = ("log_every=1", "optimizer.learning_rate=0.01", "precision=fp32", "seed=5")
    small("smollm2-93m", "first", "horizon=60 steps", *words)
    origin = ("--from", "first/checkpoints/latest", "--steps", "6")
    config = small("smollm2-93m", "further", *origin, *words)
    before, after = losses("first"), losses("further")
    assert (len(before), len(after)) == (60, 6)
    ended = sum(before[-6:]) / 6
    assert abs(sum(after) / 6 - ended) < (before[0] - ended) / 10
    assert config["from_checkpoint"].endswith("step-000060")
    stock = read_json(Path("further/checkpoints/latest/config.json"))
    assert stock["seedbed"] == read_json(Path("first/checkpoints/latest/config.json"))["seedbed"]
    assert (stock["n_positions"], config["window"]) == (32, 16)


def test_positions_past_the_window_are_not_trained(small: Callable[..., dict[str, Any]]) -> None:
    small("smollm2-93m", "run", "horizon=4 steps", "optimizer.weight_decay=0", "precision=fp32")
    from seedbed.checkpoints import load_checkpoint
    from seedbed.model.transformer import Transformer, init_weights

    trained = load_checkpoint(Path("run"), torch.device("cpu")).model
    begun = Transformer(trained.config)
    init_weights(begun, 1337)
    assert trained.positions is not None
    assert begun.positions is not None
    changed = (trained.positions.weight != begun.positions.weight).any(1)
    assert changed[:16].all()
    assert not changed[16:].any()


# --- naming them


def test_a_recipe_that_is_not_there_suggests_the_nearest(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["recipes", "smollm-93m"], ["train", "--recipe", "smollm-93m", "--data", "x"]):
        assert run(words) == 2
        assert "Did you mean `smollm2-93m`?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"'zzz' is not a recipe\. Recipes: nanogpt-gpt2-124m, "):
        recipe_settings("zzz")
    with pytest.raises(ConfigError, match=r"'mine\.yaml', and there is no such file"):
        recipe_settings("mine.yaml")


def test_a_printed_recipe_is_one_to_change(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recipes", "tinystories-gpt"]) == 0
    printed = capsys.readouterr().out
    assert parse_yaml(printed, origin="test")["about"]["tokenizer"] == "gpt2"
    (tmp_path / "mine.yaml").write_text(printed.replace("seed: 42", "seed: 43"))
    wanted = recipe_settings("tinystories-gpt") | {"seed": 43}
    assert recipe_settings("mine.yaml") == wanted


def test_the_list_tells_counts_vocabulary_and_horizon(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes"]) == 0
    shown = capsys.readouterr().out
    for name, (total, _) in COUNTS.items():
        assert f"{name}\n" in shown
        assert f"  {total:,} parameters (" in shown
    assert "gpt2 vocabulary of 50,257" in shown
    assert "context 2,048, windows of 64; 256 tokens a step, 5,000 steps" in shown
    assert run(["recipes", "--json"]) == 0
    facts = {recipe["name"]: recipe for recipe in json.loads(capsys.readouterr().out)}
    assert {name: facts[name]["parameters"] for name in COUNTS} == {
        name: total for name, (total, _) in COUNTS.items()
    }
