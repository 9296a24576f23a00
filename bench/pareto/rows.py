"""From trials to rows: one setting, question by question, beside others on the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final, TypeAlias

import numpy as np

from .statistics import Bools, Floats

CHECK: Final = "-check"
"""Behind the `config` of a run that only checks what was read off."""

_ENOUGH: Final = 0.5  # of the questions of the fullest setting: with fewer it is left out
_SAME: Final = (
    "model", "answer_limit", "temperature", "threads", "context", "think_limit", "task",
    "question", "seed", "device",
)  # fmt: skip

Trials: TypeAlias = Sequence[Mapping[str, Any]]
Grouped: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Checks:
    """Settings that were read off and run on the same question.

    `ratios`: time read off / time measured, where the former is known.
    """

    num: int = 0
    same_answer: int = 0
    same_right: int = 0
    ratios: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One setting, perhaps with a deadline, on the questions that are compared."""

    first: Mapping[str, Any]  # a trial of it, for its names
    source: str
    right: Bools
    times: Floats  # nan where not known
    tokens: float
    joules: Floats
    deadline_ms: float | None = None

    @property
    def is_timed(self) -> bool:
        return bool(np.all(np.isfinite(self.times)))

    @property
    def is_metered(self) -> bool:
        return bool(np.all(np.isfinite(self.joules)))

    def within(self, deadline_ms: float) -> Row:
        return replace(
            self,
            right=self.right & (self.times <= deadline_ms),
            times=np.minimum(self.times, deadline_ms),
            joules=np.full(len(self.joules), np.nan),  # nobody ended it at the deadline
            deadline_ms=deadline_ms,
        )


def time_votes(trials: Sequence[dict[str, Any]], checked: Trials) -> None:
    """Gives smaller votes the time of their run, times what both took where both were run."""
    whole = {_place(row, row["way"]): row["total_ms"] for row in trials}
    ratios: dict[str, list[float]] = {}
    ofs = {row["config"]: row["of"] for row in trials if row["of"]}
    for row in checked:
        config = row["config"].removesuffix(CHECK)
        run = whole.get(_place(row, ofs.get(config, "")))
        if run:
            ratios.setdefault(config, []).append(row["total_ms"] / run)
    for row in trials:
        if row["total_ms"] is None and row["config"] in ratios:
            run = whole.get(_place(row, row["of"]))
            row["total_ms"] = None if run is None else run * median(ratios[row["config"]])


def _place(row: Mapping[str, Any], way: str) -> tuple[Any, ...]:
    return (way, *(row[name] for name in _SAME))


def rows_of(
    trials: Sequence[dict[str, Any]], dropped: Mapping[tuple[str, str], str], num_tasks: int
) -> tuple[list[Row], list[tuple[Grouped, str]]]:
    """Settings that can be compared, and those that cannot, with the reason."""
    groups: dict[tuple[str, str], Grouped] = {}
    for row in trials:
        groups.setdefault((row["config"], row["device"]), []).append(row)
    most = max(map(len, groups.values()), default=0)
    others = []
    for (config, device), own in list(groups.items()):
        few = len(own) < _ENOUGH * most or len({row["task"] for row in own}) < num_tasks
        if (config, device) in dropped or few:
            why = dropped.get((config, device), "too few of the questions")
            others.append((groups.pop((config, device)), why))
    asked = [{_question(row) for row in own} for own in groups.values()]
    common = sorted(set.intersection(*asked)) if asked else []
    rows = [_row(own, common) for own in groups.values()] if common else []
    return rows, others


def _question(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["task"], row["question"], row["seed"]


def _row(own: Grouped, common: Sequence[tuple[str, str, int]]) -> Row:
    by_question = {_question(row): row for row in own}
    chosen = [by_question[each] for each in common]
    sources = {row["source"] for row in chosen}

    def column(name: str) -> Floats:
        return np.array([np.nan if row[name] is None else row[name] for row in chosen], float)

    return Row(
        first=chosen[0],
        source=sources.pop() if len(sources) == 1 else "both",
        right=np.array([row["right"] for row in chosen], dtype=np.bool_),
        times=column("total_ms"),
        tokens=float(np.mean(column("reasoning_tokens") + column("answer_tokens"))),
        joules=column("joules"),
    )


def checks(trials: Trials, checked: Trials) -> Checks:
    read = {
        (row["config"], row["device"], *_question(row)): row
        for row in trials
        if row["source"] == "read off"
    }
    pairs = [
        (read[place], row)
        for row in checked
        if (place := (row["config"].removesuffix(CHECK), row["device"], *_question(row))) in read
    ]
    timed = [(a, b) for a, b in pairs if a["prefill_ms"] is not None]
    return Checks(
        len(pairs),
        sum(a["answer"] == b["answer"] for a, b in pairs),
        sum(a["right"] == b["right"] for a, b in pairs),
        tuple(a["total_ms"] / b["total_ms"] for a, b in timed),
    )
