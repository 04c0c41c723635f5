from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.errors import ConfigError
from seedbed.evaluation.task_files import save_tasks
from seedbed.evaluation.task_items import Item
from seedbed.experiments.planning import make_plan
from seedbed.experiments.task_sets import check_tasks, task_groups
from small_experiment import small_config

ITEM = Item("One and one is", (" two", " three"), 0, group=4)


def test_two_tasks_of_a_name_are_refused(tmp_path: Path) -> None:
    for folder in ("mine", "yours"):
        save_tasks(tmp_path / folder, {"sums": [ITEM]})
    save_tasks(tmp_path / "made", {"swapped_words.a": [ITEM]})
    mine, yours, made = (str(tmp_path / name) for name in ("mine", "yours", "made"))
    check_tasks(small_config(tmp_path / "texts", tasks=[mine, made]))
    with pytest.raises(ConfigError, match=r"two tasks called 'sums', the second in .*yours"):
        check_tasks(small_config(tmp_path / "texts", tasks=[mine, yours]))
    with pytest.raises(ConfigError, match=r"two tasks called 'swapped_words\.a'"):
        check_tasks(small_config(tmp_path / "texts", tasks=["swapped_words", made]))


def test_items_that_share_a_document_are_known_to(tmp_path: Path) -> None:
    save_tasks(tmp_path / "mine", {"sums": [ITEM, ITEM]})
    tasks = [str(tmp_path / "mine"), "swapped_words"]
    plan = make_plan(small_config(tmp_path / "texts", tasks=tasks, task_items=5), tmp_path / "out")
    groups = task_groups(plan, tmp_path / "out")
    assert groups["sums"] == [4, 4]
    assert {name: len(own) for name, own in groups.items()} == {t.name: t.items for t in plan.tasks}
    assert task_groups(plan.model_copy(update={"tasks": []}), tmp_path / "nowhere") == {}
