"""From layers of settings (recipe, options, key.path=value) to one validated, frozen object.

    recipe file  <  command-line options  <  key.path=value

Later layers win, key by key. The result is checked once, as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from seedbed.errors import ConfigError, did_you_mean

Tree = dict[str, Any]


class Settings(BaseModel):
    """A group of settings: frozen, all numbers finite, no room for a key it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


S = TypeVar("S", bound=Settings)


def build(kind: type[S], *layers: Mapping[str, Any]) -> S:
    """Return a `kind` from layers of settings, later ones winning.

    Raises ConfigError, naming each key that is unknown (and the nearest known one) or wrong.
    """
    try:
        return kind.model_validate(merge(*layers))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(kind, e) for e in error.errors())) from None


def merge(*layers: Mapping[str, Any]) -> Tree:
    """Return the layers merged key by key, the last one winning.

    >>> merge({"model": {"size": "1m", "bias": True}}, {"model": {"size": "3m"}})
    {'model': {'size': '3m', 'bias': True}}
    """
    merged: Tree = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(old, dict) and isinstance(value, Mapping):
                value = merge(old, value)  # pyright: ignore[reportUnknownArgumentType]
            merged[key] = value
    return merged


def parse_overrides(overrides: Iterable[str]) -> Tree:
    """Return the settings that `key.path=value` strings give, values read as YAML 1.2.

    >>> parse_overrides(["model.num_layers=4", "optimizer.learning_rate=1e-3"])
    {'model': {'num_layers': 4}, 'optimizer': {'learning_rate': 0.001}}
    """
    tree: Tree = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip("."):
            raise ConfigError(f"`{override}` is not a setting. Write key.path=value, as in seed=7.")
        *groups, last = path.split(".")
        branch: Tree = {last: parse_yaml(text, origin=override) if text else None}
        for group in reversed(groups):
            branch = {group: branch}
        tree = merge(tree, branch)
    return tree


def read_yaml(path: Path) -> Tree:
    """Return the settings in a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    tree = parse_yaml(text, origin=str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no settings. Write `key: value` lines.")
    return tree  # pyright: ignore[reportUnknownVariableType]


def parse_yaml(text: str, *, origin: str) -> Any:
    """Return the value of YAML 1.2 `text`, a date as text; `origin` names it in an error."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Values
    try:
        return yaml.load(text)  # pyright: ignore[reportUnknownMemberType]
    except YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML: {error}") from None


class _Values(SafeConstructor):
    """Makes values of YAML 1.2's core schema, which has no dates."""


_Values.add_constructor(  # pyright: ignore[reportUnknownMemberType]
    "tag:yaml.org,2002:timestamp",
    SafeConstructor.construct_yaml_str,  # pyright: ignore[reportUnknownMemberType]
)


def to_yaml(settings: Settings) -> str:
    """Return the settings as YAML that `read_yaml` reads back."""
    out = StringIO()
    yaml = YAML()
    yaml.dump(settings.model_dump(mode="json"), out)  # pyright: ignore[reportUnknownMemberType]
    return out.getvalue()


def differences(old: Tree, new: Tree, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return {key.path: (old value, new value)} wherever the two trees differ.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    {'a.b': (1, 3)}
    """
    changed: dict[str, tuple[Any, Any]] = {}
    for key in [*old, *(k for k in new if k not in old)]:
        left, right = old.get(key), new.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            changed |= differences(left, right, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        elif left != right:
            changed[prefix + key] = (left, right)
    return changed


def _explain(kind: type[Settings], error: Any) -> str:
    """Return one line a user can act on, from one pydantic error."""
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    if error["type"] == "extra_forbidden":
        owner = _settings_at(kind, path[:-1])
        known = list(owner.model_fields) if owner else []
        hint = did_you_mean(path[-1], known) or f" Known here: {', '.join(known)}."
        return f"`{name}` is not a setting.{hint}"
    if error["type"] == "missing":
        return f"`{name}` is missing."
    message = error["msg"].removeprefix("Value error, ")
    if not name or error["type"] == "value_error":
        return message
    return f"`{name}` is {error['input']!r}: {message[0].lower()}{message[1:]}."


def _settings_at(kind: type[Settings], path: list[str]) -> type[Settings] | None:
    for part in path:
        field = kind.model_fields.get(part)
        if field is None:
            return None
        options = [field.annotation, *get_args(field.annotation)]
        kinds = [o for o in options if isinstance(o, type) and issubclass(o, Settings)]
        if not kinds:
            return None
        kind = kinds[0]
    return kind
