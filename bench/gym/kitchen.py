"""The kitchens of the cooking game, and what a cook does in one.

    X counter   P pot   O onions   D dishes   T the hatch where soups are served   . floor

A turn of a cook: a step onto free floor, or a turn towards what is in the way, or `I`: do something
with what one looks at. Knows no scores and no turns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .base import MOVES, Cell, shortest

LAYOUTS: Final = {
    "easy": ("XXPXX", "O...O", "X...X", "X...X", "XDXTX"),
    "medium": ("XXPXXXX", "O..X..O", "X..X..X", "X.....X", "XDXTXXX"),
    "hard": ("XXPXXXXX", "O..XX..O", "X..XX..X", "X......X", "XDXXXTXX"),
}
ONIONS: Final = 3  # a soup
COOKING: Final = 5  # turns
FOR_AN_ONION: Final = 3  # points, in a pot
FOR_A_SOUP: Final = 5  # taken out of the pot


@dataclass(slots=True)
class Pot:
    onions: int = 0
    cooking: int = 0  # turns since it was full

    @property
    def is_ready(self) -> bool:
        return self.onions == ONIONS and self.cooking >= COOKING

    def __str__(self) -> str:
        if self.onions < ONIONS:
            return f"{self.onions} of {ONIONS} onions"
        return "soup is ready" if self.is_ready else f"cooks, {COOKING - self.cooking} turns to go"


@dataclass(slots=True)
class Cook:
    at: Cell
    facing: str = "U"
    held: str = ""  # onion, dish, soup
    points: int = 0  # for what leads to a soup

    @property
    def looks_at(self) -> Cell:
        step = MOVES[self.facing]
        return self.at[0] + step[0], self.at[1] + step[1]


@dataclass(slots=True)
class Kitchen:
    """Tiles by cell, and what lies on them. Cooks: the player, then the partner."""

    tiles: dict[Cell, str]
    cooks: tuple[Cook, Cook]
    pots: dict[Cell, Pot]
    counters: dict[Cell, str] = field(default_factory=dict)
    num_served: int = 0

    @classmethod
    def of(cls, layout: tuple[str, ...], generator: random.Random) -> Kitchen:
        """The cooks begin on any floor."""
        tiles = {(x, y): tile for y, row in enumerate(layout) for x, tile in enumerate(row)}
        floor = [cell for cell, tile in tiles.items() if tile == "."]
        player, partner = generator.sample(floor, 2)
        pots = {cell: Pot() for cell, tile in tiles.items() if tile == "P"}
        return cls(tiles, (Cook(player), Cook(partner)), pots)

    def cells(self, tile: str) -> list[Cell]:
        return [cell for cell, found in self.tiles.items() if found == tile]

    def act(self, cook: Cook, action: str) -> None:
        if action in MOVES:
            cook.facing = action
            if self._is_free(cook.looks_at):
                cook.at = cook.looks_at
        elif action == "I":
            self._interact(cook, cook.looks_at)

    def cook_on(self) -> None:
        """A turn passes for what is on the fire."""
        for pot in self.pots.values():
            pot.cooking += pot.onions == ONIONS

    def _is_free(self, cell: Cell) -> bool:
        return self.tiles.get(cell) == "." and all(cook.at != cell for cook in self.cooks)

    def _interact(self, cook: Cook, cell: Cell) -> None:
        tile = self.tiles[cell]
        if tile == "O" and not cook.held:
            cook.held = "onion"
        elif tile == "D" and not cook.held:
            cook.held = "dish"
        elif tile == "P":
            self._use(cook, self.pots[cell])
        elif tile == "T" and cook.held == "soup":
            cook.held = ""
            self.num_served += 1
        elif tile == "X" and cook.held and cell not in self.counters:
            self.counters[cell], cook.held = cook.held, ""
        elif tile == "X" and not cook.held:
            cook.held = self.counters.pop(cell, "")

    def _use(self, cook: Cook, pot: Pot) -> None:
        if cook.held == "onion" and pot.onions < ONIONS:
            cook.held = ""
            cook.points += FOR_AN_ONION
            pot.onions += 1
        elif cook.held == "dish" and pot.is_ready:
            cook.held = "soup"
            cook.points += FOR_A_SOUP
            pot.onions = pot.cooking = 0

    # -- finding one's way -------------------------------------------------------------------------

    def towards(self, cook: Cook, targets: list[Cell]) -> str | None:
        """The next action of the shortest way to do something with one of these; None: no way."""

        def steps(at: tuple[Cell, str]) -> Iterator[tuple[str, tuple[Cell, str]]]:
            for move in MOVES:
                there = Cook(at[0], move).looks_at
                yield move, (there if self._is_free(there) else at[0], move)

        way = shortest((cook.at, cook.facing), lambda at: Cook(*at).looks_at in targets, steps)
        if way is None:
            return None
        return way[0] if way else "I"
