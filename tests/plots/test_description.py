"""The page of a description has the plots that it should, with the numbers in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.data.describe import describe
from seedbed.errors import ConfigError
from seedbed.plots.description import check_page, write_page


def test_two_datasets_have_plots_of_what_they_have_in_common(tmp_path: Path) -> None:
    found = describe(["sample:stories:70", "sample:stories:80"])
    write_page(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("<svg") == 6
    assert found.comparison is not None
    shared = found.comparison.runs[1][0]
    assert isinstance(shared, float)
    assert f">{100 * shared:.1f}</text>" in text
    assert "currentColor" in text
    assert not list(tmp_path.glob("*.partial*"))


def test_one_dataset_has_no_squares(tmp_path: Path) -> None:
    write_page(describe(["sample:stories:60"]), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text().count("<svg") == 4


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "_a$b<c>.txt"
    path.write_text("Once upon a time there was a cat. " * 20)
    write_page(describe([str(path), "sample:stories:60"]), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "_a$b&lt;c&gt;" in text
    assert "<c>" not in text


def test_only_a_page_can_be_written(tmp_path: Path) -> None:
    for name in ("page.png", "page"):
        with pytest.raises(ConfigError, match=r"ends in \.html"):
            check_page(tmp_path / name)
