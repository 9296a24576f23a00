"""What a plan costs: `edgereason plan`'s first choice against the best that trials know.

Reads trials of a finished sweep and asks nothing. Again and again the questions are split into two
halves: the planner gets the trials of one, and so does who looks up which setting did best there;
both are scored on the other half, since the best of many is too good where it was chosen. What
steps cost comes from `edgereason profile measure`, on the machine and load of the trials.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any, Final, TypeAlias

from edgereason.cli._planning import open_device, size_of
from edgereason.errors import UsageError
from edgereason.planning.cost import Power
from edgereason.planning.estimate import Device
from edgereason.planning.planner import Limits, Row, Task, rank
from edgereason.planning.sizes import Size
from edgereason.planning.trials import Trial, Way, read

from ..harness.runner import Bench, Findings, Say, Table, quantile

Cell: TypeAlias = tuple[str, str]  # name of the model, way
Cells: TypeAlias = Mapping[Cell, Mapping[str, Trial]]  # by question
Pick: TypeAlias = Callable[["Scenario", Sequence[str]], Cell | None]

_RANDOM: Final = "any, at random"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A limit, and which trials keep it."""

    name: str
    limits: Limits
    keeps: Callable[[Trial], bool]

    def score(self, cells: Cells, cell: Cell | None, questions: Sequence[str]) -> float:
        """Share of answers that are right and keep the limit; of no choice at all 0."""
        if cell is None:
            return 0.0
        trials = [cells[cell][question] for question in questions]
        return mean(bool(trial.right) and self.keeps(trial) for trial in trials)


def measure(options: argparse.Namespace, say: Say) -> Findings:
    found = read(options.trials)
    tasks = sorted({trial.task for trial in found})
    if options.task not in tasks:
        raise UsageError(f"no trial is of task {options.task!r}", f"there are: {', '.join(tasks)}")
    cells, questions = cells_of([trial for trial in found if trial.task == options.task])
    sizes = {Path(model).name: size_of(model) for model in options.models}
    missing = {model for model, _ in cells} - sizes.keys()
    if missing:
        raise UsageError(f"no --models is {', '.join(sorted(missing))}, which the trials are of")
    device = with_power(open_device(options.device, "", None), options.watts)
    planner = Planner(cells, sizes, device, options.task)
    said = [f"{options.task}: {len(questions)} questions, {len(cells)} settings"]
    tables, figures = [], {}
    for scenario in scenarios(options):
        say(scenario.name)
        rows = regrets(scenario, cells, questions, planner, options)
        figures[scenario.name] = rows
        columns = ("", "right in the limit, %", "points behind the best", "low", "high", "ms more")
        shown = [(name, *row["shown"]) for name, row in rows.items()]
        tables.append(Table(scenario.name, columns, shown))
        said += [
            f"{scenario.name}: {name} was {row['picked']}"
            for name, row in rows.items()
            if row["picked"]
        ]
    said.append(f"Measured to planned times of the settings, median: {planner.off(questions):.2f}.")
    return Findings({"num": len(questions), "scenarios": figures}, tuple(tables), tuple(said))


def cells_of(trials: Sequence[Trial]) -> tuple[Cells, list[str]]:
    """Settings with times and verdicts, on the questions that all of them have."""
    cells: dict[Cell, dict[str, Trial]] = {}
    for trial in trials:
        if trial.total_ms is not None and trial.right is not None:
            name = (Path(trial.model).name, str(Way.parse(trial.way)))
            cells.setdefault(name, {})[trial.question] = trial
    most = max(map(len, cells.values()), default=0)
    cells = {name: own for name, own in cells.items() if 2 * len(own) >= most}
    common = set.intersection(*(set(own) for own in cells.values())) if cells else set()
    if len(common) < 2:
        raise UsageError("the settings have fewer than two questions in common")
    return cells, sorted(common)


def with_power(device: Device, watts: float) -> Device:
    """A stand-in for a meter: every model takes so many watts."""

    def here(size: Size) -> Any:
        known = device.cost_of(size)
        return known and replace(known.cost, power=Power(watts))

    return Device(device.profile, here=here)


def scenarios(options: argparse.Namespace) -> list[Scenario]:
    joules_of = Power(options.watts).joules
    most_mib = 1024 * options.memory_gib

    def in_time(trial: Trial) -> bool:
        return bool((trial.total_ms or 0.0) <= options.deadline_ms)

    def in_energy(trial: Trial) -> bool:
        return bool(joules_of(trial.total_ms or 0.0) <= options.joules)

    def in_memory(trial: Trial) -> bool:
        return bool(trial.rss_mib is None or trial.rss_mib <= most_mib)

    return [
        Scenario(f"deadline {options.deadline_ms:g} ms", Limits(options.deadline_ms), in_time),
        Scenario(f"energy {options.joules:g} J", Limits(joules=options.joules), in_energy),
        Scenario(
            f"memory {options.memory_gib:g} GiB", Limits(memory_gib=options.memory_gib), in_memory
        ),
    ]


class Planner:
    """What `edgereason plan` chooses, given the trials of some questions."""

    def __init__(self, cells: Cells, sizes: Mapping[str, Size], device: Device, task: str) -> None:
        self._cells = cells
        self._sizes = sizes
        self._device = device
        self._task = task

    def rows(self, limits: Limits, questions: Sequence[str]) -> list[Row]:
        known = [own[question] for own in self._cells.values() for question in questions]
        task = Task([max(1, each.prompt_tokens) for each in known], known, name=self._task)
        ways = [Way.parse(way) for way in dict.fromkeys(way for _, way in self._cells)]
        return rank(self._sizes.values(), ways, self._device, task, limits)

    def pick(self, scenario: Scenario, questions: Sequence[str]) -> Cell | None:
        """None: it says that nothing keeps the limit."""
        for row in self.rows(scenario.limits, questions):
            cell = (Path(row.model).name, row.way)
            if cell in self._cells:
                return None if row.reasons else cell
        return None

    def off(self, questions: Sequence[str]) -> float:
        """Measured to planned median times. Far from 1, the cost is not that of these trials."""
        ratios = []
        for row in self.rows(Limits(), questions):
            own = self._cells.get((Path(row.model).name, row.way))
            if own is not None and row.p50_ms is not None:
                took = median(own[question].total_ms or 0.0 for question in questions)
                ratios.append(took / row.p50_ms.value)
        return median(ratios) if ratios else float("nan")

    def ordered(self) -> list[Cell]:
        """Settings from the smallest model to the largest, the fewest tokens first."""

        def key(cell: Cell) -> tuple[float, float]:
            tokens = [t.reasoning_tokens + t.answer_tokens for t in self._cells[cell].values()]
            return self._sizes[cell[0]].weight_bytes or 0.0, mean(tokens)

        return sorted(self._cells, key=key)


def regrets(
    scenario: Scenario,
    cells: Cells,
    questions: Sequence[str],
    planner: Planner,
    options: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    """By who picks: how far behind the best by trials, over the splits."""

    def best(scenario: Scenario, half: Sequence[str]) -> Cell:
        return max(
            cells, key=lambda cell: (scenario.score(cells, cell, half), -_ms(cells, cell, half))
        )

    ordered = planner.ordered()
    picks: dict[str, Pick] = {
        "best by trials": best,
        "the plan": planner.pick,
        "largest model, most tokens": lambda scenario, half: ordered[-1],
        "smallest model, fewest tokens": lambda scenario, half: ordered[0],
    }
    autos = [cell for cell in ordered if cell[1] == "auto"]
    if autos:
        picks["largest model, auto"] = lambda scenario, half: autos[-1]
    drawn = random.Random(options.seed)
    splits = [_split(questions, drawn) for _ in range(options.splits)]
    chosen = {name: [pick(scenario, half) for half, _ in splits] for name, pick in picks.items()}
    chosen[_RANDOM] = [drawn.choice(ordered) for _ in splits]
    rows = {}
    for name, own in chosen.items():
        scores, behind, more = [], [], []
        for cell, first, (_, other) in zip(own, chosen["best by trials"], splits, strict=True):
            scores.append(scenario.score(cells, cell, other))
            behind.append(scenario.score(cells, first, other) - scores[-1])
            if cell is not None and first is not None:
                more.append(_ms(cells, cell, other) - _ms(cells, first, other))
        low, high = (100 * quantile(behind, share) for share in (0.025, 0.975))
        rows[name] = {
            "picked": _most(own) if name != _RANDOM else "",
            "no_plan": own.count(None),
            "shown": (
                100 * mean(scores), 100 * mean(behind), low, high, mean(more) if more else None,
            ),
        }  # fmt: skip
    return rows


def _split(questions: Sequence[str], drawn: random.Random) -> tuple[list[str], list[str]]:
    mixed = drawn.sample(questions, len(questions))
    return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]


def _ms(cells: Cells, cell: Cell, questions: Sequence[str]) -> float:
    return mean(cells[cell][question].total_ms or 0.0 for question in questions)


def _most(picked: Sequence[Cell | None]) -> str:
    """The usual choice, and how often."""
    cell, num = Counter(picked).most_common(1)[0]
    return f"{' '.join(cell) if cell else 'none'} in {num} of {len(picked)} splits"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="of a sweep")
    parser.add_argument("--models", nargs="+", required=True, help="those of the trials")
    parser.add_argument("--task", required=True, help="of the trials")
    parser.add_argument("--device", default="here", help="profile; here: what was measured")
    parser.add_argument("--deadline-ms", type=float, default=2000)
    parser.add_argument("--joules", type=float, default=20, help="that an answer may cost")
    parser.add_argument("--watts", type=float, default=10, help="of the stand-in for a meter")
    parser.add_argument("--memory-gib", type=float, default=0.5)
    parser.add_argument("--splits", type=int, default=20, help="a plan takes seconds")


BENCH = Bench("planner", __doc__.splitlines()[0], _add_options, measure)
