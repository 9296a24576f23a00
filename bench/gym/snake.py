"""Snake: eat what appears, for a while, and grow; a wall, an obstacle or the own body is the end.

8 x 8 cells with a wall around the edge, the snake begins at (3, 3) and heads left. 1, 5 or 8
obstacles (easy, medium, hard). Three foods at first, one more when the turn leaves 1 modulo 3; each
is gone after ten turns. A food is a point and a cell of length. Death is a point less and the end;
so are 100 turns. Turning back on the spot is ignored, S goes straight on.

Ours: a turn moves, eats, ages the foods, then adds one; the cell that the tail leaves is free.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

from .base import LEVELS, MOST_TURNS, MOVES, Cell, Game, shortest

_SIZE: Final = 8
_START: Final = (3, 3)
_OBSTACLES: Final = {"easy": 1, "medium": 5, "hard": 8}
_FOODS: Final = 3
_LIFE: Final = 10
_BACK: Final = {"U": "D", "D": "U", "L": "R", "R": "L"}


class Snake(Game):
    actions: ClassVar[Mapping[str, str]] = {
        "L": "left",
        "R": "right",
        "U": "up",
        "D": "down",
        "S": "straight",
    }
    _RULES: ClassVar = (
        "You steer a snake on a grid. x grows to the right, y grows downwards; x and y from 1 to 6 "
        "are free, the wall is around them. Each turn the head moves one cell: L (x-1), R (x+1), "
        "U (y-1), D (y+1) or S (straight on). Food is a point, and the snake grows. The wall, an "
        "obstacle or your own body ends the game with a point less."
    )
    _BRIEF: ClassVar = "Snake: L x-1, R x+1, U y-1, D y+1. Stay in 1 to 6. Eat food, hit nothing."

    def __init__(
        self, level: str, seed: int, most_turns: int = MOST_TURNS, *, brief: bool = False
    ) -> None:
        super().__init__(level, seed, most_turns, brief=brief)
        self.rules = self._BRIEF if brief else self._RULES
        self._random = random.Random(f"snake-{LEVELS.index(level)}-{seed}")
        self.body = [_START]  # the head first
        self.heading = "L"
        self.num_eaten = 0
        self.dead = False
        self.obstacles = frozenset(self._free(_OBSTACLES[level], near=True))
        self.foods = {cell: _LIFE for cell in self._free(_FOODS)}  # turns that are left

    def _free(self, num: int, *, near: bool = False) -> list[Cell]:
        """Cells drawn at random; `near`: none on the way that the snake takes first."""
        taken = {*self.body, *getattr(self, "obstacles", ()), *getattr(self, "foods", ())}
        if near:
            taken |= {(2, 3), (1, 3)}
        inner = range(1, _SIZE - 1)
        cells = [(x, y) for x in inner for y in inner if (x, y) not in taken]
        return self._random.sample(cells, min(num, len(cells)))

    @property
    def over(self) -> bool:
        return self.dead or self.turn >= self.most_turns

    @property
    def score(self) -> float:
        return float(self.num_eaten - self.dead)

    def act(self, action: str) -> None:
        if action in MOVES and action != _BACK[self.heading]:
            self.heading = action
        head = _next(self.body[0], self.heading)
        eats = head in self.foods
        self.turn += 1
        if self._is_death(head, self.body if eats else self.body[:-1]):
            self.dead = True
            return
        self.body.insert(0, head)
        if eats:
            self.num_eaten += 1
            del self.foods[head]
        else:
            self.body.pop()
        self.foods = {cell: left - 1 for cell, left in self.foods.items() if left > 1}
        if self.turn % 3 == 1:
            self.foods |= {cell: _LIFE for cell in self._free(1)}

    def _is_death(self, head: Cell, body: list[Cell]) -> bool:
        on_wall = not all(0 < place < _SIZE - 1 for place in head)
        return on_wall or head in self.obstacles or head in body

    def state(self) -> str:
        if self.brief:
            return (
                f"head {_signs(self.body[:1])} {self.heading} body {_signs(self.body[1:])} "
                f"block {_signs(sorted(self.obstacles))} food {_signs(sorted(self.foods))}"
            )
        foods = ", ".join(f"{cell} for {left} turns" for cell, left in sorted(self.foods.items()))
        return (
            f"Turn {self.turn}. Head {self.body[0]}, heading {self.actions[self.heading]}. "
            f"Body: {', '.join(map(str, self.body[1:])) or 'none'}. "
            f"Obstacles: {', '.join(map(str, sorted(self.obstacles)))}. Food: {foods or 'none'}."
        )

    def script(self) -> str:
        """To the nearest food that will still be there, if the way is free as things stand; else
        where most room is.
        """
        head = self.body[0]
        way = shortest(head, lambda at: self.foods.get(at, 0) > 0, self._steps)
        if way and self._in_time(way):
            return way[0]
        return max(MOVES, key=lambda move: self._room(_next(head, move)))

    def _in_time(self, way: list[str]) -> bool:
        cell = self.body[0]
        for move in way:
            cell = _next(cell, move)
        return len(way) <= self.foods[cell]

    def _steps(self, at: Cell) -> Iterator[tuple[str, Cell]]:
        for move in MOVES:
            cell = _next(at, move)
            if not self._is_death(cell, self.body[:-1]):
                yield move, cell

    def _room(self, cell: Cell) -> int:
        """How many cells can be reached from it; 0: it is death."""
        if self._is_death(cell, self.body[:-1]):
            return 0
        seen, edge = {cell}, [cell]
        while edge:
            for _, after in self._steps(edge.pop()):
                if after not in seen:
                    seen.add(after)
                    edge.append(after)
        return len(seen)


def _signs(cells: Sequence[Cell]) -> str:
    return " ".join(f"{x},{y}" for x, y in cells) or "-"


def _next(cell: Cell, move: str) -> Cell:
    step = MOVES[move]
    return cell[0] + step[0], cell[1] + step[1]
