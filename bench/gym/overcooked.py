"""Overcooked: cook onion soups beside a partner who only ever brings onions.

Three onions, five turns on the fire, then a dish, then the hatch: 20 points a soup, 100 turns. The
player moves first, then the partner; the seed says where they begin. The partner is a script: it
puts onions into pots, and where none takes one, on counters.

Ours: the kitchens (5 x 5 open, 7 x 5 and 8 x 5 with a counter in the middle), that a partner
without a free counter waits, and points on the way: 3 for an onion that the player puts into a pot,
5 for a soup that it takes out.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from .base import MOST_TURNS, Cell, Game
from .kitchen import LAYOUTS, ONIONS, Cook, Kitchen

_POINTS: Final = 20
_REMEMBERED: Final = 5  # actions of the player that the state tells
_NAMES: Final = {"O": "onions", "D": "dishes", "T": "hatch"}


class Overcooked(Game):
    actions: ClassVar[Mapping[str, str]] = {
        "U": "up",
        "D": "down",
        "L": "left",
        "R": "right",
        "I": "interact",
        "S": "stay",
    }

    def __init__(
        self, level: str, seed: int, most_turns: int = MOST_TURNS, *, brief: bool = False
    ) -> None:
        super().__init__(level, seed, most_turns, brief=brief)
        generator = random.Random(f"overcooked-{level}-{seed}")
        self.kitchen = Kitchen.of(LAYOUTS[level], generator)
        self._last: deque[str] = deque(maxlen=_REMEMBERED)
        self.rules = self._in_signs() if brief else self._in_words()

    def _in_signs(self) -> str:
        tiles = ((name, self.kitchen.cells(tile)) for tile, name in _NAMES.items())
        places = " ".join(f"{name} {_signs(cells)}" for name, cells in tiles)
        return (
            f"Soup: {ONIONS} onions in the pot, wait, dish, hatch. U D L R walk, I use, S stay. "
            f"{places}"
        )

    def _in_words(self) -> str:
        places = ", ".join(
            f"{name} at {' and '.join(map(str, self.kitchen.cells(tile)))}"
            for tile, name in _NAMES.items()
        )
        floor = " ".join(f"({x},{y})" for x, y in self.kitchen.cells("."))
        return (
            f"You cook onion soup. x grows to the right, y grows downwards. Floor: {floor}. "
            f"{places}; all else is counter. Each turn you do one action: U, D, L, R (a step, or "
            "a turn towards what is in the way), I (interact with what you face) or S (stay). "
            f"{ONIONS} onions in the pot, 5 turns of cooking, then take the soup with a dish and "
            f"bring it to the hatch: {_POINTS} points. A partner brings onions."
        )

    @property
    def over(self) -> bool:
        return self.turn >= self.most_turns

    @property
    def score(self) -> float:
        return float(_POINTS * self.kitchen.num_served + self.kitchen.cooks[0].points)

    def act(self, action: str) -> None:
        player, partner = self.kitchen.cooks
        self._last.append(action if action in self.actions else self.default)
        self.turn += 1
        self.kitchen.act(player, self._last[-1])
        self.kitchen.act(partner, self._partners())
        self.kitchen.cook_on()

    def _partners(self) -> str:
        """Onions, wherever one fits."""
        kitchen, partner = self.kitchen, self.kitchen.cooks[1]
        if not partner.held:
            return kitchen.towards(partner, kitchen.cells("O")) or "S"
        pots = [cell for cell, pot in kitchen.pots.items() if pot.onions < ONIONS]
        free = [cell for cell in kitchen.cells("X") if cell not in kitchen.counters]
        return kitchen.towards(partner, pots) or kitchen.towards(partner, free) or "S"

    def state(self) -> str:
        kitchen = self.kitchen
        player, partner = kitchen.cooks
        if self.brief:
            pots = " ".join(f"{_signs([at])} {pot.onions}" for at, pot in kitchen.pots.items())
            return (
                f"you {_signs([player.at])} {player.facing} {player.held or '-'} "
                f"mate {_signs([partner.at])} {partner.held or '-'} pot {pots}"
            )
        pots = ", ".join(f"{cell} {pot}" for cell, pot in kitchen.pots.items())
        lying = ", ".join(f"{what} on {cell}" for cell, what in sorted(kitchen.counters.items()))
        return (
            f"Turn {self.turn}. You are at {player.at}, facing {self.actions[player.facing]}, "
            f"holding {player.held or 'nothing'}. Partner at {partner.at}, holding "
            f"{partner.held or 'nothing'}. Pot: {pots}. Counters: {lying or 'empty'}. "
            f"Your last actions: {' '.join(self._last) or 'none'}."
        )

    def script(self) -> str:
        """Greedy: what the nearest soup needs next."""
        kitchen, player = self.kitchen, self.kitchen.cooks[0]
        for targets in self._wishes(player):
            action = kitchen.towards(player, targets) if targets else None
            if action:
                return action
        return "S"

    def _wishes(self, player: Cook) -> tuple[list[Cell], ...]:
        kitchen = self.kitchen
        missing = [cell for cell, pot in kitchen.pots.items() if pot.onions < ONIONS]
        cooking = [cell for cell, pot in kitchen.pots.items() if pot.onions == ONIONS]
        free = [cell for cell in kitchen.cells("X") if cell not in kitchen.counters]
        if player.held == "soup":
            return (kitchen.cells("T"),)
        if player.held == "dish":
            ready = [cell for cell in cooking if kitchen.pots[cell].is_ready]
            return (ready,)
        if player.held == "onion":
            return missing, free
        return kitchen.cells("D") if cooking else [], kitchen.cells("O") if missing else []


def _signs(cells: Sequence[Cell]) -> str:
    return " ".join(f"{x},{y}" for x, y in cells)
