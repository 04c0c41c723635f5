"""What we generate against what `transformers` generates from the checkpoint we write."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_shapes import random_model
from seedbed.checkpoints import load_checkpoint, save_checkpoint
from seedbed.generation.engine import prompt_ids, stream
from seedbed.generation.sampling import SamplingSettings
from seedbed.tokenizers.simple import ByteTokenizer

transformers = pytest.importorskip("transformers")

TOKENIZER = ByteTokenizer()
PROMPTS = ("Once upon a time", "", "The cat saw a é and 🌱", "x" * 60)
NEW_TOKENS = 64


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("name", ["qwen3", "llama-gqa", "gpt2", "gpt2-sinusoidal", "arcee"])
def test_greedy_text_is_that_of_transformers(name: str, penalty: float, tmp_path: Path) -> None:
    model = random_model(name, vocab_size=TOKENIZER.vocab_size, context_length=128)
    save_checkpoint(tmp_path / "model", model, TOKENIZER, facts={})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", dtype=torch.float32
    ).eval()
    loaded = load_checkpoint(tmp_path / "model")
    special = TOKENIZER.special
    distinct = 0
    for prompt in PROMPTS:
        ids = prompt_ids(TOKENIZER, prompt)
        reference = theirs.generate(
            torch.tensor([ids]),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            repetition_penalty=penalty,
            suppress_tokens=[special.user, special.assistant, special.system],
            pad_token_id=special.eos,
        )
        ours = stream(
            loaded.model,
            loaded.tokenizer,
            [ids],
            max_new_tokens=NEW_TOKENS,
            sampling=SamplingSettings(temperature=0, repetition_penalty=penalty),
        )
        drawn = [token.token_id for token in ours]
        assert drawn == reference[0, len(ids) :].tolist()
        distinct += len(set(drawn))
    assert distinct > 15
