"""Freeway: cross eight lanes of cars. The sooner, the more points.

9 columns and 10 rows; the player is in column 4 and goes from row 9 to row 0. A turn: the player
moves; in row 0 the episode ends; then the cars move, around the edges. A car on the player's cell
puts the player back to the start and the cars to where they began; the clock runs on. The score is
100 less the turns, or 0 when time is up.

A lane is like its neighbour with probability 1/2. Else it has a long car (2 to 4 cells, as many
cells a turn, either way), or two or three cars a third of the width apart (a cell every 1 to 3
turns), or one (every 1 to 4). Ours: one sees four rows ahead; levels differ by how many turns the
shortest way takes (up to 10, up to 13, more), the seed picks among such roads.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Final

from .base import LEVELS, MOST_TURNS, Game, shortest

_WIDTH: Final = 9
_COLUMN: Final = 4
_START: Final = 9
_UNITS: Final = 12  # of the text, a cell
_AHEAD: Final = 4  # rows that the text tells of, beside the player's own
_SHORTEST: Final = {"easy": (9, 10), "medium": (11, 13), "hard": (14, MOST_TURNS)}
_STEP: Final = {"U": -1, "D": 1, "S": 0}


@dataclass(frozen=True, slots=True)
class Lane:
    """Cars that move alike. `cells` a move, one move every `wait` turns, `way` is -1 or 1."""

    heads: tuple[int, ...]
    length: int
    cells: int
    wait: int
    way: int

    @classmethod
    def drawn(cls, generator: random.Random) -> Lane:
        kind = generator.choice(("long", "several", "one"))
        head = generator.randrange(_WIDTH)
        if kind == "long":
            length = generator.randint(2, 4)
            return cls((head,), length, length, 1, generator.choice((-1, 1)))
        if kind == "several":
            num = generator.randint(2, 3)
            heads = tuple((head + i * _WIDTH // num) % _WIDTH for i in range(num))
            return cls(heads, 1, 1, generator.randint(1, 3), 1)
        return cls((head,), 1, 1, generator.randint(1, 4), 1)

    def at(self, time: int) -> tuple[int, ...]:
        """Columns of the heads so many turns after the cars began."""
        moved = self.way * self.cells * (time // self.wait)
        return tuple((head + moved) % _WIDTH for head in self.heads)

    def hits(self, time: int) -> bool:
        """A car is on the player's column."""
        return any(
            (head - self.way * i) % _WIDTH == _COLUMN
            for head in self.at(time)
            for i in range(self.length)
        )


class Freeway(Game):
    actions: ClassVar[Mapping[str, str]] = {"U": "up", "D": "down", "S": "stay"}
    default = "U"
    _RULES: ClassVar = (
        "You cross a freeway. You are at x = 0. Row 9 is the start, row 0 is the goal. Rows 1 to 8 "
        "are lanes with cars: their x, then how far they move a turn. Each turn you do one action: "
        "U (one row up, towards row 0), D (one row down) or S (stay). Then the cars move. If a car "
        "covers x = 0 in your row, you are back at row 9. Reach row 0 in as few turns as you can."
    )
    _BRIEF: ClassVar = "Go from row 9 to 0: U up, D down, S stay. Cars at 0 hit."

    def __init__(
        self, level: str, seed: int, most_turns: int = MOST_TURNS, *, brief: bool = False
    ) -> None:
        super().__init__(level, seed, most_turns, brief=brief)
        self.rules = self._BRIEF if brief else self._RULES
        self.lanes = _road(level, seed)
        self.row = _START
        self.time = 0  # since the cars began
        self.num_hits = 0

    @property
    def over(self) -> bool:
        return self.row == 0 or self.turn >= self.most_turns

    @property
    def score(self) -> float:
        return float(MOST_TURNS - self.turn) if self.row == 0 else 0.0

    def act(self, action: str) -> None:
        self.turn += 1
        self.row = _moved(self.row, action if action in self.actions else self.default)
        if self.row == 0:
            return
        self.time += 1
        if is_hit(self.lanes, self.row, self.time):
            self.num_hits += 1
            self.row, self.time = _START, 0

    def state(self) -> str:
        seen = range(max(1, self.row - _AHEAD), min(_START, self.row + 1))
        if self.brief:
            return "\n".join([f"row {self.row}", *map(self._signs, seen)])
        lines = [f"Turn {self.turn}. You are in row {self.row}."]
        for row in seen:
            lane = self.lanes[row - 1]
            spans = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in self._spans(lane))
            speed = lane.way * lane.cells * _UNITS / lane.wait
            lines.append(f"Row {row}: {spans}; {speed:+.0f}")
        return "\n".join(lines)

    def _signs(self, row: int) -> str:
        """`7: 4 -2 >1/3`: heads in cells from the player, the way, and cells a turn."""
        lane = self.lanes[row - 1]
        heads = " ".join(str(head - _COLUMN) for head in lane.at(self.time))
        long = f"*{lane.length}" if lane.length > 1 else ""
        return (
            f"{row}: {heads}{long} {'>' if lane.way > 0 else '<'}{Fraction(lane.cells, lane.wait)}"
        )

    def _spans(self, lane: Lane) -> Iterator[tuple[int, int]]:
        for head in lane.at(self.time):
            front = (head - _COLUMN) * _UNITS
            yield front, front - lane.way * (lane.length - 1) * _UNITS

    def script(self) -> str:
        """The first step of the shortest way that is never hit."""
        way = crossing(self.lanes, self.row, self.time)
        return way[0] if way else "S"


def is_hit(lanes: Sequence[Lane], row: int, time: int) -> bool:
    return 0 < row < _START and lanes[row - 1].hits(time)


def crossing(lanes: Sequence[Lane], row: int = _START, time: int = 0) -> list[str] | None:
    """The shortest way to row 0 on which nobody is hit; None where there is none in 100 turns."""

    def steps(at: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int]]]:
        row, time = at
        if time >= MOST_TURNS:
            return
        for action in _STEP:
            after = _moved(row, action)
            if not is_hit(lanes, after, time + 1):
                yield action, (after, time + 1)

    return shortest((row, time), lambda at: at[0] == 0, steps)


def _moved(row: int, action: str) -> int:
    return min(_START, row + _STEP[action])


def _drawn(generator: random.Random) -> tuple[Lane, ...]:
    lanes = [Lane.drawn(generator)]
    while len(lanes) < _START - 1:
        lanes.append(lanes[-1] if generator.random() < 0.5 else Lane.drawn(generator))
    return tuple(lanes)


def _road(level: str, seed: int) -> tuple[Lane, ...]:
    """Draws roads until one is as hard as the level says."""
    least, most = _SHORTEST[level]
    generator = random.Random(f"freeway-{LEVELS.index(level)}-{seed}")
    while True:
        lanes = _drawn(generator)
        way = crossing(lanes)
        if way is not None and least <= len(way) <= most:
            return lanes
