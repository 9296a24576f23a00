"""What may be concluded from few questions: intervals, differences, how many would be needed.

Everything is drawn over questions, the same draws for all settings, so that what is hard for one
and hard for another stays together. Arrays are settings x questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Interval: TypeAlias = tuple[float, float]

DRAWS: Final = 2000
_TAIL: Final = 0.025  # on each side of a 95 % interval


@dataclass(frozen=True, slots=True)
class Draws:
    """How often each question is in each draw with replacement: `counts` is draws x questions."""

    counts: Floats

    @classmethod
    def of(cls, num_questions: int, *, num: int = DRAWS, seed: int = 0) -> Draws:
        if num_questions < 1:
            raise ValueError("there is nothing to draw from")
        generator = np.random.default_rng(seed)
        shares = np.full(num_questions, 1 / num_questions)
        return cls(generator.multinomial(num_questions, shares, size=num).astype(np.float64))

    @property
    def num_questions(self) -> int:
        return int(self.counts.shape[1])

    def means(self, values: Floats | Bools) -> Floats:
        """Of each row in each draw: rows x draws."""
        found: Floats = np.asarray(values, dtype=np.float64) @ self.counts.T / self.num_questions
        return found

    def quantiles(self, values: Floats, share: float) -> Floats:
        """The smallest value with at least `share` of the draw at or below it: rows x draws."""
        found = np.empty((values.shape[0], self.counts.shape[0]))
        for row, own in enumerate(values):
            order = np.argsort(own, kind="stable")
            below = np.cumsum(self.counts[:, order], axis=1)
            place = np.argmax(below >= share * self.num_questions - 1e-9, axis=1)
            found[row] = own[order][place]
        return found


def interval(draws: Floats) -> tuple[Floats, Floats]:
    """The percentile interval, 95 %, over the last axis."""
    low, high = np.quantile(draws, (_TAIL, 1 - _TAIL), axis=-1)
    return low, high


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more often the second is right than the first, on the same questions.

    `p`: McNemar's exact test: how often chance alone would divide the questions on which they
    differ at least as unevenly.
    """

    mean: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float

    @property
    def told(self) -> str:
        """In words. Few questions never show that two are equal."""
        if self.p >= 2 * _TAIL:
            return "not told apart"
        return "better" if self.mean > 0 else "worse"


def difference(first: Bools, second: Bools, draws: Draws) -> Difference:
    """Of two settings: one value a question each, in the same order."""
    gains = second.astype(np.float64) - first.astype(np.float64)
    low, high = interval(draws.means(gains[np.newaxis])[0])
    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(second & ~first))
    p = mcnemar(only_first, only_second)
    return Difference(float(gains.mean()), float(low), float(high), only_first, only_second, p)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p: a fair coin thrown once for each question on which they differ."""
    num, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(num, k) for k in range(fewer + 1))
    return min(1.0, 2.0 * tail / 2.0**num)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Corrected for their number (Holm 1979): all of those below .05 together err in 5 %."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    found: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * p_values[name]))
        found[name] = highest
    return {name: found[name] for name in p_values}


_Z: Final = {0.8: 0.8416212, 0.9: 1.2815516}


def questions_needed(first: float, second: float, correlation: float, power: float = 0.8) -> int:
    """So that a paired test at 5 % tells two shares apart with that power (.8 or .9).

    `correlation`: of being right, between the two; 0 is two that have nothing in common.
    """
    if power not in _Z:
        raise ValueError(f"power must be one of {', '.join(map(str, _Z))}, got {power}")
    if first == second:
        raise ValueError("equal shares are never told apart")
    spread = math.sqrt(first * (1 - first) * second * (1 - second))
    both = first * second + correlation * spread
    discordant = first + second - 2 * both
    gap = abs(second - first)
    if discordant < gap:
        raise ValueError(f"shares {first} and {second} cannot have correlation {correlation}")
    z = 1.9599640 * math.sqrt(discordant) + _Z[power] * math.sqrt(discordant - gap * gap)
    return math.ceil((z / gap) ** 2)


def accuracy_within(right: Bools, times: Floats, limits: Sequence[float] | Floats) -> Floats:
    """A(t): share of questions right and done by `t`; what is later is wrong. Rows x limits."""
    done = times[:, :, np.newaxis] <= np.asarray(limits)[np.newaxis, np.newaxis]
    found: Floats = np.mean(right[:, :, np.newaxis] & done, axis=1)
    return found
