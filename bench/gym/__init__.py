"""Games in which time passes while one thinks, in the terms of Real-Time Reasoning.

https://arxiv.org/abs/2511.04898. The rules are those of its gym, written anew; where it leaves a
rule open, the game's docstring says what ours is.
"""

from __future__ import annotations

from .base import Game, actions_in
from .freeway import Freeway
from .overcooked import Overcooked
from .snake import Snake

GAMES: dict[str, type[Game]] = {"freeway": Freeway, "overcooked": Overcooked, "snake": Snake}

__all__ = ["GAMES", "Freeway", "Game", "Overcooked", "Snake", "actions_in"]
