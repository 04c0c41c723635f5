"""The notebook runs from top to bottom, small; and it is committed without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "tinystories.ipynb"
SMALL = """
SOURCE, STORIES, VOCABULARY = "sample:stories:60", 60, 300
SIZE, CONTEXT, HORIZON, NEW_TOKENS, WRITTEN = "0.1m", 128, "6 steps", 20, 6
"""


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_valid_and_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_it_has_the_ten_steps_in_order(notebook: nbformat.NotebookNode) -> None:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    steps = [line.split(".")[0] for line in text.splitlines() if line.startswith("## ")]
    assert steps == [*(f"## {n}" for n in range(1, 11)), "## Where next"]


def test_it_runs_from_top_to_bottom(
    notebook: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = [
        i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])
    ]
    assert len(parameters) == 1
    notebook.cells.insert(parameters[0] + 1, nbformat.v4.new_code_cell(SMALL))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    printed = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    assert len(pictures) == 2  # the schedule, the losses
    assert printed.count("Once upon a time there was a pumpkin.") == 3  # one for each way to sample
    assert "bits per byte" in printed
    assert "distinct pairs" in printed
    assert "BLEU" in printed
    assert (tmp_path / "tinystories" / "run" / "checkpoints" / "best").is_dir()
