from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError, field_validator

from seedbed.config import (
    Settings,
    build,
    differences,
    merge,
    parse_overrides,
    parse_yaml,
    read_yaml,
    to_yaml,
)
from seedbed.errors import ConfigError


class Inner(Settings):
    width: int = Field(default=4, gt=0)
    rate: float | None = None
    name: str = "x"


class Outer(Settings):
    folder: Path
    inner: Inner = Inner()
    perhaps: Inner | None = None
    words: tuple[str, ...] = ()
    flag: bool = False

    @field_validator("words")
    @classmethod
    def _no_blanks(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if "" in words:
            raise ValueError("`words` has an empty one. Leave it out.")
        return words


def refusal(*layers: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(Outer, {"folder": "d"}, *layers)
    return str(caught.value)


def test_later_layers_win_key_by_key() -> None:
    recipe = {"inner": {"width": 1, "rate": 0.1}, "flag": True}
    options = {"inner": {"width": 2}}
    overrides = parse_overrides(["inner.width=3", "folder=out"])
    made = build(Outer, {"folder": "d"}, recipe, options, overrides)
    assert made == Outer(folder=Path("out"), inner=Inner(width=3, rate=0.1), flag=True)


def test_merging_leaves_the_layers_alone() -> None:
    first, second = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(first, second) == {"a": {"b": 1, "c": 2}}
    assert (first, second) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_null_takes_a_setting_back() -> None:
    assert build(
        Outer, {"folder": "d", "inner": {"rate": 1}}, parse_overrides(["inner.rate="])
    ) == (Outer(folder=Path("d")))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Inner().width = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"flagg": True}, "`flagg` is not a setting. Did you mean `flag`?"),
        ({"inner": {"witdh": 1}}, "`inner.witdh` is not a setting. Did you mean `width`?"),
        ({"perhaps": {"rat": 1}}, "`perhaps.rat` is not a setting. Did you mean `rate`?"),
        (
            {"inner": {"zzz": 1}},
            "`inner.zzz` is not a setting. Known here: width, rate, name.",
        ),
        ({"inner": {"width": 0}}, "`inner.width` is 0: input should be greater than 0."),
        (
            {"inner": {"rate": float("nan")}},
            "`inner.rate` is nan: input should be a finite number.",
        ),
        ({"inner": 5}, "`inner` is 5: input should be a valid dictionary or instance of Inner."),
        ({"words": ["a", ""]}, "`words` has an empty one. Leave it out."),
        ({"words": ["a", 1]}, "`words.1` is 1: input should be a valid string."),
    ],
)
def test_a_wrong_setting_is_told_in_a_line(layer: dict[str, Any], message: str) -> None:
    assert refusal(layer) == message


def test_every_wrong_setting_is_told() -> None:
    assert refusal({"flagg": 1, "inner": {"width": -1}}).count("\n") == 1


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^`folder` is missing\.$"):
        build(Outer, {"flag": True})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e6", 1_000_000.0),
        ("no", "no"),
        ("off", "off"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("12", 12),
        ("010", 10),
        ("0.8m", "0.8m"),
        ("12:30", "12:30"),
        ("500 steps", "500 steps"),
        ("[a, 1]", ["a", 1]),
        ("{a: 1}", {"a": 1}),
        ("'1'", "1"),
        ("2024-01-02", "2024-01-02"),
    ],
)
def test_values_are_read_as_yaml_1_2(text: str, value: object) -> None:
    assert parse_yaml(text, origin="test") == value
    assert parse_overrides([f"a.b={text}"]) == {"a": {"b": value}}


def test_an_override_may_hold_equals_signs() -> None:
    assert parse_overrides(["prompt=a=b"]) == {"prompt": "a=b"}


@pytest.mark.parametrize("wrong", ["seed", "=7", ".=7", "--seed"])
def test_what_is_no_override_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a setting\. Write key\.path=value"):
        parse_overrides([wrong])


def test_broken_yaml_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a=\[1 is not valid YAML"):
        parse_overrides(["a=[1"])
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml is not valid YAML"):
        read_yaml(tmp_path / "bad.yaml")


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("seed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match="seed"):
        read_yaml(tmp_path / "twice.yaml")


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"just words\n", b"\xff\xfe\x00"])
def test_a_file_without_settings_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"wrong\.yaml"):
        read_yaml(tmp_path / "wrong.yaml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        read_yaml(tmp_path / "none.yaml")


WORDS = (
    *("no", "yes", "off", "~", "null", "1e-3", "010", "12:30", "true", "2024-01-02", "=", "<<"),
    *("a: b", "# c", "- d", "{", "a\nb\n", "\ttab ", " leading", "é 🌱", '"', "'", "\\n", "%", "@"),
    "x" * 300,
    "many  spaces   in a line " * 20,
    "Once upon a time, there was a very long line of text that goes on: and on, and on. " * 4,
)


@pytest.mark.parametrize("word", WORDS)
def test_settings_survive_being_written(word: str, tmp_path: Path) -> None:
    inner = Inner(width=7, rate=1e-5, name=word)
    made = Outer(folder=tmp_path / "ünï", inner=inner, perhaps=Inner(), words=(word, word))
    (tmp_path / "config.yaml").write_text(to_yaml(made), encoding="utf-8")
    assert build(Outer, read_yaml(tmp_path / "config.yaml")) == made


def test_differences_name_keys_on_either_side() -> None:
    old, new = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 5}, "e": 4}
    assert differences(old, new) == {"a.c": (2, 5), "d": (3, None), "e": (None, 4)}
    assert differences(old, old) == {}
