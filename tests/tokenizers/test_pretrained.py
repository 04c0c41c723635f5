import pytest

from seedbed.errors import DataError
from seedbed.tokenizers import pretrained
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.pretrained import load_gpt2


@pytest.fixture
def gpt2(real_data, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_data / "tiktoken_cache"))
    return load_gpt2()


def test_gpt2_keeps_its_ids_and_chat_tokens_follow(gpt2):
    assert gpt2.kind == "gpt2"
    assert gpt2.vocab_size == 50260
    assert gpt2.special.eos == gpt2.special.bos == 50256
    assert (gpt2.special.user, gpt2.special.assistant, gpt2.special.system) == (50257, 50258, 50259)
    assert gpt2.encode("Hello world") == [15496, 995]


def test_saved_gpt2_loads_as_gpt2(gpt2, tmp_path):
    gpt2.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.kind == "gpt2"
    assert loaded.fingerprint() == gpt2.fingerprint()


def test_gpt2_that_cannot_be_had_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(pretrained, "_GPT2_MERGES", str(tmp_path / "no_such_file"))
    with pytest.raises(DataError, match="TIKTOKEN_CACHE_DIR"):
        load_gpt2()
