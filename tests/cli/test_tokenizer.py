from __future__ import annotations

import json
from collections.abc import Callable


def test_json_has_the_promised_keys(seedbed: Callable) -> None:
    shown = seedbed(
        *("tokenizer", "sample:stories:80", "--kinds", "byte,sentencepiece", "--json"),
        *("--vocab-size", "400,500", "--size", "1m,10m", "--limit-bytes", "40k"),
    )
    assert shown.code == 0
    report = json.loads(shown.out)
    assert list(report) == [
        "documents",
        "bytes",
        "held_out_documents",
        "held_out_bytes",
        "tokenizers",
    ]
    assert report["bytes"] <= 40_000
    assert [f["vocab_size"] for f in report["tokenizers"]] == [260, 400, 500]
    assert list(report["tokenizers"][0]) == [
        "tokenizer",
        "vocab_size",
        "bytes_per_token",
        "megabytes_per_second",
        "unknown_share",
        "changed_documents",
        "vocabulary_shares",
    ]


def test_a_table_has_a_line_for_each_tokenizer(seedbed: Callable) -> None:
    shown = seedbed("tokenizer", "sample:stories:80", "--kinds", "byte,char", "--size", "1m,10k")
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["tokenizer", "byte", "char"]
    assert lines[2].endswith("does not fit")
    assert "byte" in shown.err


def test_wrong_options_are_told(seedbed: Callable) -> None:
    for option, value, message in (
        ("--vocab-size", "4k", "not a list of numbers"),
        ("--limit-bytes", "much", "Write a count of bytes"),
        ("--kinds", "bpee", "Did you mean `bpe`"),
        ("--size", "huge", "`size` is 'huge'"),
    ):
        shown = seedbed("tokenizer", "sample:stories:80", option, value)
        assert shown.code == 2
        assert message in shown.err
