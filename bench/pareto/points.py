"""From trials to points: one figure a setting, with what chance could have made of it.

All settings of a task are compared on the questions that all of them answered. `all` is the tasks
together, each question counting the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..harness.runner import wilson
from .frontier import frontier, hypervolume, share_on_frontier
from .plan import Setting
from .rows import CHECK, Checks, Grouped, Row, checks, rows_of, time_votes
from .statistics import (
    Bools,
    Difference,
    Draws,
    Floats,
    accuracy_within,
    difference,
    holm,
    interval,
)

if TYPE_CHECKING:
    import polars

ALL: Final = "all"
_SURE: Final = 0.8  # share of draws


@dataclass(frozen=True, slots=True)
class Point:
    """One setting on one task. Times are milliseconds a question; intervals are of 95 %.

    Attributes:
        deadline_ms: what came later counts as wrong, and as having taken that long.
        source: `run`, `read off`, or `both` where some questions had to be run.
        frontier: nothing else is as fast and as often right.
        on_time, on_energy: share of draws of questions in which that is so, None if not known.
        note: why it was dropped, or left out.
    """

    task: str
    device: str
    model: str
    quant: str
    way: str
    deadline_ms: float | None
    config: str
    source: str
    num: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    median_ms: float | None
    median_low: float | None
    median_high: float | None
    p95_ms: float | None
    p95_low: float | None
    p95_high: float | None
    tokens: float
    joules: float | None
    frontier: bool
    on_time: float | None
    on_energy: float | None
    note: str
    command: str

    @property
    def label(self) -> str:
        limit = "" if self.deadline_ms is None else f" ≤ {self.deadline_ms / 1000:g} s"
        return f"{self.way}{limit}"

    @property
    def is_sure(self) -> bool:
        return self.on_time is not None and self.on_time >= _SURE


@dataclass(frozen=True, slots=True)
class Step:
    """Two neighbours on a frontier: is the dearer one surely better?"""

    task: str
    cheaper: Point
    dearer: Point
    difference: Difference
    p_holm: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a report says."""

    points: tuple[Point, ...]
    steps: tuple[Step, ...]
    checks: Checks
    hypervolumes: Mapping[str, float]
    references_ms: Mapping[str, float]
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]  # task, model: ms, share
    num_trials: int
    num_read_off: int
    others_cores: tuple[float, float]  # median and largest

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(point.task for point in self.points))


def points(
    frame: polars.DataFrame,
    deadlines_ms: Sequence[float] = (),
    dropped: Mapping[tuple[str, str], str] | None = None,
    *,
    seed: int = 0,
) -> Findings:
    """`dropped`: config and device -> why it was asked no further there."""
    trials = [row for row in frame.to_dicts() if not row["config"].endswith(CHECK)]
    checked = [row for row in frame.to_dicts() if row["config"].endswith(CHECK)]
    time_votes(trials, checked)
    tasks = list(dict.fromkeys(row["task"] for row in trials))
    made: list[Point] = []
    steps: list[Step] = []
    volumes: dict[str, float] = {}
    references: dict[str, float] = {}
    curves: dict[str, Mapping[str, Sequence[tuple[float, float]]]] = {}
    for task in tasks if len(tasks) == 1 else [ALL, *tasks]:
        own = [row for row in trials if task in (ALL, row["task"])]
        rows, others = rows_of(own, dropped or {}, len(tasks) if task == ALL else 1)
        timed = [row for row in rows if row.is_timed]
        rows += [row.within(limit) for row in timed for limit in deadlines_ms]
        if rows:
            found, between = _compared(task, rows, seed)
            made += found
            steps += between
            references[task] = 1.1 * max((_median(row.times) for row in timed), default=1.0)
            volumes[task] = _volume(found, references[task])
            curves[task] = _curves(timed, references[task])
        made += [_left_out(task, own, why) for own, why in others]
    loads = [row["others_cores"] for row in trials if row["others_cores"] is not None] or [0.0]
    return Findings(
        tuple(made),
        tuple(steps),
        checks(trials, checked),
        volumes,
        references,
        curves,
        len(trials) + len(checked),
        sum(row["source"] == "read off" for row in trials),
        (median(loads), max(loads)),
    )


# --- figures --------------------------------------------------------------------------------------


def _compared(task: str, rows: Sequence[Row], seed: int) -> tuple[list[Point], list[Step]]:
    draws = Draws.of(len(rows[0].right), seed=seed)
    right = np.stack([row.right for row in rows])
    values = draws.means(right)
    times = np.stack([row.times for row in rows])
    medians, p95s = draws.quantiles(times, 0.5), draws.quantiles(times, 0.95)
    timed = np.array([row.is_timed for row in rows])
    metered = np.array([row.is_metered for row in rows])
    on, on_time, on_energy = (np.full(len(rows), np.nan) for _ in range(3))
    if timed.any():
        centres = np.array([_median(row.times) for row in rows])[timed]
        on[timed] = frontier(centres, right.mean(axis=1)[timed])
        on_time[timed] = share_on_frontier(medians[timed], values[timed])
    if metered.any():
        joules = draws.means(np.stack([row.joules for row in rows])[metered])
        on_energy[metered] = share_on_frontier(joules, values[metered])
    made = [
        _point(task, row, _Drawn(medians[i], p95s[i], bool(on[i] == 1), on_time[i], on_energy[i]))
        for i, row in enumerate(rows)
    ]
    return made, _steps(task, made, right, draws)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What draws of questions say of one row; shares are nan where nothing is known."""

    medians: Floats
    p95s: Floats
    on: bool
    on_time: float
    on_energy: float


def _point(task: str, row: Row, drawn: _Drawn) -> Point:
    num, hits = len(row.right), int(row.right.sum())
    low, high = wilson(hits, num)
    named = _named(task, row.first)
    if row.is_timed:
        (m_low, m_high), (p_low, p_high) = interval(drawn.medians), interval(drawn.p95s)
        p95 = float(np.quantile(row.times, 0.95, method="inverted_cdf"))
        named |= {
            "median_ms": _median(row.times), "median_low": float(m_low),
            "median_high": float(m_high), "p95_ms": p95, "p95_low": float(p_low),
            "p95_high": float(p_high), "on_time": float(drawn.on_time),
        }  # fmt: skip
    return Point(
        **named
        | {
            "deadline_ms": row.deadline_ms,
            "source": row.source,
            "num": num,
            "accuracy": hits / num,
            "accuracy_low": low,
            "accuracy_high": high,
            "tokens": row.tokens,
            "joules": float(row.joules.mean()) if row.is_metered else None,
            "frontier": drawn.on,
            "on_energy": None if np.isnan(drawn.on_energy) else float(drawn.on_energy),
        }
    )


def _named(task: str, trial: Mapping[str, Any]) -> dict[str, Any]:
    """What a point says of its setting; all that was measured is unknown yet."""
    setting = Setting(
        trial["model"],
        trial["way"],
        trial["answer_limit"],
        trial["temperature"],
        trial["threads"],
        trial["context"],
        trial["think_limit"],
    )
    unknown = ("median_ms", "median_low", "median_high", "p95_ms", "p95_low", "p95_high",
               "joules", "on_time", "on_energy", "deadline_ms")  # fmt: skip
    names = {name: trial[name] for name in ("device", "model", "quant", "way", "config", "source")}
    told = {"task": task, "note": "", "command": setting.command, "frontier": False}
    return dict.fromkeys(unknown) | names | told


def _left_out(task: str, own: Grouped, why: str) -> Point:
    hits = sum(row["right"] for row in own)
    low, high = wilson(hits, len(own))
    tokens = sum(row["reasoning_tokens"] + row["answer_tokens"] for row in own) / len(own)
    return Point(
        **_named(task, own[0])
        | {
            "num": len(own),
            "accuracy": hits / len(own),
            "accuracy_low": low,
            "accuracy_high": high,
            "tokens": tokens,
            "note": why,
        }
    )


def _median(values: Floats) -> float:
    """As in the draws: the smallest value with half of them at or below it."""
    return float(np.quantile(values, 0.5, method="inverted_cdf"))


def _steps(task: str, made: Sequence[Point], right: Bools, draws: Draws) -> list[Step]:
    """Along the frontier, from each point to the next dearer one."""
    on = [i for i, point in enumerate(made) if point.frontier]
    on.sort(key=lambda i: made[i].median_ms or 0.0)
    pairs = list(itertools.pairwise(on))
    found = {f"{a}-{b}": difference(right[a], right[b], draws) for a, b in pairs}
    corrected = holm({name: each.p for name, each in found.items()})
    return [
        Step(task, made[a], made[b], found[f"{a}-{b}"], corrected[f"{a}-{b}"]) for a, b in pairs
    ]


def _volume(made: Sequence[Point], reference_ms: float) -> float:
    timed = [point for point in made if point.median_ms is not None]
    if not timed:
        return 0.0
    costs = np.array([point.median_ms for point in timed], dtype=np.float64)
    return hypervolume(costs, np.array([point.accuracy for point in timed]), reference_ms)


def _curves(rows: Sequence[Row], reference_ms: float) -> dict[str, Sequence[tuple[float, float]]]:
    """For each model the best of its settings at each time: too high by that choice."""
    if not rows:
        return {}
    fastest = min(float(row.times.min()) for row in rows)
    limits = np.geomspace(fastest, reference_ms, 60)
    found: dict[str, Sequence[tuple[float, float]]] = {}
    for model in dict.fromkeys(row.first["model"] for row in rows):
        own = [row for row in rows if row.first["model"] == model]
        shares = accuracy_within(
            np.stack([row.right for row in own]), np.stack([row.times for row in own]), limits
        )
        found[model] = [(float(t), float(a)) for t, a in zip(limits, shares.max(0), strict=True)]
    return found
