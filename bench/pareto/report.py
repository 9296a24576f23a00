"""The report of a sweep: a page, a table for spreadsheets, Markdown, pictures.

report.html    one file, no outside host: pictures, filter, table, commands
report.md      the same figures without a browser
points.csv     one line a point
TASK.svg, TASK-energy.svg, TASK-within.svg
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from .page import page
from .picture import Axis, curves, scatter, styles
from .points import Findings, Point, Step
from .wording import COLUMNS, Sweeps, about, cells, file_name, sentence, title_of


def write(folder: Path, findings: Findings, sweeps: Sweeps) -> None:
    """Writes all files of the report; those of an earlier one are replaced."""
    drawn = pictures(findings)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
    (folder / "points.csv").write_text(table(findings.points), encoding="utf-8", newline="")
    (folder / "report.md").write_text(markdown(findings, sweeps, drawn), encoding="utf-8")
    (folder / "report.html").write_text(page(findings, sweeps, drawn), encoding="utf-8")


def pictures(findings: Findings) -> dict[str, str]:
    """SVG by name; tasks without a figure of that kind have none."""
    style = styles(findings.points)
    drawn: dict[str, str] = {}
    for task in findings.tasks:
        own = [point for point in findings.points if point.task == task]
        name, title = file_name(task), title_of(task)
        axes: tuple[tuple[Axis, str], ...] = (("time", name), ("energy", f"{name}-energy"))
        for axis, file in axes:
            drawn[file] = scatter(own, axis, f"{title}: right against {axis}", style)
        lines = findings.curves.get(task, {})
        drawn[f"{name}-within"] = curves(
            lines, f"{title}: right within a time, best setting of each model", style
        )
    return {name: svg for name, svg in drawn.items() if svg}


def table(points: Sequence[Point]) -> str:
    """CSV, one line a point, its fields as columns."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Point)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(point) for point in points)
    return out.getvalue()


# --- Markdown -------------------------------------------------------------------------------------


def markdown(findings: Findings, sweeps: Sweeps, drawn: Mapping[str, str]) -> str:
    lines = ["# Accuracy against time", ""]
    lines += [f"* {line}" for line in about(findings, sweeps)]
    for task in findings.tasks:
        own = [point for point in findings.points if point.task == task]
        lines += ["", f"## {title_of(task)}", ""]
        if file_name(task) in drawn:
            lines += [f"![{title_of(task)}]({file_name(task)}.svg)", ""]
        lines += [f"Hypervolume {findings.hypervolumes[task]:.3f} up to "
                  f"{findings.references_ms[task] / 1000:.3g} s. The frontier:", ""
                  ] if task in findings.hypervolumes else []  # fmt: skip
        on = sorted((p for p in own if p.frontier), key=lambda p: p.median_ms or 0.0)
        lines += _rows(on)
        lines += _told_apart([step for step in findings.steps if step.task == task])
        rest = [point for point in own if not point.frontier]
        lines += ["", f"The other {len(rest)}:", "", *_rows(rest)] if rest else []
    return "\n".join(lines) + "\n"


def _rows(points: Sequence[Point]) -> list[str]:
    rows = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    return [*rows, *(_row(cells(point)) for point in points)]


def _told_apart(steps: Sequence[Step]) -> list[str]:
    if not steps:
        return []
    return ["", "From each to the next dearer one:", "", *(f"* {sentence(s)}" for s in steps)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
