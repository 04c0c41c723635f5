"""Facts about the sample stories."""

import re
from collections import Counter

import pytest

from seedbed.data.grammar import read_templates
from seedbed.data.samples import sample_stories


@pytest.fixture(scope="module")
def stories():
    return list(sample_stories(5_000, seed=0))


def runs_of_words(story, length):
    words = story.split()
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def test_a_seed_tells_the_same_stories_again():
    assert list(sample_stories(50, seed=3)) == list(sample_stories(50, seed=3))


def test_fewer_stories_are_the_first_of_more(stories):
    assert list(sample_stories(10, seed=0)) == stories[:10]


def test_another_seed_tells_other_stories(stories):
    assert not set(sample_stories(1_000, seed=1)) & set(stories)


def test_no_story_is_told_twice(stories):
    assert len(set(stories)) == len(stories)


def test_stories_have_80_to_200_words(stories):
    assert all(80 <= len(story.split()) <= 200 for story in stories)


def test_twenty_words_in_a_row_seldom_occur_in_other_stories(stories):
    seen = set().union(*(runs_of_words(story, 20) for story in stories))
    fresh = list(sample_stories(200, seed=1))
    repeating = sum(not seen.isdisjoint(runs_of_words(story, 20)) for story in fresh)
    assert repeating / len(fresh) <= 0.03


def test_vocabulary_is_rich_and_its_words_come_often_enough_to_be_learned(stories):
    counts = Counter(re.findall(r"[a-z]+", " ".join(stories).lower()))
    assert len(counts) >= 1_500
    assert sum(count >= 50 for count in counts.values()) >= 1_000


def test_there_are_over_80_plots_and_each_is_told(stories):
    templates = {name: template for name, _, template in read_templates("story_grammar")}
    troubles = set(templates["trouble"].split("|"))
    assert len(troubles) >= 20
    assert sum(len(set(templates[f"{trouble}.way"].split("|"))) for trouble in troubles) >= 80


def test_about_a_third_begin_with_once_upon_a_time(stories):
    share = sum(story.startswith("Once upon a time, ") for story in stories) / len(stories)
    assert 0.25 <= share <= 0.5
    assert len({" ".join(story.split()[:3]) for story in stories}) >= 100


def test_some_stories_have_paragraphs_and_most_have_speech(stories):
    assert 0.1 <= sum("\n\n" in story for story in stories) / len(stories) <= 0.6
    assert sum('"' in story for story in stories) / len(stories) >= 0.8


def test_text_is_plain_and_no_grammar_mark_is_left(stories):
    allowed = re.compile(r"""[A-Za-z ,.!?:'"\-\n]+""")
    assert not [story for story in stories if not allowed.fullmatch(story)]


@pytest.mark.parametrize(
    "mistake",
    [
        r"\b[Aa] [aeiou]",  # a apple
        r"\b[Aa]n (?!honest\b|hour\b)[^aeiou]",  # an kite
        r"  |^\s|\s$| \n|\n |\n{3}",
        r"\s[,.!?]|,[,.!?]|[.?!],|!\.|\?\.|[?!]{2}|(?<!\.)\.\.(?!\.)",
        r"[.!?]\s+[a-z](?<!\.\.\. [a-z])",  # a sentence without its capital
        r"""[A-Za-z,]"?$""",  # a story without its end
        r"\b(\w+) \1\b(?<!very very)(?<!so so)",
        r"[a-z] +\"[a-z]",
    ],
)
def test_no_story_has_this_mistake(stories, mistake):
    found = [match.group() for story in stories if (match := re.search(mistake, story))]
    assert not found


def test_every_quotation_is_closed_in_its_paragraph(stories):
    quotation = re.compile(r"""(?<!\S)"[A-Za-z][^"]*[,.!?]"(?!\w)""")
    for story in stories:
        for paragraph in story.split("\n\n"):
            assert '"' not in quotation.sub("", paragraph)


def test_what_the_story_is_about_keeps_its_colour(stories):
    kites = [
        story for story in stories if re.search(r"\bkite\b", story) and "kite day" not in story
    ]
    assert kites
    for story in kites:
        colours = set(re.findall(r"\b(red|blue|green|yellow|purple|orange|white) kite\b", story))
        assert len(colours) <= 1


def test_a_story_has_one_hero_of_one_sex(stories):
    for story in stories:
        child = re.search(r"\b(girl|boy)\b", story)
        if child and not re.search(
            r"mother|father|aunt|uncle|sister|brother|friend|neighbour", story
        ):
            wrong = r"\b(he|him|his)\b" if child.group() == "girl" else r"\b(she|her)\b"
            assert not re.search(wrong, story), story
