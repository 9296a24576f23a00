"""What every game offers, and how actions are read from what a model wrote.

A game is turned by `act`, one action a turn, whether anybody has thought about it or not. All
chance comes from its seed. Knows no model and no clock.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import ClassVar, Final, TypeVar

LEVELS: Final = ("easy", "medium", "hard")
MOST_TURNS: Final = 100

Cell = tuple[int, int]  # column, row; row 0 is the top
MOVES: Final[Mapping[str, Cell]] = {"U": (0, -1), "D": (0, 1), "L": (-1, 0), "R": (1, 0)}

State = TypeVar("State", bound=Hashable)


class Game(ABC):
    """One episode.

    Attributes:
        actions: letter -> the word for it.
        default: the action of a turn for which nobody came up with one.
        rules: what a model is told once; it does not change during an episode.
        brief: rules and states in few characters, for models with a short context.
    """

    actions: ClassVar[Mapping[str, str]]
    rules: str
    default: str = "S"

    def __init__(
        self, level: str, seed: int, most_turns: int = MOST_TURNS, *, brief: bool = False
    ) -> None:
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        self.level, self.seed, self.most_turns, self.brief = level, seed, most_turns, brief
        self.turn = 0

    @property
    @abstractmethod
    def over(self) -> bool: ...

    @property
    @abstractmethod
    def score(self) -> float:
        """In the game's own points."""

    @abstractmethod
    def state(self) -> str:
        """The present turn: all that a player may know; with `brief` what matters, in signs."""

    @abstractmethod
    def act(self, action: str) -> None:
        """Plays one turn. An action that is none is the default."""

    @abstractmethod
    def script(self) -> str:
        """What a simple program would do now: a bound to hold models against."""


def actions_in(text: str, actions: Mapping[str, str]) -> list[str]:
    """The actions that a text names, in order: letters standing alone or in a run, and words.

    `{"U": "up", "S": "stay"}`: "U, stay and UU" is U S U U. "As" names none.
    """
    letters = "".join(actions)
    by_word = {word.lower(): letter for letter, word in actions.items()}
    found: list[str] = []
    for word in re.findall(r"[A-Za-z]+", text):
        if word.lower() in by_word:
            found.append(by_word[word.lower()])
        elif all(letter in letters for letter in word):
            found += word
    return found


def shortest(
    start: State,
    is_goal: Callable[[State], bool],
    steps: Callable[[State], Iterable[tuple[str, State]]],
) -> list[str] | None:
    """Breadth first: the first of the shortest ways, as actions. None: there is none."""
    ways: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if is_goal(state):
            return _way(ways, state)
        for action, after in steps(state):
            if after not in ways:
                ways[after] = (state, action)
                queue.append(after)
    return None


def _way(ways: Mapping[State, tuple[State, str] | None], state: State) -> list[str]:
    actions = []
    while (came := ways[state]) is not None:
        state, action = came
        actions.append(action)
    return actions[::-1]
