"""How often does successive halving keep the frontier, and what does it save? Simulated sweeps.

Made-up worlds: 5 models x 4 formats x 10 ways, costs from 1 to 2,000, 300 questions, skills with
many near ties. Five of the ways are budgets of one trace. The work of a sweep is the cost of all
that is asked; with sharing a trace costs what its dearest budget costs that is still asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

import numpy as np

from ..harness.runner import Bench, Findings, Say, Table, wilson
from ..pareto.dropping import Dropper, Rule
from ..pareto.frontier import frontier, hypervolume
from ..pareto.statistics import Bools, Floats

_RULES: Final = {
    "one look, z 2.0": Rule(2.0, 1),
    "one look, z 2.6": Rule(2.6, 1),
    "two looks, z 2.33": Rule(2.33, 2),
    "two looks, z 2.6": Rule(2.6, 2),
}
_MODELS, _FORMATS, _BUDGETS, _OTHERS = 5, 4, 5, 5
_SHARE: Final = 0.99  # of the hypervolume


@dataclass(frozen=True, slots=True)
class World:
    """`costs`: of a question; `right`: settings x questions; `traces`: settings of one trace."""

    costs: Floats
    right: Bools
    traces: tuple[tuple[int, ...], ...]


def draw(seed: int, num_questions: int) -> World:
    """Dearer settings are mostly better; a fifth of a skill is noise that nothing explains."""
    generator = np.random.default_rng(seed)
    costs: list[float] = []
    skills: list[float] = []
    traces: list[tuple[int, ...]] = []
    for model in range(_MODELS):
        size = 3.0**model
        for _ in range(_FORMATS):
            speed, loss = generator.uniform(0.6, 1.4), generator.normal(0, 0.15)
            start = len(costs)
            for way in range(_BUDGETS + _OTHERS):
                length = 2.0 ** (way if way < _BUDGETS else generator.uniform(0, 4.6))
                costs.append(size * speed * length)
                gain = 0.45 * np.log2(length) * generator.uniform(0.3, 1.0)
                skills.append(0.45 * model + loss + gain + generator.normal(0, 0.3) - 2.6)
            traces.append(tuple(range(start, start + _BUDGETS)))
            traces += [(start + _BUDGETS + i,) for i in range(_OTHERS)]
    hardness = generator.normal(0, 1.6, num_questions)
    taste = generator.normal(0, 0.8, (len(skills), num_questions))  # what only one setting finds
    chance = 1 / (1 + np.exp(-(np.array(skills)[:, None] - hardness[None] + taste)))
    right = generator.random(chance.shape) < chance
    return World(np.array(costs), right, tuple(traces))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sweep under one rule, against the full sweep. Work is a share of the full sweep's."""

    same: bool
    volume: float
    work: float
    shared_work: float


def dropped(world: World, rule: Rule) -> Outcome:
    num = world.right.shape[1]
    dropper = Dropper(rule, num)
    for rung in dropper.rungs:
        dropper.look(world.right[:, :rung], world.costs * 0.98, world.costs * 1.02)
    asked = np.array([dropper.dropped.get(i, num) for i in range(len(world.costs))])
    values = world.right.mean(axis=1)
    full, kept = frontier(world.costs, values), asked == num
    reference = float(world.costs.max() * 1.1)
    volume = hypervolume(world.costs[kept], values[kept], reference)
    return Outcome(
        bool(np.all(kept[full])),
        volume / hypervolume(world.costs, values, reference),
        float(np.sum(world.costs * asked) / (num * world.costs.sum())),
        shared_work(world, asked) / (num * float(world.costs.sum())),
    )


def shared_work(world: World, asked: Sequence[int] | Floats) -> float:
    """Of each trace at each question: the cost of its dearest budget that is asked there."""
    total = 0.0
    for trace in world.traces:
        dearest = sorted(trace, key=lambda i: -world.costs[i])
        before = 0
        for i in dearest:
            more = max(0, int(asked[i]) - before)
            total += more * float(world.costs[i])
            before += more
    return total


def measure(options: argparse.Namespace, say: Say) -> Findings:
    outcomes: dict[str, list[Outcome]] = {name: [] for name in _RULES}
    alone: list[float] = []
    for seed in range(options.seed, options.seed + options.worlds):
        world = draw(seed, options.questions)
        full = np.full(len(world.costs), options.questions)
        alone.append(shared_work(world, full) / (options.questions * float(world.costs.sum())))
        for name, rule in _RULES.items():
            outcomes[name].append(dropped(world, rule))
        say(f"{seed - options.seed + 1} of {options.worlds} worlds")
    figures = {name: _figures(found) for name, found in outcomes.items()}
    rows = [
        (name, f"{each['same']} of {options.worlds}", f"{each['volume']} of {options.worlds}",
         each["work"], each["shared_work"])
        for name, each in figures.items()
    ]  # fmt: skip
    rows.append(("nothing dropped", "all", "all", 1.0, mean(alone)))
    columns = ("rule", "same frontier", f"{_SHARE} of its volume", "work", "with shared traces")
    title = f"{options.worlds} sweeps, seeds from {options.seed}"
    table = Table(title, columns, rows)
    return Findings(figures | {"sharing_alone": mean(alone)}, (table,))


def _figures(found: Sequence[Outcome]) -> dict[str, object]:
    same = sum(each.same for each in found)
    return {
        "same": same,
        "same_interval": list(wilson(same, len(found))),
        "volume": sum(each.volume >= _SHARE for each in found),
        "least_volume": min(each.volume for each in found),
        "work": mean(each.work for each in found),
        "shared_work": mean(each.shared_work for each in found),
    }


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--questions", type=int, default=300)


BENCH = Bench("dropping", __doc__.splitlines()[0], _add_options, measure)
