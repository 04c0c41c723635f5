"""Fine-tuning on conversations: what is learned, and that no run of it is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from killing import Moment, kill_runs
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.config import build, read_yaml
from seedbed.data.batches import Batch, WindowSampler
from seedbed.data.chat_batches import ChatSampler
from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.data.prepared import open_dataset
from seedbed.distributed import World
from seedbed.errors import CheckpointError, ConfigError, DataError
from seedbed.files import read_json_lines
from seedbed.model.config import ModelSettings
from seedbed.model.transformer import Transformer, init_weights
from seedbed.tokenizers.load import load_tokenizer
from seedbed.training import defaults, loop, pretrain
from seedbed.training.chat_task import MixedSampler
from seedbed.training.config import OptimizerSettings, TrainConfig
from seedbed.training.finetune import finetune
from seedbed.training.job import RunResult
from seedbed.training.optimizers import Optimizer
from seedbed.training.preferences import width_of_pairs
from seedbed.training.step import StepMetrics, make_loss, train_step

MODEL = {"d_model": 32, "num_layers": 2, "num_heads": 2, "context_length": 96}
SMALL = {
    "horizon": "8 steps",
    "batch_size": 4,
    "micro_batch_size": 2,
    "device": "cpu",
    "precision": "fp32",
    "evaluation": {"every": 4, "tokens": 500},
    "checkpoint": {"every": 2},
    "samples": {"tokens": 4},
    "log_every": 1,
}
Tuned = Callable[..., RunResult]


@pytest.fixture(scope="module")
def story_model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a model that knows no conversation."""
    out = tmp_path_factory.mktemp("base") / "run"
    settings = {**SMALL, "data": dataset, "out": out, "model": MODEL, "horizon": "4 steps"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
        pretrain.train(build(TrainConfig, settings), quiet=True)
    return out


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 40 short conversations."""
    file = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    with file.open("w") as lines:
        for n in range(40):
            messages = [
                {"role": "user", "content": f"What comes after {n}?"},
                {"role": "assistant", "content": f"{n + 1}" + ", I think" * (n % 4) + "."},
            ]
            lines.write(json.dumps({"messages": messages}) + "\n")
    return file


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 40 prompts with a better and a worse answer."""
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with file.open("w") as lines:
        for n in range(40):
            record = {"prompt": f"And {n}?", "chosen": "b" * (1 + n % 3), "rejected": "a"}
            lines.write(json.dumps(record) + "\n")
    return file


@pytest.fixture
def settings(
    story_model: Path, chats: Path, pairs: Path, dataset: Path, tmp_path: Path
) -> Callable[..., TrainConfig]:
    """Return a function that gives the settings of a small fine-tuning in tmp_path / out."""

    def make(out: str = "run", *, finetune: dict[str, Any] | None = None, **changes: Any) -> Any:
        own = {"checkpoint": story_model, "sources": (str(chats),), **(finetune or {})}
        if own.get("replay") == "STORIES":
            own["replay"] = dataset
        if own["sources"] == ("PAIRS",):
            own["sources"] = (str(pairs),)
        return build(TrainConfig, SMALL, {"out": tmp_path / out, "finetune": own}, changes)

    return make


@pytest.fixture
def tuned(settings: Callable[..., TrainConfig]) -> Tuned:
    """Return a function that fine-tunes, or goes on with it."""

    def make(out: str = "run", *, quiet: bool = True, **changes: Any) -> RunResult:
        return finetune(settings(out, **changes), quiet=quiet)

    return make


def final(run: Path) -> dict[str, bytes]:
    """Return all that the last checkpoint has of tensors."""
    latest = run / "checkpoints" / "latest"
    return {str(f.relative_to(latest)): f.read_bytes() for f in latest.rglob("*.safetensors")}


# --- what is learned ------------------------------------------------------------------------


def one_row(dataset: Path, rows: int, seed: int = 1) -> Batch:
    return ChatSampler(open_dataset(dataset).train, 96, seed).batch(0, rows)


@pytest.fixture
def chat_data(tuned: Tuned, tmp_path: Path) -> Path:
    """Return the dataset that a run made of the conversations."""
    tuned(horizon="1 steps")
    return tmp_path / "run" / "data"


def new_model(**changes: Any) -> Transformer:
    model = Transformer(ModelSettings.model_validate({**MODEL, **changes}).resolve(260))
    init_weights(model, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("output.weight", "down.weight")):  # zero at the start
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
    return model


SHAPES: list[dict[str, Any]] = [
    {},
    {"num_heads": 4, "num_kv_heads": 2},
    {"preset": "gpt2"},
    {"preset": "gpt2", "position": "sinusoidal"},
    {"attention": "plain"},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_conversation_cannot_see_another(shape: dict[str, Any], chat_data: Path) -> None:
    model, batch = new_model(**shape), one_row(chat_data, 1)
    assert batch.documents is not None
    assert int(batch.documents.max()) >= 1
    first = batch.documents == 0
    changed = torch.where(first, (batch.inputs + 1) % 256, batch.inputs)
    with torch.no_grad():
        before = model(batch.inputs, documents=batch.documents)
        after = model(changed, documents=batch.documents)
    assert not torch.equal(before[first], after[first])
    assert torch.equal(before[~first], after[~first])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_packed_conversation_is_what_it_is_alone(shape: dict[str, Any], chat_data: Path) -> None:
    model, batch = new_model(**shape), one_row(chat_data, 1)
    assert batch.documents is not None
    with torch.no_grad():
        packed = model(batch.inputs, documents=batch.documents)
        for number in range(int(batch.documents.max()) + 1):
            own = batch.documents == number
            alone = model(batch.inputs[own][None])[0]
            torch.testing.assert_close(packed[own], alone, atol=1e-5, rtol=1e-5)


def step_of(model: Transformer, optimizer: Optimizer, batches: list[Batch]) -> StepMetrics:
    return train_step(
        batches,
        loss_sum=make_loss(model),
        optimizer=optimizer,
        multiplier=1.0,
        clip_norm=None,
        world=World(),
        loss_scale=None,
        reseed=lambda _: None,
    )


def adamw(model: Transformer) -> Optimizer:
    plain = {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 0.0, "beta1": 0.9}
    return Optimizer(model, OptimizerSettings.model_validate({**plain, "beta2": 0.95}))


def test_eight_at_once_are_eight_one_by_one(chat_data: Path) -> None:
    batch = one_row(chat_data, 8)
    targets = [piece.num_targets for piece in batch.pieces(1)]
    assert len(set(targets)) > 1  # else dividing by micro-batches would do as well
    found: list[StepMetrics] = []
    for size in (8, 1):
        model = new_model()
        found.append(step_of(model, adamw(model), batch.pieces(size)))
    assert found[0].loss == pytest.approx(found[1].loss, abs=1e-5)
    assert found[0].grad_norm == pytest.approx(found[1].grad_norm, abs=1e-5)


def test_over_fifty_steps_neither_way_of_cutting_is_ahead(chat_data: Path) -> None:
    sampler = ChatSampler(open_dataset(chat_data).train, 96, seed=2)
    models = [new_model(), new_model()]
    optimizers = [adamw(model) for model in models]
    differences = []
    for number in range(50):
        batch = sampler.batch(8 * number, 8)
        losses = [
            step_of(model, optimizer, batch.pieces(size)).loss
            for model, optimizer, size in zip(models, optimizers, (8, 1), strict=True)
        ]
        differences.append(losses[0] - losses[1])
    mean, error = np.mean(differences), np.std(differences, ddof=1) / np.sqrt(50)
    assert np.abs(differences).max() < 1e-3
    assert abs(mean) < max(4 * error, 1e-6)


def test_before_it_starts_one_conversation_is_shown_with_what_is_learned(
    tuned: Tuned, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned(quiet=False, horizon="1 steps")
    told = capsys.readouterr().err
    assert "conversations: 36 to learn from, 4 held out" in told
    shown = [line for line in told.splitlines() if line.startswith("assistant: ")]
    assert len(shown) == 1
    assert shown[0].startswith("assistant: «")
    assert shown[0].endswith("[end]»")
    assert any(line.startswith("user: What comes after") for line in told.splitlines())


def test_prompts_are_answered_as_it_goes(tuned: Tuned, tmp_path: Path) -> None:
    tuned(samples={"prompts": ["What comes after 3?"], "tokens": 5})
    lines = read_json_lines(tmp_path / "run" / "samples.jsonl")
    assert [line["step"] for line in lines] == [4, 8]
    assert {line["prompt"] for line in lines} == {"user: What comes after 3?\nassistant: "}


def test_it_learns_to_answer(tuned: Tuned, tmp_path: Path) -> None:
    tuned(horizon="60 steps", evaluation={"every": 20, "tokens": 500})
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    losses = [line["val_loss"] for line in lines if line["val_loss"]]
    assert losses[-1] < 0.6 * losses[0]


def test_a_checkpoint_says_that_it_can_talk(
    tuned: Tuned, story_model: Path, tmp_path: Path
) -> None:
    tuned(horizon="1 steps")
    assert load_checkpoint(tmp_path / "run").facts["chat"]
    assert not load_checkpoint(story_model).facts["chat"]


# --- other ways -----------------------------------------------------------------------------


def test_lora_changes_no_other_weight_and_is_merged(tuned: Tuned, tmp_path: Path) -> None:
    tuned(finetune={"lora": {"rank": 2, "targets": ["query", "down"]}})
    before = load_checkpoint(tmp_path / "run" / "base").model.state_dict()
    after = load_checkpoint(tmp_path / "run").model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"blocks.{layer}.{part}.weight"
        for layer in (0, 1)
        for part in ("attention.query", "mlp.down")
    }


def test_another_tokenizer_keeps_the_rows_it_has_in_common(
    tuned: Tuned, story_model: Path, tmp_path: Path
) -> None:
    source = ("sample:stories:200",)
    other = PrepareConfig(sources=source, out=tmp_path / "other", tokenizer="bpe", vocab_size=300)
    prepare(other)
    tuned(horizon="1 steps", finetune={"tokenizer": tmp_path / "other"})
    old, new = load_checkpoint(story_model), load_checkpoint(tmp_path / "run" / "base")
    assert new.model.config.vocab_size == new.tokenizer.vocab_size == 300
    [a_old], [a_new] = old.tokenizer.encode("a"), new.tokenizer.encode("a")
    weights = [c.model.embedding.weight for c in (old, new)]
    assert torch.equal(weights[0][a_old], weights[1][a_new])
    assert load_tokenizer(tmp_path / "run" / "data").fingerprint() == new.tokenizer.fingerprint()


def test_text_is_learned_beside_conversations(
    chat_data: Path, tuned: Tuned, dataset: Path, tmp_path: Path
) -> None:
    chats = ChatSampler(open_dataset(chat_data).train, 96, 1)
    texts = WindowSampler(open_dataset(dataset).train.tokens, 96, 1)
    mixed = MixedSampler(chats, texts, batch_size=4, replayed=1)
    rows = torch.cat([mixed.batch(first, 2).inputs for first in range(0, 12, 2)])
    expected = [
        part for step in range(3) for part in (chats.batch(3 * step, 3), texts.batch(step, 1))
    ]
    assert torch.equal(rows, torch.cat([part.inputs for part in expected]))
    source = ("sample:stories:200",)
    prepare(PrepareConfig(sources=source, out=tmp_path / "chars", tokenizer="char"))
    with pytest.raises(ConfigError, match=r"`replay` is .* prepared with another tokenizer"):
        tuned("other", finetune={"replay": tmp_path / "chars"})


def test_a_single_row_has_no_room_for_text(tuned: Tuned) -> None:
    with pytest.raises(ConfigError, match=r"steps of two rows at least.*batch_size=2"):
        tuned(finetune={"replay": "STORIES"}, batch_size=1, micro_batch_size=1)


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"method": "dpo", "replay": "x"}, "`replay` is for method sft"),
        ({"val": ("x",), "val_fraction": 0.1}, "`val` and `val_fraction` both choose"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    own: dict[str, Any], named: str, settings: Callable[..., TrainConfig]
) -> None:
    with pytest.raises(ConfigError, match=named):
        settings(finetune=own)


def test_settings_of_a_training_on_text_are_refused(
    settings: Callable[..., TrainConfig], dataset: Path
) -> None:
    on_text = settings().model_copy(update={"finetune": None, "data": dataset})
    with pytest.raises(ConfigError, match="without `finetune`: ask `seedbed train`"):
        finetune(on_text, quiet=True)


def test_dpo_logs_accuracy_and_margin(tuned: Tuned, pairs: Path, tmp_path: Path) -> None:
    tuned(horizon="30 steps", finetune={"sources": (str(pairs),), "method": "dpo", "beta": 0.5})
    lines = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert lines[0]["train_loss"] == pytest.approx(np.log(2), abs=1e-5)
    scored = [line for line in lines if line["val_loss"] is not None]
    assert scored[-1]["val_accuracy"] > 0.9
    assert scored[-1]["val_margin"] > scored[0]["val_margin"]


def test_the_reference_reads_only_what_is_learned_and_scored(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    forward = Transformer.forward

    def counting(self: Transformer, ids: Any, *args: Any, **options: Any) -> Any:
        if not self.embedding.weight.requires_grad:  # the reference
            rows.append(len(ids))
        return forward(self, ids, *args, **options)

    monkeypatch.setattr(Transformer, "forward", counting)
    tuned(horizon="2 steps", batch_size=4, finetune=WAYS["dpo"], evaluation={"every": 1})
    val = 4  # of 40 pairs, read once for both evaluations
    assert sum(rows) == 2 * 4 + val


def test_micro_batches_of_pairs_are_planned_with_the_width_that_they_have(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned("any", horizon="1 steps", finetune=WAYS["dpo"])
    data = open_dataset(tmp_path / "any" / "data")
    width = width_of_pairs(data.train)
    room_for_2 = 2.5 * 4 * width * data.tokenizer.vocab_size
    monkeypatch.setattr(defaults, "LOGITS_AT_A_TIME", room_for_2)
    tuned(horizon="1 steps", finetune=WAYS["dpo"], batch_size=8, micro_batch_size=None)
    assert read_yaml(tmp_path / "run" / "config.yaml")["micro_batch_size"] == 2


# --- nothing is lost ------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": {"rank": 2}},
    "replay": {"replay": "STORIES"},
    "dpo": {"method": "dpo", "sources": ("PAIRS",)},
}
MOMENTS: dict[str, Moment] = {
    "before the seal of its start": ("seedbed.checkpoints", "seal_folder", "before", 1),
    "between start and conversations": ("seedbed.training.finetune", "prepare_chats", "before", 1),
    "before the seal of the conversations": ("seedbed.data.chats", "seal_folder", "before", 1),
    "before the request is written": ("seedbed.training.resume", "write_json", "before", 1),
    "before the first step": ("seedbed.training.loop", "take_step", "before", 1),
    "amid the files of a save": ("seedbed.checkpoints", "save_file", "after", 5),
    "between a save and its links": ("seedbed.training.loop", "save_checkpoint", "after", 2),
    "between two saves": ("seedbed.training.loop", "take_step", "after", 5),
    "after the last save": ("seedbed.training.loop", "save", "after", 4),
}


@pytest.mark.parametrize("way", WAYS)
def test_resumed_run_matches_uninterrupted_run(
    way: str, settings: Callable[..., TrainConfig], tuned: Tuned, tmp_path: Path
) -> None:
    tuned("whole", finetune=WAYS[way])
    names = {moment: f"run-{i}" for i, moment in enumerate(MOMENTS)}
    kill_runs(
        [
            (settings(name, finetune=WAYS[way]).model_dump(mode="json"), MOMENTS[moment])
            for moment, name in names.items()
        ]
    )
    assert ("training/adapter.safetensors" in final(tmp_path / "whole")) == (way == "lora")
    for moment, name in names.items():
        assert tuned(name, finetune=WAYS[way]).state == "finished"
        assert final(tmp_path / name) == final(tmp_path / "whole"), moment


def test_an_interrupted_lora_run_goes_on_with_its_adapter_unmerged(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = WAYS["lora"]
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_is_over", lambda job: job.state.step >= 4)
        tuned(finetune=way)
    saved = load_file(tmp_path / "run" / "checkpoints" / "latest" / "training/adapter.safetensors")
    restored: dict[str, torch.Tensor] = {}
    load_adapter = loop.load_adapter

    def spy(model: Transformer, tensors: dict[str, torch.Tensor]) -> None:
        load_adapter(model, tensors)
        restored.update(tensors)
        base = load_checkpoint(tmp_path / "run" / "base").model.state_dict()
        for name, parameter in model.named_parameters():
            if "lora" not in name:
                assert torch.equal(parameter, base[name]), name

    monkeypatch.setattr(loop, "load_adapter", spy)
    tuned(finetune=way)
    assert restored.keys() == saved.keys()
    assert all(torch.equal(restored[name], saved[name]) for name in saved)


def test_a_run_goes_on_though_its_sources_are_gone(
    tuned: Tuned, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "mine.jsonl"
    shutil.copy(chats, own)
    way = {"sources": (str(own),)}
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_is_over", lambda job: job.state.step >= 4)
        tuned(finetune=way)
    own.unlink()
    assert tuned(finetune=way).step == 8
    assert tuned(finetune=way).state == "already finished"


def test_a_changed_source_is_told_of(
    settings: Callable[..., TrainConfig], chats: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mine.jsonl"
    shutil.copy(chats, own)
    config = settings(horizon="1 steps", finetune={"sources": (str(own),)})
    notes: list[str] = []
    for _ in range(2):
        finetune(config, quiet=True, note=notes.append)
    assert notes == []
    with own.open("a") as lines:
        lines.write('{"prompt": "More?", "completion": "More."}\n')
    finetune(config, quiet=True, note=notes.append)
    assert [f"{own} changed since this run began" in note for note in notes] == [True]


def test_of_a_pair_it_is_shown_which_answer_is_the_better(
    tuned: Tuned, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned(quiet=False, horizon="1 steps", finetune=WAYS["dpo"])
    told = capsys.readouterr().err
    better, worse = [line for line in told.splitlines() if line.startswith("assistant: «")]
    assert "the better answer, then the worse one" in told
    assert better.startswith("assistant: «b")
    assert worse == "assistant: «a[end]»"


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_checkpoint_is_passed_over(way: str, tuned: Tuned, tmp_path: Path) -> None:
    tuned("whole", finetune=WAYS[way])
    shutil.copytree(tmp_path / "whole", tmp_path / "run", symlinks=True)
    newest = (tmp_path / "run" / "checkpoints" / "latest").resolve()
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "model.safetensors").write_bytes(content)
    assert tuned(finetune=WAYS[way]).state == "finished"
    assert final(tmp_path / "run") == final(tmp_path / "whole")


def test_a_moved_run_goes_on(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned("whole", finetune=WAYS["lora"])
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_is_over", lambda job: job.state.step >= 4)
        tuned("run", finetune=WAYS["lora"])
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert tuned("elsewhere", finetune=WAYS["lora"]).state == "finished"
    assert final(tmp_path / "elsewhere") == final(tmp_path / "whole")


def test_another_start_of_the_same_name_is_taken_anew(
    story_model: Path, tuned: Tuned, tmp_path: Path
) -> None:
    shutil.copytree(story_model, tmp_path / "mine", symlinks=True)
    way = {"checkpoint": tmp_path / "mine", "sources": (str(tmp_path / "no.jsonl"),)}
    with pytest.raises(DataError):
        tuned(finetune=way)
    at = (tmp_path / "mine" / "checkpoints" / "best").resolve()
    other = load_checkpoint(at)
    with torch.no_grad():
        other.model.norm.weight.add_(1.0)
    save_checkpoint(at, other.model, other.tokenizer, facts={})
    tuned(horizon="1 steps", finetune={"checkpoint": tmp_path / "mine"})
    base = load_checkpoint(tmp_path / "run" / "base").model
    assert torch.equal(base.norm.weight, other.model.norm.weight)


@pytest.mark.parametrize("name", ["data", "base"])
def test_what_finetune_did_not_make_is_not_replaced(
    name: str, tuned: Tuned, tmp_path: Path
) -> None:
    precious = tmp_path / "run" / name / "chats.jsonl"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} exists and was not made by `seedbed finetune`"):
        tuned()
    assert precious.read_text() == "mine"


def test_a_run_of_train_is_not_taken_for_a_fine_tuning(
    story_model: Path, settings: Callable[..., TrainConfig]
) -> None:
    config = settings().model_copy(update={"out": story_model})
    with pytest.raises(ConfigError, match="holds a run of `seedbed train`"):
        finetune(config, quiet=True)


def test_train_sends_settings_of_a_fine_tuning_away(settings: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ConfigError, match="ask `seedbed finetune` for it"):
        pretrain.train(settings(), quiet=True)


def test_train_does_not_take_conversations_for_text(tuned: Tuned, tmp_path: Path) -> None:
    run = tuned(horizon="1 steps").run
    config = TrainConfig(data=run / "data", out=tmp_path / "text", horizon="1 steps")
    with pytest.raises(ConfigError, match="holds the conversations of a fine-tuning"):
        pretrain.train(config, quiet=True)
    assert not (tmp_path / "text").exists()


def test_a_damaged_start_is_told(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_is_over", lambda job: job.state.step >= 4)
        tuned(finetune=WAYS["lora"])
    weights = tmp_path / "run" / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"base/model.safetensors has .* bytes, but"):
        tuned(finetune=WAYS["lora"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"finetune": {"method": "dpo"}}, "finetune.method: was 'sft', is 'dpo'"),
        ({"finetune": {"lora": {"rank": 2}}}, "finetune.lora"),
        ({"seed": 7}, "seed: was 1337, is 7"),
    ],
    ids=["method", "lora", "seed"],
)
def test_changed_settings_are_refused_by_name(
    changes: dict[str, Any], named: str, tuned: Tuned
) -> None:
    tuned(horizon="2 steps")
    with pytest.raises(ConfigError, match=named):
        tuned(**changes)
