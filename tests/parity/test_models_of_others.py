"""Models that transformers made and saved: we compute their logits, and teach them to talk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from seedbed.checkpoints import load_checkpoint
from seedbed.config import build
from seedbed.data.samples import sample_stories
from seedbed.errors import CheckpointError
from seedbed.training import pretrain
from seedbed.training.config import TrainConfig
from seedbed.training.finetune import finetune

transformers = pytest.importorskip("transformers")

PADDED = 320  # rows; the tokenizer has 300 ids
LLAMA = {
    "vocab_size": PADDED,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", LLAMA),
    "llama-untied": ("Llama", {**LLAMA, "tie_word_embeddings": False, "head_dim": 16}),
    "qwen3": ("Qwen3", {**LLAMA, "head_dim": 8, "rms_norm_eps": 1e-5}),
    "arcee": ("Arcee", {**LLAMA, "hidden_act": "relu2"}),
    "gpt2": (
        "GPT2",
        {"vocab_size": PADDED, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128},
    ),
}


def made_elsewhere(name: str, folder: Path) -> torch.nn.Module:
    """Save a model of random weights as transformers does, with a tokenizer that knows no turns."""
    kind, settings = CLASSES[name]
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**settings)
    suffix = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model = getattr(transformers, f"{kind}{suffix}")(config).eval()
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        sample_stories(50, seed=1),
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    return model


@pytest.mark.parametrize("name", CLASSES)
def test_we_compute_what_they_compute(name: str, tmp_path: Path) -> None:
    theirs = made_elsewhere(name, tmp_path)
    ours = load_checkpoint(tmp_path).model
    ids = torch.randint(0, 300, (3, 24), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        difference = (ours(ids) - theirs(ids).logits).abs().max().item()
    assert difference < 1e-5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "mamba"}, "a model of type 'mamba'"),
        ({"attention_bias": True}, "`attention_bias` True"),
        ({"hidden_act": "gelu"}, "`hidden_act` 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "of type 'yarn'"),
    ],
)
def test_what_we_do_not_compute_is_refused(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    made_elsewhere("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_without_chat_tokens_gets_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_elsewhere(name, tmp_path / "theirs")
    file = tmp_path / "chats.jsonl"
    exchange = '{{"prompt": "Number {0}?", "completion": "It is {0}."}}\n'
    file.write_text("".join(exchange.format(n) for n in range(20)))
    monkeypatch.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
    own = {"checkpoint": tmp_path / "theirs", "sources": (str(file),)}
    common = {"horizon": "2 steps", "batch_size": 2, "device": "cpu", "precision": "fp32"}
    settings = {**common, "out": tmp_path / "run", "finetune": own, "samples": {"tokens": 0}}
    notes: list[str] = []
    result = finetune(build(TrainConfig, settings), quiet=True, note=notes.append)
    assert result.state == "finished"
    old, base = load_checkpoint(tmp_path / "theirs"), load_checkpoint(tmp_path / "run" / "base")
    assert base.tokenizer.vocab_size == base.model.config.vocab_size == 303
    assert [n for n in notes if n.startswith("vocabulary: 300 of 303 rows kept")]
    for part in ("embedding", "head"):
        before, after = getattr(old.model, part).weight, getattr(base.model, part).weight
        assert torch.equal(after[:300], before[:300])
        mean = before[:300].mean(0)
        assert all(torch.equal(row, mean) for row in after[300:])
    stock = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "run" / "checkpoints" / "latest", dtype=torch.float32
    )
    tuned = load_checkpoint(tmp_path / "run" / "checkpoints" / "latest").model
    ids = torch.tensor([[5, 301, 7, 302]])
    with torch.no_grad():
        assert (tuned(ids) - stock.eval()(ids).logits).abs().max().item() < 1e-5


def test_lora_learns_the_rows_that_are_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_elsewhere("llama", tmp_path / "theirs")
    file = tmp_path / "chats.jsonl"
    exchange = '{{"prompt": "Number {0}?", "completion": "It is {0}."}}\n'
    file.write_text("".join(exchange.format(n) for n in range(20)))
    monkeypatch.setattr(pretrain, "measure_matmul_flops", lambda *_: 1e10)
    own = {"checkpoint": tmp_path / "theirs", "sources": (str(file),), "lora": {"rank": 2}}
    common = {"horizon": "3 steps", "batch_size": 2, "device": "cpu", "precision": "fp32"}
    settings = {**common, "out": tmp_path / "run", "finetune": own, "samples": {"tokens": 0}}
    finetune(build(TrainConfig, settings), quiet=True)
    rows = load_checkpoint(tmp_path / "run").model.embedding.weight[300:303]
    assert all(not torch.equal(rows[i], rows[j]) for i in range(3) for j in range(i))
