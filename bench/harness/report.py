"""The report of a bench: tables and remarks for people, plots, and one JSON object.

Knows neither who measured nor how.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgereason.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Table:
    """Figures for people."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of the figures: `series` are points by name, drawn with lines where `joined`."""

    name: str
    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    joined: bool = True
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """What a bench found: figures for machines, tables, remarks and plots for people. Plots are
    drawn with `--save`, as SVG.
    """

    figures: Mapping[str, Any]
    tables: tuple[Table, ...]
    remarks: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()


def publish(report: Mapping[str, Any], findings: Findings, folder: Path | None = None) -> None:
    """Prints tables and remarks; keeps them as `BENCH.json`, `BENCH.md` and plots where a folder is
    given; the last line printed is the report as one JSON object."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in findings.tables:
        console.print(_rich(table))
    for remark in findings.remarks:
        console.print(remark, markup=False)
    line = json.dumps(_plain(report), allow_nan=False)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{report['bench']}.json").write_text(line + "\n", encoding="utf-8")
        (folder / f"{report['bench']}.md").write_text(markdown(report, findings), encoding="utf-8")
        for plot in findings.plots:
            _draw(plot, folder / f"{plot.name}.svg")
    print(line, flush=True)


def markdown(report: Mapping[str, Any], findings: Findings) -> str:
    """The tables with who measured them, as a file to keep."""
    about = report["machine"]
    lines = [
        f"# {report['bench']}",
        "",
        f"{report['at']}, commit {report['commit'] or 'unknown'}, {about['cpu']}, "
        f"{about['num_cores']} cores, {report['seconds']:.0f} s, others kept "
        f"{report['load']['others_cores_during']:.2f} cores busy",
        "",
        f"    {report['command']}",
        "",
    ]
    for table in findings.tables:
        lines += [f"## {table.title}", "", _markdown_row(table.columns)]
        lines.append(_markdown_row(["---"] * len(table.columns)))
        lines += [_markdown_row([shown(cell) for cell in row]) for row in table.rows]
        lines.append("")
    lines += [f"* {remark}" for remark in findings.remarks]
    lines += [f"\n![{plot.title}]({plot.name}.svg)" for plot in findings.plots]
    return "\n".join(lines).rstrip() + "\n"


def _draw(plot: Plot, path: Path) -> None:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError(
            "plots are drawn with matplotlib, which is not installed",
            "pip install 'edgereason[plots]'",
        ) from None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    for name, points in plot.series.items():
        xs, ys = zip(*points, strict=True) if points else ((), ())
        axes.plot(xs, ys, "o-" if plot.joined else "o", label=name)
    if plot.log_x:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    if len(plot.series) > 1:
        axes.legend(fontsize="small")
    with mpl.rc_context({"svg.hashsalt": plot.name}):  # the same figures give the same file
        figure.savefig(path, metadata={"Date": None})


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rich(table: Table) -> Any:
    from rich.table import Table as RichTable

    made = RichTable(title=table.title, title_justify="left")
    for index, column in enumerate(table.columns):
        made.add_column(column, justify="left" if index == 0 else "right")
    for row in table.rows:
        made.add_row(*(shown(cell) for cell in row))
    return made


def shown(cell: object) -> str:
    """A cell as text: three digits are enough for people."""
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return "-"
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return "-" if cell is None else str(cell)


def _plain(value: object) -> object:
    """As JSON has it, which knows neither paths nor nan."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, type(None))) else str(value)
