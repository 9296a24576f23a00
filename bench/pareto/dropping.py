"""Successive halving for frontiers: a setting that is surely beaten is asked no further.

A setting is beaten at a look when a cheaper one that is still asked leads by more than z standard
errors. The error counts the questions that are still to come, not all that there could be: what is
estimated is the result of the whole sweep. z is a knob without correction for looks and pairs; its
error is what simulations show (docs/pareto.md).
"""

from __future__ import annotations

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
        leads = self._leads(right) & (high_cost[:, np.newaxis] < low_cost[np.newaxis])
        there = np.array([i not in self.dropped for i in range(right.shape[0])])
        now: set[int] = set()
        for i in np.argsort(low_cost + high_cost, kind="stable"):  # cheaper ones first
            if not there[i]:
                continue
            beaten = bool(np.any(leads[there, i]))
            self._beaten[int(i)] = self._beaten.get(int(i), 0) + 1 if beaten else 0
            if self._beaten[int(i)] >= self.rule.looks:
                now.add(int(i))
                there[i] = False
        self.dropped.update({i: right.shape[1] for i in now})
        return frozenset(now)

    def _leads(self, right: Bools) -> Bools:
        """Settings x settings: does the first surely lead? One discordant pair is added, so that
        few questions are never sure."""
        num = right.shape[1]
        hits = right.astype(np.float64)
        gained = hits @ (1 - hits).T  # how often only the first is right
        lead = (gained - gained.T) / num
        variance = (gained + gained.T + 1) / num - lead * lead
        left = max(0.0, 1 / num - 1 / self.num_questions)
        found: Bools = (lead > self.rule.z * np.sqrt(variance * left)) & (lead > 0)
        return found
