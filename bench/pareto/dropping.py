"""Successive halving for frontiers: a setting that is surely beaten is asked no further.

A setting is beaten at a look when a cheaper one that is still asked leads by more than z standard
errors. The error counts the questions that are still to come, not all that there could be: what is
estimated is the result of the whole sweep. z is a knob without correction for looks and pairs; its
error is what simulations show (docs/pareto.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .statistics import Bools, Floats

RUNGS: Final = (0.13, 0.2, 0.3, 0.43, 0.63, 0.83)
"""Shares of all questions after which is looked: 40, 60, 90, 130, 190 and 250 of 300."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a setting is dropped: beaten in `looks` looks in a row, by `z` standard errors."""

    z: float
    looks: int


RULES: Final = {
    "frontier": Rule(2.6, 2),  # the identical frontier
    "hypervolume": Rule(2.6, 1),  # its hypervolume but for 1 %
}


@dataclass(slots=True)
class Dropper:
    """Looks at what is there after each rung, and remembers who was beaten before.

    `num_questions`: of the whole sweep. `dropped`: index -> how many questions it had answered.
    """

    rule: Rule
    num_questions: int
    dropped: dict[int, int] = field(default_factory=dict)
    _beaten: dict[int, int] = field(default_factory=dict)

    @property
    def rungs(self) -> list[int]:
        return [round(share * self.num_questions) for share in RUNGS]

    def look(self, right: Bools, low_cost: Floats, high_cost: Floats) -> frozenset[int]:
        """Who is dropped now. `right` is settings x questions so far; costs are intervals.

        Rows of settings that are dropped already are not read.
        """
        num = right.shape[1]
        alive = [i for i in range(right.shape[0]) if i not in self.dropped]
        cheaper_first = sorted(alive, key=lambda i: float(low_cost[i] + high_cost[i]))
        now: set[int] = set()
        for place, i in enumerate(cheaper_first):
            rivals = [j for j in cheaper_first[:place] if j not in now]
            if any(
                high_cost[j] < low_cost[i] and self._leads(right[j], right[i], num) for j in rivals
            ):
                self._beaten[i] = self._beaten.get(i, 0) + 1
                if self._beaten[i] >= self.rule.looks:
                    now.add(i)
            else:
                self._beaten[i] = 0
        self.dropped.update({i: num for i in now})
        return frozenset(now)

    def _leads(self, ahead: Bools, behind: Bools, num: int) -> bool:
        """One discordant pair is added, so that few questions are never sure."""
        gained = int(np.sum(ahead & ~behind))
        lost = int(np.sum(behind & ~ahead))
        lead = (gained - lost) / num
        variance = (gained + lost + 1) / num - lead * lead
        left = max(0.0, 1 / num - 1 / self.num_questions)
        return lead > self.rule.z * math.sqrt(variance * left) and gained > lost
