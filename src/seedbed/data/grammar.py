"""Grammars from which samples grow, read from text files and followed.

A grammar is a list of rules, each a name, a sign and a template:

    sex = girl | boy                  a fact: decided once in a sample, then remembered
    friend != {sex.name}              a fact that is unlike every other fact of the sample
    soon ~ Soon | Before long         a phrase: chosen anew wherever it is used

In a template `a | b` or `[a|b]` chooses one, `{rule}` stands for what the rule tells, `{Rule}` for
the same with a capital, and `¶` for a new paragraph. `{place.spot}` follows the fact `place`: in a
garden it is the rule `garden.spot`, or else `any.spot`. That is all that keeps a sample coherent:
what was lost, in which colour, and where, are facts, so that text which refers back agrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources

Facts = dict[str, str]
Draw = Callable[[], float]  # uniform in [0, 1)
Teller = Callable[[Draw, Facts], str]  # tells one piece of a sample, and may decide facts

_RULE = re.compile(r"(?P<name>\w[\w .-]*?) (?P<sign>=|!=|~)(?: (?P<template>.*))?")
_MARK = re.compile(r"([\[\]|]|\{[^{}]*\})")
_VOWEL_AFTER_A = re.compile(r"\b([Aa]) (?=[aeiou])")
_STRAY_SPACE = re.compile(r' (?=[,.!?])|(?<= ") ')  # before a mark, after an opening quote


def tidy(text: str) -> str:
    """Return `text` with single spaces, paragraphs, and "an" before a vowel."""
    text = _STRAY_SPACE.sub("", " ".join(text.split()))
    return _VOWEL_AFTER_A.sub(r"\1n ", text).replace(" ¶ ", "\n\n")


def read_templates(folder: str) -> Iterator[tuple[str, str, str]]:
    """Yield the (name, sign, template) of each rule; an indented line continues the one above."""
    files = (resources.files("seedbed.data") / folder).iterdir()
    for file in sorted(files, key=lambda file: file.name):
        text = file.read_text(encoding="utf-8")
        text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
        for lines in re.sub(r"\n[ \t]+", " ", text).splitlines():
            if lines.strip():
                rule = _RULE.fullmatch(lines)
                assert rule, f"{file.name}: not a rule: {lines}"
                template = (rule["template"] or "").strip().removeprefix("| ")
                yield rule["name"], rule["sign"], re.sub(r"\s+\|\s+", "|", template)


@cache
def read_grammar(folder: str) -> Mapping[str, Teller]:
    """Return the teller of each rule of the files in a folder beside this module."""
    rules: dict[str, Teller] = {}
    for name, sign, template in read_templates(folder):
        assert name not in rules, f"rule {name} is there twice"
        marks = iter(_MARK.split(template))
        teller = _compile(marks, rules)
        rules[name] = teller if sign == "~" else _remember(name, teller, unlike=sign == "!=")
    return rules


def _compile(marks: Iterator[str], rules: Mapping[str, Teller]) -> Teller:
    """Return the teller of a template, read up to its end or the bracket that closes it."""
    options: list[list[Teller]] = [[]]
    for mark in marks:
        if mark == "]":
            break
        if mark == "|":
            options.append([])
        elif mark == "[":
            options[-1].append(_compile(marks, rules))
        elif mark.startswith("{"):
            options[-1].append(_refer(mark[1:-1], rules))
        elif mark:
            options[-1].append(_literal(mark))
    return _choose([_join(parts) for parts in options])


def _literal(text: str) -> Teller:
    return lambda _draw, _facts: text


def _join(parts: list[Teller]) -> Teller:
    if len(parts) == 1:
        return parts[0]
    return lambda draw, facts: "".join([part(draw, facts) for part in parts])


def _choose(options: list[Teller]) -> Teller:
    if len(options) == 1:
        return options[0]
    return lambda draw, facts: options[int(draw() * len(options))](draw, facts)


def _refer(name: str, rules: Mapping[str, Teller]) -> Teller:
    """Return the teller of a slot: `rule`, `Rule` with a capital, or `fact.part`."""
    if name[0].isupper():
        plain = _refer(name[0].lower() + name[1:], rules)
        return lambda draw, facts: _capitalise(plain(draw, facts))
    owner, dot, part = name.partition(".")
    if not dot:
        return lambda draw, facts: rules[name](draw, facts)

    def follow(draw: Draw, facts: Facts) -> str:
        own = f"{rules[owner](draw, facts).strip()}.{part}"
        return (rules.get(own) or rules[f"any.{part}"])(draw, facts)

    return follow


def _capitalise(text: str) -> str:
    text = text.lstrip()
    return text[:1].upper() + text[1:]


def _remember(name: str, tell: Teller, *, unlike: bool) -> Teller:
    """Return a teller that decides once in a sample; if `unlike`, on what no other fact says."""

    def recall(draw: Draw, facts: Facts) -> str:
        value = facts.get(name)
        if value is None:
            value = tell(draw, facts).strip()
            while unlike and value in facts.values():
                value = tell(draw, facts).strip()
            facts[name] = value
        return value

    return recall
