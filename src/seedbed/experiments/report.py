"""The report of a comparison: report.html, report.md, and its figures as files.

All of it is made from the results and the experiment's folder. Written twice, it is the same: it
names no date. Only the minutes, and what the runs were made on, depend on the machine.
"""

from __future__ import annotations

from pathlib import Path

from seedbed.experiments.report_background import background_sections
from seedbed.experiments.report_material import read_material
from seedbed.experiments.report_page import page
from seedbed.experiments.report_sections import found_sections, key_facts
from seedbed.experiments.report_text import FIGURES, text
from seedbed.experiments.results import Results
from seedbed.files import write_text
from seedbed.plots.figures import save_figure


def write_report(folder: Path, results: Results) -> None:
    """Write report.html, report.md and figures/ to the folder of an experiment."""
    material = read_material(folder, results)
    facts = key_facts(results, material)
    sections = [*found_sections(results, material), *background_sections(results, material)]
    for section in sections:
        for picture in section.pictures:
            out = folder / FIGURES / f"{picture.name}.svg"
            save_figure(picture.drawing, out, title=picture.caption, rows=())
    write_text(folder / "report.md", text(results, facts, sections))
    write_text(folder / "report.html", page(results, facts, sections))
