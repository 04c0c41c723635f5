import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from seedbed.data.prepare import PrepareConfig, prepare
from seedbed.errors import DataError
from seedbed.tokenizers.bpe import train_bpe
from seedbed.tokenizers.load import load_tokenizer
from seedbed.tokenizers.pretrained import HuggingFaceTokenizer
from seedbed.tokenizers.simple import ByteTokenizer, CharTokenizer

OURS = [
    ByteTokenizer(),
    CharTokenizer("abc "),
    CharTokenizer(""),
    train_bpe(["so so long long"], 300),
]


@pytest.mark.parametrize("tokenizer", OURS, ids=lambda t: t.kind)
def test_saved_tokenizer_loads_as_what_it_was(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new")
    for path in (tmp_path / "new", tmp_path / "new" / "tokenizer.json"):
        loaded = load_tokenizer(path)
        assert type(loaded) is type(tokenizer)
        assert loaded.kind == tokenizer.kind
        assert loaded.fingerprint() == tokenizer.fingerprint()
        assert loaded.special == tokenizer.special


def test_byte_level_bpe_without_chat_tokens_gets_them(tmp_path):
    tokenizer = OURS[-1]
    content = tokenizer.to_json()
    for token in ("<|user|>", "<|assistant|>", "<|system|>"):
        del content["model"]["vocab"][token]
    content["added_tokens"] = content["added_tokens"][:1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).fingerprint() == OURS[-1].fingerprint()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", {"type": "Lowercase"}),
        (
            "pre_tokenizer",
            {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
        ),
        (
            "pre_tokenizer",
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": False,
            },
        ),
        ("pre_tokenizer", {"type": "Whitespace"}),
    ],
)
def test_byte_level_bpe_that_works_otherwise_runs_in_the_library(part, value, tmp_path):
    content = train_bpe(["so so long long"], 300).to_json() | {part: value}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    stock = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("So  long, so it's") == stock.encode("So  long, so it's").ids


def word_level_folder(folder):
    stock = Tokenizer(
        models.WordLevel({"[UNK]": 0, "so": 1, "long": 2, "</s>": 3}, unk_token="[UNK]")
    )
    stock.pre_tokenizer = pre_tokenizers.Whitespace()
    stock.add_special_tokens(["</s>"])
    stock.save(str(folder / "tokenizer.json"))
    return folder


def test_other_tokenizer_keeps_its_eos_and_gets_chat_tokens(tmp_path):
    tokenizer = load_tokenizer(word_level_folder(tmp_path))
    assert tokenizer.kind == "huggingface"
    assert tokenizer.special.eos == tokenizer.special.bos == 3
    assert tokenizer.special.user == 4
    assert tokenizer.vocab_size == 7
    assert tokenizer.encode("so long </s>")[-1] != 3
    ids, lengths = tokenizer.encode_documents(["so long", "", "long"])
    assert ids.tolist() == [1, 2, 3, 3, 2, 3]
    assert lengths == [3, 1, 2]


def test_other_tokenizer_takes_the_names_that_its_config_gives(tmp_path):
    word_level_folder(tmp_path)
    config = {"eos_token": {"content": "<end>"}, "bos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special.eos == 4


def llama_like_folder(folder):
    word_level_folder(folder)
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stock.add_special_tokens(["<s>"])
    stock.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 4), ("</s>", 3)]
    )
    stock.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_document_starts_from_what_precedes_documents_in_the_token_files(tmp_path):
    (tmp_path / "stock").mkdir()
    lines = [json.dumps("so long " * n) for n in range(1, 60)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    dataset = prepare(
        PrepareConfig(
            sources=(str(tmp_path / "text.jsonl"),),
            tokenizer=str(llama_like_folder(tmp_path / "stock")),
            out=tmp_path / "data",
        )
    )
    assert dataset.tokenizer.special.bos == dataset.tokenizer.special.eos == 3
    ids = np.fromfile(tmp_path / "data" / "train.bin", "<u2")
    assert dataset.tokenizer.special.bos in ids


def test_stock_software_starts_from_the_same_and_puts_nothing_around_a_text(tmp_path):
    (tmp_path / "stock").mkdir()
    tokenizer = load_tokenizer(llama_like_folder(tmp_path / "stock"))
    tokenizer.save(tmp_path / "ours")
    saved = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert saved.bos_token_id == saved.eos_token_id == tokenizer.special.bos
    assert saved("so long").input_ids == tokenizer.encode("so long")


def test_other_tokenizer_is_the_same_after_saving(tmp_path):
    tokenizer = load_tokenizer(word_level_folder(tmp_path))
    tokenizer.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert again.fingerprint() == tokenizer.fingerprint()
    assert again.special == tokenizer.special


def test_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*tokenizer\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": 3}']
)
def test_damaged_file_is_told(text, tmp_path):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_truncated_file_is_told_at_any_length(tmp_path):
    OURS[-1].save(tmp_path)
    file = tmp_path / "tokenizer.json"
    whole = file.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_tokenizer(tmp_path)


def test_damaged_config_is_told(tmp_path):
    OURS[0].save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer_config\.json"):
        load_tokenizer(tmp_path)
