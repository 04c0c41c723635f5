"""Our logits against the stock `transformers` classes, on the weights we write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model_shapes import SHAPES, small
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.errors import CheckpointError
from seedbed.model.huggingface import from_stock, model_config, stock_config, to_stock
from seedbed.model.transformer import Transformer
from seedbed.tokenizers.simple import CharTokenizer

transformers = pytest.importorskip("transformers")


def randomised(name: str) -> Transformer:
    torch.manual_seed(3)
    model = Transformer(small(name)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3).add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", SHAPES)
def test_stock_class_computes_our_logits(name: str, tmp_path: Path) -> None:
    model = randomised(name)
    stock = stock_config(model.config, bos=0, eos=0)
    (tmp_path / "config.json").write_text(json.dumps(stock))
    weights = to_stock(model.config, model.state_dict())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.float32
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = torch.randint(0, 96, (3, 24), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        difference = (model(ids) - theirs.eval()(ids).logits).abs().max().item()
    assert difference < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_what_transformers_saved_again_is_read_as_a_model_of_theirs(
    name: str, tmp_path: Path
) -> None:
    model = randomised(name)
    save_checkpoint(tmp_path / "ours", model, CharTokenizer("abc"), facts={})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "again")
    shutil.copy(tmp_path / "ours" / "tokenizer.json", tmp_path / "again")
    shutil.copy(tmp_path / "ours" / "tokenizer_config.json", tmp_path / "again")
    with pytest.raises(CheckpointError, match="If transformers saved it again, take `seedbed` out"):
        load_checkpoint(tmp_path / "again")
    config = tmp_path / "again" / "config.json"
    stock = json.loads(config.read_text())
    del stock["seedbed"]
    config.write_text(json.dumps(stock))
    again = load_checkpoint(tmp_path / "again").model
    ids = torch.randint(0, 96, (3, 24), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert (model(ids) - again(ids)).abs().max().item() < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_weights_survive_the_way_there_and_back(name: str) -> None:
    model = randomised(name)
    config = model_config(stock_config(model.config, bos=0, eos=0))
    assert config == model.config
    state = from_stock(config, to_stock(config, model.state_dict()))
    assert state.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(state[key], value), key
