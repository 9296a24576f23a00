"""The report as one page: pictures, a filter, a table, and how it was measured.

Everything is in the file; it asks no host for anything. Without scripts all pictures and the whole
table are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Final

from .points import Findings
from .wording import COLUMNS, Sweeps, about, cells, file_name, sentence, short, title_of

_HERE: Final = Path(__file__).parent
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)


def page(findings: Findings, sweeps: Sweeps, drawn: Mapping[str, str]) -> str:
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    facts = "".join(f"<li>{escape(line)}</li>" for line in about(findings, sweeps))
    commands = "".join(
        f"<details><summary>{escape(each['device'])}: options of the sweep</summary><pre>"
        f"{escape(json.dumps(each['options'], indent=1))}</pre></details>"
        for each in sweeps
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>edgereason: accuracy against time</title>
<style>
{style}</style>
</head>
<body>
<h1>Which model, which way?</h1>
<p class="lead">{_lead(findings)}</p>
<form id="controls" hidden>{_controls(findings)}</form>
<main>{_figures(findings, drawn)}</main>
<div id="tip" role="status" hidden></div>
{_table(findings)}
<h2>From one point of the frontier to the next</h2>
<ul id="steps">{_steps(findings)}</ul>
<h2>How it was measured</h2>
<ul>{facts}</ul>
{commands}
<script>
{script}</script>
</body>
</html>
"""


def _lead(findings: Findings) -> str:
    settings = {(point.config, point.deadline_ms) for point in findings.points}
    models = {point.model for point in findings.points}
    return (
        f"{len(settings)} settings of {len(models)} models. A point is one setting: how often it "
        "is right, and how long a question takes. Nothing is as fast and better than a point of "
        "the frontier (grey line). Point at one for its figures and its command."
    )


def _controls(findings: Findings) -> str:
    tasks = "".join(
        f'<option value="{escape(task)}">{escape(title_of(task))}</option>'
        for task in findings.tasks
    )
    models = dict.fromkeys(point.model for point in findings.points)
    boxes = "".join(
        f'<label><input type="checkbox" name="model" value="{escape(model)}" checked>'
        f"{escape(short(model))}</label>"
        for model in models
    )
    ways = "".join(
        f'<option value="{escape(way)}">{escape(way)}</option>'
        for way in dict.fromkeys(point.way for point in findings.points)
    )
    energy = any(point.joules is not None for point in findings.points)
    axes = "".join(
        f'<option value="{axis}">{told}</option>'
        for axis, told in (("time", "time"), ("energy", "energy"), ("within", "time limits"))
        if energy or axis != "energy"
    )
    return f"""
<label>Task <select name="task">{tasks}</select></label>
<label>Against <select name="axis">{axes}</select></label>
<label>Way <select name="way"><option value="">all</option>{ways}</select></label>
<fieldset><legend>Models</legend>{boxes}</fieldset>
<label><input type="checkbox" name="deadlines" checked>with deadlines</label>
"""


def _figures(findings: Findings, drawn: Mapping[str, str]) -> str:
    parts = []
    for task in findings.tasks:
        name = file_name(task)
        for axis, file in (
            ("time", name),
            ("energy", f"{name}-energy"),
            ("within", f"{name}-within"),
        ):
            if file in drawn:
                parts.append(
                    f'<figure data-task="{escape(task)}" data-axis="{axis}">{drawn[file]}</figure>'
                )
    return "\n".join(parts)


def _table(findings: Findings) -> str:
    head = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in COLUMNS
    )
    rows = []
    for point in findings.points:
        own = "".join(f"<td>{escape(cell)}</td>" for cell in cells(point))
        deadline = "" if point.deadline_ms is None else f"{point.deadline_ms:g}"
        rows.append(
            f'<tr data-task="{escape(point.task)}" data-model="{escape(point.model)}" '
            f'data-way="{escape(point.way)}" data-deadline="{deadline}"'
            f"{' class=on' if point.frontier else ''}>{own}</tr>"
        )
    return (
        f'<h2>All settings</h2><div class="scroll"><table id="table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="note">Draws: share of draws of the questions in which the setting is on the '
        "frontier. J: joules, - where there was no meter.</p>"
    )


def _steps(findings: Findings) -> str:
    return "".join(
        f'<li data-task="{escape(step.task)}">{escape(sentence(step))}</li>'
        for step in findings.steps
    )
