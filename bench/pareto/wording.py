"""A sweep in words: names, cells of tables, sentences. What the page and the Markdown both say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final, TypeAlias

from ..harness.report import shown
from .points import ALL, Findings, Point, Step

Sweeps: TypeAlias = Sequence[Mapping[str, Any]]
"""What `job` keeps of each sweep beside its trials."""

COLUMNS: Final = (
    "model", "way", "right", "95 %", "s, median", "95 %", "s, p95", "tokens", "J", "draws",
)  # fmt: skip


def short(model: str) -> str:
    """A model's name for people: a file without its folder and ending."""
    name = PurePath(model).name if "/" in model and not model.startswith("hf:") else model
    return name.removesuffix(".gguf").removesuffix(".onnx")


def title_of(task: str) -> str:
    return "All tasks" if task == ALL else task


def file_name(task: str) -> str:
    return re.sub(r"[^\w.-]+", "-", task)


def told(point: Point) -> str:
    """A point in words, for those who point at it."""
    time = "" if point.median_ms is None else f", {point.median_ms / 1000:.3g} s in the median"
    energy = "" if point.joules is None else f", {point.joules:.3g} J"
    return (
        f"{short(point.model)} {point.label}: {100 * point.accuracy:.0f} % right "
        f"({100 * point.accuracy_low:.0f} to {100 * point.accuracy_high:.0f}) of {point.num}"
        f"{time}{energy}\n{point.command}"
    )


def cells(point: Point) -> list[str]:
    """A point as a row of a table for people; times in seconds."""

    def seconds(value: float | None) -> str:
        return shown(None if value is None else value / 1000)

    span = f"{seconds(point.median_low)} to {seconds(point.median_high)}"
    return [
        short(point.model),
        point.label + (f" ({point.note})" if point.note else ""),
        f"{100 * point.accuracy:.0f} % of {point.num}",
        f"{100 * point.accuracy_low:.0f} to {100 * point.accuracy_high:.0f}",
        seconds(point.median_ms),
        span if point.median_ms is not None else "-",
        seconds(point.p95_ms),
        f"{point.tokens:.0f}",
        shown(point.joules),
        "-" if point.on_time is None else f"{100 * point.on_time:.0f} %",
    ]


def sentence(step: Step) -> str:
    """One step of a frontier in words."""
    found = step.difference
    told = "not told apart" if step.p_holm >= 0.05 else found.told
    return (
        f"{short(step.dearer.model)} {step.dearer.label} against {short(step.cheaper.model)} "
        f"{step.cheaper.label}: {100 * found.mean:+.0f} points ({100 * found.low:+.0f} to "
        f"{100 * found.high:+.0f}), {found.only_second} and {found.only_first} questions only one "
        f"has right, p {step.p_holm:.2g} (Holm): {told}"
    )


def about(findings: Findings, sweeps: Sweeps) -> list[str]:
    """Who measured what where, and how sure it is."""
    lines = []
    for each in sweeps:
        machine, options = each["machine"], each["options"]
        lines.append(
            f"{each['device']}: {machine['cpu']}, {machine['num_cores']} cores; commit "
            f"{each['commit'] or 'unknown'}; {each['at']}, {each['seconds'] / 60:.0f} minutes in "
            f"{each['runs']} runs; seed {options['seed']}, temperature {options['temperature']:g}, "
            f"threads {options['threads'] or 'by load'}, answers of at most "
            f"{options['answer_tokens']} tokens"
        )
        versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
        lines.append(f"{each['device']}: Python {machine['python']}, {versions}")
    low, high = findings.others_cores
    lines.append(
        f"{findings.num_trials} trials, {findings.num_read_off} of them read off others' tokens; "
        f"other programs kept {low:.2f} cores busy in the median, {high:.2f} at most"
    )
    checks = findings.checks
    if checks.num:
        told = (
            f"of {checks.num} trials that were read off and run as well, {checks.same_answer} gave "
            f"the same answer and {checks.same_right} the same verdict"
        )
        if checks.ratios:
            ordered = sorted(checks.ratios)
            told += (
                f"; time read off is {ordered[len(ordered) // 2]:.2f} of the time measured in the "
                f"median ({ordered[0]:.2f} to {ordered[-1]:.2f})"
            )
        lines.append(told)
    return lines
