"""Tasks made from any text: of several ways to go on, which one did the author write?

Nobody writes questions, so there is a task wherever there is text, and none of its answers has been
seen in training if the text has not. Each kind of task has a chance level, and most are balanced:
each choice is the right one as often as any other. So a model that likes a choice whatever stands
before it, for a frequent word or a short one, is right no more often than by chance.

`agreement` needs English; the others need words between spaces, and sentences that end in a mark.
"""

# pyright: strict

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

ITEMS = 200
CONTEXT_WORDS = range(20, 61)  # before the choices
SENTENCE_WORDS = range(6, 41)
CONTINUATION_WORDS = 15
CONTINUATIONS = 4  # to choose from
LAST_WORDS = 4  # to choose from
SHUFFLED_WORDS = 4  # in a row

_MOST_BYTES = 8_000_000  # of text that is looked through
_FEWEST_LETTERS = 3  # of a last word

_WORD = re.compile(r"\S+")
_PLAIN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")  # letters, with apostrophes inside
_MARKS = r"[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*"
_SENTENCE_END = re.compile(rf"{_MARKS}(?=\s|\Z)|(?=\n[^\S\n]*\n)")
_LAST_WORD = re.compile(rf"(\s)([^\W\d_]+)( ?{_MARKS})\Z")  # some texts part the marks
_NOT_LAST = frozenset({"Mrs"})  # what follows it belongs to the same sentence

_PAIRS = (  # of words that are wrong in each other's place
    ("was", "were"),
    ("is", "are"),
    ("has", "have"),
    ("does", "do"),
    ("he", "she"),
    ("himself", "herself"),
    ("a", "an"),
)
_OTHER_OF = dict(_PAIRS) | {second: first for first, second in _PAIRS}
_PAIRED_WORD = re.compile(rf"(?<=\s)(?:{'|'.join(_OTHER_OF)})(?=\s+([^\W\d_]))")
_MALE = frozenset({"he", "him", "his", "himself"})
_FEMALE = frozenset({"she", "her", "hers", "herself"})

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A context and texts that may follow it, one of which is right.

    Items with the same `group` share text, so that they are not independent of each other.
    """

    context: str
    choices: tuple[str, ...]  # each begins with the white space between the context and itself
    answer: int  # place of the right one
    group: int


def chance_of(items: Sequence[Item]) -> float:
    """Return the share of items that guessing gets right."""
    return math.fsum(1 / len(item.choices) for item in items) / len(items)


@dataclass(frozen=True)
class Prose:
    """A document and where its sentences are."""

    text: str
    spans: tuple[tuple[int, int], ...]
    words: tuple[int, ...]  # in each sentence
    number: int

    @classmethod
    def of(cls, text: str, number: int) -> Prose:
        """Return the document with its sentences: an end mark or a blank line ends one.

        >>> Prose.of('"Who is it?" she asked. It was I', 0).words
        (3, 2, 3)
        """
        spans: list[tuple[int, int]] = []
        start = 0
        for end in [*(m.end() for m in _SENTENCE_END.finditer(text)), len(text)]:
            sentence = text[start:end].strip()
            if sentence:
                first = text.index(sentence, start)
                spans.append((first, first + len(sentence)))
            start = end
        return cls(text, tuple(spans), tuple(len(text[a:b].split()) for a, b in spans), number)

    def sentence(self, number: int) -> str:
        """Return a sentence with the white space before it."""
        return self.text[self.spans[number - 1][1] if number else 0 : self.spans[number][1]]

    def context(self, number: int) -> str | None:
        """Return the whole sentences before one, as many as fit; None where that is too little."""
        first, words = number, 0
        while first and words + self.words[first - 1] < CONTEXT_WORDS.stop:
            first -= 1
            words += self.words[first]
        if words not in CONTEXT_WORDS:
            return None
        return self.text[self.spans[first][0] : self.spans[number - 1][1]]

    def places(self, draw: random.Random) -> list[int]:
        """Return the numbers of the sentences in a random order."""
        return draw.sample(range(len(self.spans)), len(self.spans))


def make_tasks(
    documents: Sequence[str], *, seed: int = 0, items: int = ITEMS
) -> dict[str, list[Item]]:
    """Return up to `items` items of each task of TASKS that the text has any for.

    The same documents and seed give the same items. They are spread over the documents; of a text
    of more than 8 MB, over a random part of them.

    >>> from seedbed.data.samples import sample_stories
    >>> tasks = make_tasks(list(sample_stories(40, seed=0)), items=8)
    >>> [len(tasks["continuation"]), len(tasks["continuation"][0].choices)]
    [8, 4]
    """
    order = random.Random(seed).sample(range(len(documents)), len(documents))
    read: list[Prose] = []
    size = 0
    for number in order:
        size += len(documents[number].encode())
        if size > _MOST_BYTES and read:
            break
        read.append(Prose.of(documents[number], number))
    made = {
        name: make(read, items, random.Random(f"{seed}:{name}")) for name, make in TASKS.items()
    }
    return {name: found for name, found in made.items() if found}


def _in_turn(streams: Iterable[Iterator[T]]) -> Iterator[T]:
    """Yield the first of each stream, then the second of each, ..."""
    waiting = deque(streams)
    while waiting:
        stream = waiting.popleft()
        for found in islice(stream, 1):
            yield found
            waiting.append(stream)


def _item(context: str, right: str, wrong: Iterable[str], group: int, draw: random.Random) -> Item:
    """Return an item whose choices stand in a random order."""
    choices = [right, *wrong]
    draw.shuffle(choices)
    return Item(context, tuple(choices), choices.index(right), group)


# --- choose the true continuation -----------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """A passage cut in two."""

    context: str
    gap: str
    rest: str
    document: int


def _continuations(documents: Sequence[Prose], items: int, draw: random.Random) -> list[Item]:
    """Return items whose choices are the continuations of passages of several documents.

    Each of them is the right one of one item.
    """
    cuts = _in_turn(_cuts(document, draw) for document in documents)
    made: list[Item] = []
    for group, members in enumerate(_alike(list(islice(cuts, items)))):
        for cut in members:
            wrong = [cut.gap + other.rest for other in members if other is not cut]
            made.append(_item(cut.context, cut.gap + cut.rest, wrong, group, draw))
    return made


def _cuts(document: Prose, draw: random.Random) -> Iterator[_Cut]:
    """Yield passages cut where a sentence begins, with some words of what follows."""
    for place in document.places(draw):
        start = document.spans[place][0]
        context = document.context(place)
        words = list(islice(_WORD.finditer(document.text, start), CONTINUATION_WORDS))
        if context is not None and len(words) == CONTINUATION_WORDS:
            gap = document.text[document.spans[place - 1][1] : start]
            yield _Cut(context, gap, document.text[start : words[-1].end()], document.number)


def _alike(cuts: list[_Cut]) -> Iterator[list[_Cut]]:
    """Yield groups of different documents whose continuations are about equally long."""
    open_groups: list[list[_Cut]] = []
    for cut in sorted(cuts, key=lambda cut: len(cut.rest.encode())):
        fitting = (group for group in open_groups if _may_join(cut, group))
        group = next(fitting, None)
        if group is None:
            open_groups.append(group := [])
        group.append(cut)
        if len(group) == CONTINUATIONS:
            open_groups.remove(group)
            yield group


def _may_join(cut: _Cut, group: list[_Cut]) -> bool:
    return all(cut.document != other.document and cut.rest != other.rest for other in group)


# --- choose the last word of a sentence -----------------------------------------------------


@dataclass(frozen=True)
class _Ending:
    """A sentence without its last word."""

    context: str
    gap: str
    word: str
    mark: str
    known: frozenset[str]  # the words of the context


def _last_words(documents: Sequence[Prose], items: int, draw: random.Random) -> list[Item]:
    """Return items whose choices end sentences of one document; each is the right one of one item.

    As in LAMBADA (Paperno et al., ACL 2016), the context has the word, where there are such. But it
    has all choices then, so that copying alone finds none.
    """
    found = _in_turn(_same_words(document, draw) for document in documents)
    made: list[Item] = []
    for number, group in islice(found, items // LAST_WORDS):
        for ending in group:
            right, *wrong = (
                f"{ending.gap}{word}{ending.mark}"
                for word in [ending.word, *(e.word for e in group if e is not ending)]
            )
            made.append(_item(ending.context, right, wrong, number, draw))
    return made


def _same_words(document: Prose, draw: random.Random) -> Iterator[tuple[int, list[_Ending]]]:
    """Yield groups of sentences; first those whose contexts have the last words of all of them."""
    places = document.places(draw)
    endings = [ending for place in places if (ending := _ending(document, place))]
    for all_known in (True, False):
        group: list[_Ending] = []
        for ending in endings:
            known = all(e.word in ending.known and ending.word in e.known for e in [ending, *group])
            different = all(ending.word.lower() != other.word.lower() for other in group)
            if different and (known or not all_known):
                group.append(ending)
            if len(group) == LAST_WORDS:
                yield document.number, group
                endings = [ending for ending in endings if ending not in group]
                group = []


def _ending(document: Prose, place: int) -> _Ending | None:
    sentence, before = document.sentence(place), document.context(place)
    found = _LAST_WORD.search(sentence)
    if before is None or found is None or document.words[place] not in SENTENCE_WORDS:
        return None
    gap, word, mark = found.groups()
    if len(word) < _FEWEST_LETTERS or word in _NOT_LAST:
        return None
    context = before + sentence[: found.start()]
    return _Ending(context, gap, word, mark, frozenset(_PLAIN.findall(context)))


# --- tell the sentence from a corrupted one -------------------------------------------------


def _swapped(documents: Sequence[Prose], items: int, draw: random.Random) -> list[Item]:
    """Return items with a sentence, and the same with two words that stand side by side swapped."""
    return _disordered(documents, items, draw, words=2)


def _shuffled(documents: Sequence[Prose], items: int, draw: random.Random) -> list[Item]:
    """Return items with a sentence, and the same with several words in a row in another order."""
    return _disordered(documents, items, draw, words=SHUFFLED_WORDS)


def _disordered(
    documents: Sequence[Prose], items: int, draw: random.Random, *, words: int
) -> list[Item]:
    found = _in_turn(_disorder(document, draw, words) for document in documents)
    return list(islice(found, items))


def _disorder(document: Prose, draw: random.Random, words: int) -> Iterator[Item]:
    """Yield a document's sentences, each beside itself with `words` words in another order."""
    for place in document.places(draw):
        context, sentence = document.context(place), document.sentence(place)
        if context is None or document.words[place] not in SENTENCE_WORDS:
            continue
        if runs := _runs(sentence, words):
            run = draw.choice(runs)
            wrong = _put_in(sentence, run, _moved([m.group() for m in run], draw))
            yield _item(context, sentence, [wrong], document.number, draw)


def _runs(sentence: str, length: int) -> list[list[re.Match[str]]]:
    """Return the runs of so many different words without marks and capitals, after the first."""
    words = list(_WORD.finditer(sentence))
    plain = [bool(_PLAIN.fullmatch(m.group())) and m.group().lower() == m.group() for m in words]
    runs: list[list[re.Match[str]]] = []
    for start in range(1, len(words) - length + 1):
        run = words[start : start + length]
        different = len({match.group() for match in run}) == length
        if all(plain[start : start + length]) and different:
            runs.append(run)
    return runs


def _moved(words: list[str], draw: random.Random) -> list[str]:
    """Return different words in a random order that leaves none in its place."""
    moved = words
    while any(a == b for a, b in zip(moved, words, strict=True)):
        moved = draw.sample(words, len(words))
    return moved


def _put_in(sentence: str, places: Sequence[re.Match[str]], words: Sequence[str]) -> str:
    """Return the sentence with `words` at the places, right to left."""
    for place, word in reversed(list(zip(places, words, strict=True))):
        sentence = sentence[: place.start()] + word + sentence[place.end() :]
    return sentence


# --- tell the right form of a word ----------------------------------------------------------


def _agreements(documents: Sequence[Prose], items: int, draw: random.Random) -> list[Item]:
    """Return items with a sentence, and the same with a word's other form, such as were for was.

    Each form is the right one as often as the other, and the pairs share the items evenly.
    """
    found: dict[str, list[Item]] = defaultdict(list)
    for word, document, place, match in _in_turn(_forms(d, draw) for d in documents):
        if len(found[word]) == items // 2:
            continue
        context, sentence = document.context(place), document.sentence(place)
        if context is not None and _is_certain(word, match, context, sentence):
            wrong = _put_in(sentence, [match], [_OTHER_OF[word]])
            found[word].append(_item(context, sentence, [wrong], document.number, draw))
    couples = _in_turn(zip(found[a], found[b], strict=False) for a, b in _PAIRS)
    return [item for couple in islice(couples, items // 2) for item in couple]


def _forms(document: Prose, draw: random.Random) -> Iterator[tuple[str, Prose, int, re.Match[str]]]:
    """Yield a word of _PAIRS from each sentence that has any: the word, and where it stands."""
    for place in document.places(draw):
        if document.words[place] in SENTENCE_WORDS:
            matches = list(_PAIRED_WORD.finditer(document.sentence(place)))
            if matches:
                match = draw.choice(matches)
                yield match.group(), document, place, match


def _is_certain(word: str, match: re.Match[str], context: str, sentence: str) -> bool:
    """Return whether the other form would be wrong, as far as a rule can tell."""
    if word in ("a", "an"):  # an hour and a union are left out
        return (match.group(1).lower() in "aeiou") == (word == "an")
    if word not in _MALE | _FEMALE:
        return True
    own, other = (_MALE, _FEMALE) if word in _MALE else (_FEMALE, _MALE)
    before = Counter(_PLAIN.findall(context.lower()))
    others = Counter(_PLAIN.findall(sentence.lower())) + before
    return any(before[w] for w in own) and not any(others[w] for w in other)


# To add a task, add a line: its name, and what makes its items of documents.
TASKS: dict[str, Callable[[Sequence[Prose], int, random.Random], list[Item]]] = {
    "continuation": _continuations,
    "last_word": _last_words,
    "swapped_words": _swapped,
    "shuffled_words": _shuffled,
    "agreement": _agreements,
}
