from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from model_shapes import random_model
from seedbed.data.samples import sample_stories
from seedbed.errors import DataError
from seedbed.evaluation.task_files import holds_tasks, load_tasks, save_tasks
from seedbed.evaluation.task_items import CONTEXT_WORDS, TASKS, Item, Prose, make_tasks
from seedbed.evaluation.tasks import TaskScore, clustered_interval, score_tasks
from seedbed.model.transformer import Transformer
from seedbed.statistics import wilson_interval
from seedbed.tokenizers.simple import ByteTokenizer

TOKENIZER = ByteTokenizer()
LENGTH = 64


@pytest.fixture(scope="module")
def stories() -> list[str]:
    return list(sample_stories(120, seed=4))


@pytest.fixture(scope="module")
def tasks(stories: list[str]) -> dict[str, list[Item]]:
    return make_tasks(stories, items=60)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return random_model(vocab_size=TOKENIZER.vocab_size, context_length=LENGTH)


def right(item: Item) -> str:
    return item.choices[item.answer]


def letters(text: str) -> Counter[str]:
    return Counter(text.split())


# --- making items ---------------------------------------------------------------------------


def test_there_are_items_of_every_task(tasks: dict[str, list[Item]]) -> None:
    assert set(tasks) == set(TASKS)
    assert all(0 < len(items) <= 60 for items in tasks.values())
    assert len(tasks["continuation"]) == len(tasks["swapped_words"]) == 60


@pytest.mark.parametrize("name", TASKS)
def test_the_right_choice_is_what_the_text_says(
    name: str, tasks: dict[str, list[Item]], stories: list[str]
) -> None:
    for item in tasks[name]:
        texts = [story for story in stories if item.context in story]
        assert any(item.context + right(item) in story for story in texts)
        wrong = [choice for choice in item.choices if choice != right(item)]
        assert len(wrong) == len(item.choices) - 1
        assert len(set(wrong)) == len(wrong)
        assert not item.context[-1].isspace()
        assert all(choice[0].isspace() and choice.strip() for choice in item.choices)


@pytest.mark.parametrize("name", TASKS)
def test_contexts_are_neither_short_nor_long(name: str, tasks: dict[str, list[Item]]) -> None:
    lengths = [len(item.context.split()) for item in tasks[name]]
    assert min(lengths) >= CONTEXT_WORDS.start
    assert max(lengths) < CONTEXT_WORDS.stop + 40  # with the sentence whose last word is asked for


def test_the_same_seed_makes_the_same_items_and_another_others(stories: list[str]) -> None:
    made = make_tasks(stories, seed=3, items=20)
    assert make_tasks(stories, seed=3, items=20) == made
    other = make_tasks(stories, seed=4, items=20)
    assert all(other[name] != made[name] for name in made)


@pytest.mark.parametrize("name", ["continuation", "last_word"])
def test_each_choice_is_the_right_one_of_one_item(name: str, tasks: dict[str, list[Item]]) -> None:
    choices = [frozenset(c.strip() for c in item.choices) for item in tasks[name]]
    marks = re.compile(r"\W+$")
    for start in range(0, len(choices), 4):
        own = tasks[name][start : start + 4]
        assert len({item.group for item in own}) == 1
        bare = [{marks.sub("", c) for c in own_choices} for own_choices in choices[start:][:4]]
        assert all(words == bare[0] for words in bare)
        assert {marks.sub("", right(item).strip()) for item in own} == bare[0]


def test_continuations_are_of_other_documents_and_about_as_long(
    tasks: dict[str, list[Item]], stories: list[str]
) -> None:
    spreads = []
    for item in tasks["continuation"]:
        homes = [next(s for s in stories if choice.strip() in s) for choice in item.choices]
        assert len(set(homes)) == len(item.choices)
        sizes = [len(choice.encode()) for choice in item.choices]
        spreads.append(max(sizes) / min(sizes))
    assert np.median(spreads) < 1.15


def test_a_context_has_all_last_words_where_there_are_such() -> None:
    fill = "The cat and the dog and the cow and the pig went to the mill and to the old town again."
    ends = [
        f"Then one more day went by and there came the {w}." for w in ("cat", "dog", "cow", "pig")
    ]
    text = " ".join([fill, *ends, *(f"Now nobody in town saw any {w}." for w in ("ants", "bees"))])
    made = make_tasks([text])["last_word"]
    assert {frozenset(item.choices) for item in made} == {
        frozenset({" cat.", " dog.", " cow.", " pig."})
    }
    assert {right(item) for item in made} == set(made[0].choices)


def test_else_last_words_are_of_the_same_document(
    tasks: dict[str, list[Item]], stories: list[str]
) -> None:
    for item in tasks["last_word"]:
        words = [choice.strip(" \n.!?\"'") for choice in item.choices]
        assert all(re.search(rf"\b{word}[.!?]", stories[item.group]) for word in words)


@pytest.mark.parametrize(("name", "moved"), [("swapped_words", 2), ("shuffled_words", 4)])
def test_words_in_a_row_are_moved_and_all_else_stays(
    name: str, moved: int, tasks: dict[str, list[Item]]
) -> None:
    for item in tasks[name]:
        first, second = (choice.split() for choice in item.choices)
        differ = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
        assert len(differ) == moved
        assert differ[-1] - differ[0] == moved - 1
        assert differ[0] > 0
        assert sorted(first) == sorted(second)


def test_each_form_of_a_word_is_right_as_often_as_the_other(tasks: dict[str, list[Item]]) -> None:
    changes = Counter()
    for item in tasks["agreement"]:
        own, other = right(item).split(), item.choices[1 - item.answer].split()
        [change] = [(a, b) for a, b in zip(own, other, strict=True) if a != b]
        changes[change] += 1
    assert len(changes) >= 4
    assert all(changes[b, a] == count for (a, b), count in changes.items())


AGREEMENT = """It rained in the town for the whole day and nobody had come to the little shop \
since nine in the morning. {}"""


@pytest.mark.parametrize(
    ("sentences", "forms"),
    [
        ("Then Tom ate an apple in the sun. Then Ann ate a pear in the sun.", {"a", "an"}),
        ("Then Tom sat for an hour in a sun. Then Ann was in a union of cooks.", set()),
        (
            "Then the shops were shut by the men. Then the shop was shut by the men.",
            {"was", "were"},
        ),
        ("Then he shut the door of the shop. Then she shut the door of the shop.", set()),
    ],
)
def test_only_forms_that_must_be_right_are_taken(sentences: str, forms: set[str]) -> None:
    made = make_tasks([AGREEMENT.format(sentences)]).get("agreement", [])
    found = [set(right(i).split()) - set(i.choices[1 - i.answer].split()) for i in made]
    assert set().union(*found) == forms


def test_he_and_she_are_asked_where_the_context_tells() -> None:
    him = "The boy went to the mill and took his dog and his red hat with him all the way up to it."
    her = him.replace("boy", "girl").replace("his", "her").replace("him", "her")
    texts = [f"{him} Then he saw the big old mill.", f"{her} Then she saw the big old mill."]
    made = make_tasks(texts)["agreement"]
    assert {right(item) for item in made} == {text[text.index(" Then") :] for text in texts}
    both = [text.replace("mill", "mill of his and her aunt", 1) for text in texts]
    assert "agreement" not in make_tasks(both)


def test_text_that_is_too_short_makes_no_task() -> None:
    assert make_tasks([]) == {}
    assert make_tasks(["", "One. Two. Three.", "a" * 500]) == {}


def test_sentences_end_at_marks_and_blank_lines() -> None:
    prose = Prose.of(' A "b c!" d e.\n\nTitle\n\nLast ones? No', 0)
    assert [prose.text[a:b] for a, b in prose.spans] == [
        'A "b c!"',
        "d e.",
        "Title",
        "Last ones?",
        "No",
    ]
    assert prose.words == (3, 2, 1, 2, 1)
    assert prose.sentence(2) == "\n\nTitle"


# --- scoring --------------------------------------------------------------------------------


def slow_nats(model: Transformer, item: Item, choice: str, length: int = LENGTH) -> float:
    """Return what a choice of a byte model costs after the context, or its last bytes."""
    context, ids = TOKENIZER.encode(item.context), TOKENIZER.encode(choice)
    whole = [TOKENIZER.special.bos, *context, *ids][-(length + 1) :]
    with torch.no_grad():
        logits = model(torch.tensor([whole[:-1]]))[0].double().log_softmax(-1)
    places = range(len(whole) - len(ids), len(whole))
    return -sum(logits[place - 1, whole[place]].item() for place in places)


def test_scores_are_those_of_one_choice_at_a_time(
    model: Transformer, tasks: dict[str, list[Item]]
) -> None:
    scores = score_tasks(model, TOKENIZER, tasks)
    assert list(scores) == list(tasks)
    for name, items in tasks.items():
        fits = [i for i, item in enumerate(items) if len(max(item.choices, key=len)) < LENGTH][:6]
        costs = [[slow_nats(model, items[i], c) for c in items[i].choices] for i in fits]
        sizes = [[len(c.encode()) for c in items[i].choices] for i in fits]
        for i, cost, size in zip(fits, costs, sizes, strict=True):
            best = int(np.argmin(np.divide(cost, size)))
            assert scores[name].correct[i] == (best == items[i].answer)
            assert scores[name].correct_plain[i] == (int(np.argmin(cost)) == items[i].answer)


def test_a_choice_longer_than_the_context_counts_whole(model: Transformer) -> None:
    long = " " + "b" * 200
    items = [Item("a", (long, long[:-1] + "c"), 0, 0), Item("a", (long[:-1] + "c", long), 1, 1)]
    score = score_tasks(model, TOKENIZER, {"x": items})["x"]
    assert score.correct[0] == score.correct[1]
    assert score.correct[0] in (0.0, 1.0)


def test_a_choice_that_costs_the_same_is_right_by_its_share(model: Transformer) -> None:
    items = [Item("One", (" two", " two", " two", " two"), 2, 0)]
    score = score_tasks(model, TOKENIZER, {"x": items})["x"]
    assert score.correct.tolist() == score.correct_plain.tolist() == [0.25]
    assert score.chance == 0.25


def test_a_model_that_ignores_the_context_is_right_by_chance(
    tasks: dict[str, list[Item]],
) -> None:
    """Its choice is the same for each item of a group, so it is right once in each."""
    deaf = random_model(vocab_size=TOKENIZER.vocab_size, context_length=LENGTH)
    with torch.no_grad():
        for block in deaf.blocks:
            for parameter in block.parameters():
                parameter.zero_()  # what is left predicts from the byte before
    continuation = [
        Item("x", tuple(" " + c.strip() for c in item.choices), item.answer, item.group)
        for item in tasks["continuation"]
    ]
    score = score_tasks(deaf, TOKENIZER, {"x": continuation})["x"]
    assert score.accuracy == score.plain_accuracy == score.chance == 0.25
    assert score.interval[0] < 0.25 < score.interval[1]


def test_a_narrow_window_forgets_the_beginning(model: Transformer) -> None:
    near = Item("a" * 20 + "end", (" b", " c"), 0, 0)
    far = Item("z" * 20 + "end", (" b", " c"), 0, 0)
    costs = [slow_nats(model, item, " b", length=4) for item in (near, far)]
    assert costs[0] == pytest.approx(costs[1])
    scores = score_tasks(model, TOKENIZER, {"n": [near], "f": [far]}, window=4)
    assert scores["n"].correct.tolist() == scores["f"].correct.tolist()


# --- chance ---------------------------------------------------------------------------------


def test_an_interval_over_groups_is_as_wide_as_over_as_many_items() -> None:
    draw = np.random.default_rng(0)
    once = (draw.random(200) < 0.7).astype(float)
    alone = clustered_interval(once, np.arange(200))
    assert alone == pytest.approx(wilson_interval(once.sum(), 200), abs=1e-3)
    thrice = clustered_interval(np.repeat(once, 3), np.repeat(np.arange(200), 3))
    assert thrice == pytest.approx(alone, abs=1e-3)
    wrongly = clustered_interval(np.repeat(once, 3), np.arange(600))
    assert wrongly[1] - wrongly[0] < 0.65 * (thrice[1] - thrice[0])


def test_intervals_over_groups_hold_the_truth_19_times_in_20() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        easy = draw.beta(2, 2, size=60)  # of each group: 0.5 on average
        correct = (draw.random((60, 5)) < easy[:, None]).astype(float)
        low, high = clustered_interval(correct.ravel(), np.repeat(np.arange(60), 5))
        held += low < 0.5 < high
    assert 0.92 <= held / 400 <= 0.98


def test_all_right_and_a_single_group_still_have_an_interval() -> None:
    assert clustered_interval(np.ones(10), np.arange(10)) == wilson_interval(10, 10)
    assert clustered_interval([1.0, 0.0], [7, 7]) == wilson_interval(1, 2)
    score = TaskScore(np.ones(3), np.ones(3), np.zeros(3, dtype=np.int64), 0.5)
    assert np.isnan(score.standard_error)


# --- files ----------------------------------------------------------------------------------


def test_tasks_come_back_from_their_folder(tmp_path: Path, tasks: dict[str, list[Item]]) -> None:
    save_tasks(tmp_path / "tasks", tasks)
    assert load_tasks(tmp_path / "tasks") == dict(sorted(tasks.items()))
    assert holds_tasks(tmp_path / "tasks")
    one = tmp_path / "tasks" / "agreement.jsonl"
    assert load_tasks(one) == {"agreement": tasks["agreement"]}
    with pytest.raises(DataError, match="is there already"):
        save_tasks(tmp_path / "tasks", tasks)


def test_items_of_others_are_read(tmp_path: Path) -> None:
    record = {"context": "", "choices": ["Yes", "No"], "answer": 1, "source": "somewhere"}
    (tmp_path / "own.jsonl").write_text("\n" + json.dumps(record) + "\n" + json.dumps(record))
    assert load_tasks(tmp_path) == {
        "own": [Item("", ("Yes", "No"), 1, 2), Item("", ("Yes", "No"), 1, 3)]
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "x.jsonl line 2 is not JSON"),
        ("[1]", "line 2 is no item"),
        ('{"context": "a", "choices": ["b"], "answer": 0}', "line 2 is no item. Write"),
        ('{"context": "a", "choices": ["b", ""], "answer": 0}', "line 2 is no item. Write"),
        ('{"context": 1, "choices": ["b", "c"], "answer": 0}', "line 2 is no item. Write"),
        (
            '{"context": "a", "choices": ["b", "c"], "answer": 2}',
            "`answer` is 2 but must be .* 0 to 1",
        ),
        ('{"context": "a", "choices": ["b", "c"], "answer": true}', "`answer` is true"),
        ('{"context": "a", "choices": ["b", "c"], "answer": 0, "group": "g"}', '`group` is "g"'),
    ],
)
def test_what_is_no_item_is_told_with_its_line(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        '{"context": "a", "choices": ["b", "c"], "answer": 0}\n' + line + "\n"
    )
    with pytest.raises(DataError, match=message):
        load_tasks(tmp_path)


def test_a_folder_of_text_holds_no_tasks(tmp_path: Path) -> None:
    assert not holds_tasks(tmp_path)
    assert not holds_tasks(tmp_path / "none")
    (tmp_path / "a.jsonl").write_text('{"text": "choices"}\n')
    assert not holds_tasks(tmp_path)
    (tmp_path / "a.jsonl").write_text("no JSON\n")
    assert not holds_tasks(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="holds no task"):
        load_tasks(tmp_path / "none")
