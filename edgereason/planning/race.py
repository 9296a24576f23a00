"""Which of several setups is the fastest, from turns in which each was measured once.

    race = Race(["default", "a", "b"])
    while race.running: race.add({name: rate_of(name) for name in race.next_turn()})

Rates are compared with the default's of the same turn, so that a slow minute hits all. A setup is
dropped once it is surely slower than the leader in two turns running. The fastest of many looks
better than it is: measure it once more, alone against the default. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgereason.errors import UsageError

_DRAWS: Final = 2000
_LEAST_TURNS: Final = 3
_DOUBTS: Final = 2  # turns running


@dataclass(frozen=True, slots=True)
class Speed:
    """Times the default's rate: the median of turns, and its 90 % interval."""

    value: float
    low: float
    high: float
    num_turns: int


def speed_of(ratios: Sequence[float], seed: int = 0) -> Speed:
    """Bootstrap of the median of log ratios."""
    if not ratios or min(ratios) <= 0:
        raise UsageError(f"ratios of rates must be above 0, got {list(ratios)}")
    logs = np.log(np.array(ratios))
    draws = np.random.default_rng(seed).choice(logs, size=(_DRAWS, len(logs)))
    low, high = np.quantile(np.median(draws, axis=1), (0.05, 0.95))
    value, low, high = (float(np.exp(x)) for x in (np.median(logs), low, high))
    return Speed(value, low, high, len(ratios))


class Race:
    """The first name is the default; it is never dropped."""

    def __init__(self, names: Sequence[str]) -> None:
        if len(set(names)) != len(names) or not names:
            raise UsageError(f"a race needs names that differ, got {list(names)}")
        self._default = names[0]
        self.running = list(names)
        self._ratios: dict[str, list[float]] = {name: [] for name in names}
        self._doubts = dict.fromkeys(names, 0)
        self._turns = 0

    def next_turn(self) -> list[str]:
        """Whom to measure, in this order: forwards and backwards in turns."""
        return self.running if self._turns % 2 == 0 else self.running[::-1]

    def add(self, rates: Mapping[str, float]) -> None:
        """Rates of one turn; one that failed is 0 and out."""
        self._turns += 1
        default = rates[self._default]
        if default <= 0:
            raise UsageError("the default cannot be measured", "see whether the model opens at all")
        for name in list(self.running):
            if rates[name] <= 0:
                self.running.remove(name)
                self._ratios[name] = []
            else:
                self._ratios[name].append(rates[name] / default)
        if self._turns >= _LEAST_TURNS:
            self._drop()

    def _drop(self) -> None:
        speeds = self.speeds()
        leader = self.leader()
        for name in list(self.running):
            behind = speeds[name].high < speeds[leader].low
            self._doubts[name] = self._doubts[name] + 1 if behind else 0
            if self._doubts[name] >= _DOUBTS and name != self._default:
                self.running.remove(name)

    def speeds(self) -> dict[str, Speed]:
        """Of all that were measured, those that were dropped too."""
        return {name: speed_of(ratios) for name, ratios in self._ratios.items() if ratios}

    def leader(self) -> str:
        """The fastest of those that are still in."""
        speeds = self.speeds()
        return max(self.running, key=lambda name: speeds[name].value if name in speeds else 0.0)


__all__ = ["Race", "Speed", "speed_of"]
