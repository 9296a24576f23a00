"""Who plays: four ways to spend a turn's time on thinking, in tokens or in milliseconds.

    reactive    a few tokens on the present state
    planning    thoughts that go on across turns, until they end in a list of actions
    deadline    as many thoughts as a turn has time for, on the present state
    agile       thoughts that go on across turns, and a reactive pass that reads them

In virtual time a turn is worth `turn_tokens` thinking tokens: what a planner has said so far is cut
there, so that nobody depends on the speed of the machine. A planner that starts in a turn gets what
the reactive pass leaves of it. Tokens of an answer, a few each, are counted to nobody. In real time
a turn lasts `turn_ms`, and the reactive pass has the last `react_ms` of it. Answers are legal
actions: a grammar holds them to the game's letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edgereason.grammars import Grammar
from edgereason.prompt.reasoning import FINAL_CUE
from edgereason.records import Answer
from edgereason.robot import Agile, Planner, Thoughts
from edgereason.robot.agile import Muted, Thinker, messages
from edgereason.runtime.reasoner import Reasoner

from .base import Game, actions_in

# Told to decide, or to list its actions, a 0.5B answers without a thought.
REACT_TASK: Final = (
    "Write one sentence about what is in your way and one about where you should go. Then choose "
    "one action."
)
PLAN_TASK: Final = (
    "Write one sentence about what is in your way, one about where you should go, and one about "
    "how you get there. Then choose one action for each of the next turns."
)
REACT_BRIEFLY: Final = "Your action?"
PLAN_BRIEFLY: Final = "Your next actions?"
_ANSWER_TOKENS: Final = 4
_PLAN_ANSWER_TOKENS: Final = 24
_MOST_PLANNED: Final = 12  # actions of a list


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a game goes. Either `turn_tokens` or `turn_ms` is there.

    Attributes:
        turn_tokens: thinking tokens that a turn is worth; `react_tokens` of them are the reactive
            pass's.
        turn_ms: milliseconds that a turn lasts; `react_ms` of them, at its end, are the reactive
            pass's, which then still thinks `react_tokens` at most.
        plan_tokens: thinking tokens of a planner at most, for one plan.
        brief: tasks in few characters, for games told the same way.
    """

    turn_tokens: int | None = None
    turn_ms: float | None = None
    react_tokens: int = 16
    react_ms: float | None = None
    plan_tokens: int = 256
    brief: bool = False

    @property
    def react_task(self) -> str:
        return REACT_BRIEFLY if self.brief else REACT_TASK

    @property
    def plan_task(self) -> str:
        return PLAN_BRIEFLY if self.brief else PLAN_TASK


@dataclass(frozen=True, slots=True)
class Choice:
    """What an agent did in a turn. `action` is None where it came up with none in time."""

    action: str | None
    late: bool
    thinking_tokens: int
    read: bool = False  # a planner's thoughts were read


class Agent(Protocol):
    def choose(self, state: str) -> Choice:
        """Takes a turn's time, or notes what it would have taken."""
        ...

    def close(self) -> None: ...


class TokenPlanner:
    """A planner whose text appears at so many tokens a turn. The model writes a plan at once; what
    of it can be read is cut by the count.
    """

    def __init__(self, reasoner: Reasoner, game: Game, pace: Pace) -> None:
        self._reasoner = reasoner
        self._rules = game.rules
        self._pace = pace
        self._grammar = list_of(game)
        self._thought: tuple[int, ...] = ()
        self._thoughts = ""  # all of them, without the mark that ends them
        self._answered: tuple[int, ...] = ()
        self._shown = 0
        self._tick = 0

    def look(self, state: str, tick: int) -> None:
        turn = self._pace.turn_tokens or 0
        if not self._is_finished:
            self._show(turn)
            return
        handle = self._reasoner.submit(
            messages(self._rules, f"{state}\n\n{self._pace.plan_task}"),
            strategy="think",
            think_budget=self._pace.plan_tokens,
            answer_budget=_PLAN_ANSWER_TOKENS,
            grammar=self._grammar,
            keep=True,  # the reactive pass of this turn reads the same rules and state
        )
        handle.result()
        results = handle.chains[0]
        self._thought, self._thoughts = results[0].tokens, results[0].text.strip()
        self._answered = tuple(token for result in results[1:] for token in result.tokens)
        self._tick, self._shown = tick, 0
        self._show(turn - self._pace.react_tokens)

    def _show(self, tokens: int) -> None:
        self._shown = min(self._num_tokens, self._shown + tokens)

    @property
    def _num_tokens(self) -> int:
        return len(self._thought) + len(self._answered)

    @property
    def _is_finished(self) -> bool:
        return self._shown == self._num_tokens

    def heard(self) -> Thoughts:
        text = self._read(self._thought[: self._shown])
        if not self._thoughts.startswith(text):  # the mark has begun
            text = self._thoughts
        plan = self._read(self._answered[: max(0, self._shown - len(self._thought))])
        whole = f"{text}\n{FINAL_CUE} {plan}" if plan else text
        finished = self._is_finished and self._num_tokens > 0
        return Thoughts(whole, self._tick, finished, plan if finished else "")

    def _read(self, tokens: Sequence[int]) -> str:
        said: bytes = self._reasoner.engine.detokenize(tokens)
        return said.decode(errors="replace").strip()

    def close(self) -> None:
        pass


def one_of(game: Game) -> Grammar:
    return Grammar.choice(*game.actions)


def list_of(game: Game) -> Grammar:
    letters = "".join(game.actions)
    return Grammar.regex(f"[{letters}]( [{letters}]){{0,{_MOST_PLANNED - 1}}}")


def planner_of(reasoner: Reasoner, game: Game, pace: Pace) -> Thinker:
    if pace.turn_ms is None:
        return TokenPlanner(reasoner, game, pace)
    return Planner(
        reasoner,
        rules=game.rules,
        task=pace.plan_task,
        think_tokens=pace.plan_tokens,
        answer_tokens=_PLAN_ANSWER_TOKENS,
        grammar=list_of(game),
    )


class Reader:
    """`reactive` and `agile`: the same pass, with a planner or with a muted one."""

    def __init__(self, reasoner: Reasoner, game: Game, pace: Pace, planner: Thinker) -> None:
        self._game = game
        self._pace = pace
        self._agile = Agile(
            reasoner,
            rules=game.rules,
            period_ms=pace.turn_ms,
            react_ms=pace.react_ms,
            react_tokens=pace.react_tokens,
            answer_tokens=_ANSWER_TOKENS,
            grammar=one_of(game),
            planner=planner,
        )

    def choose(self, state: str) -> Choice:
        act = self._agile.tick(f"{state}\n\n{self._pace.react_task}")
        late = act.late_ms > 0 or act.answer.usage.reasoning_tokens > self._pace.react_tokens
        return _choice(act.answer, self._game, late=late, read=bool(act.thoughts.text))

    def close(self) -> None:
        self._agile.close()


class Thoughtful:
    """`deadline`: thinks about the present state until the turn is over."""

    def __init__(self, reasoner: Reasoner, game: Game, pace: Pace) -> None:
        self._reasoner = reasoner
        self._game = game
        self._pace = pace

    def choose(self, state: str) -> Choice:
        pace = self._pace
        budget = pace.plan_tokens if pace.turn_tokens is None else pace.turn_tokens
        answer = self._reasoner.ask(
            messages(self._game.rules, f"{state}\n\n{pace.react_task}"),
            strategy="think",
            think_budget=budget,
            answer_budget=_ANSWER_TOKENS,
            grammar=one_of(self._game),
            deadline_ms=pace.turn_ms,
            keep=True,
        )
        late = answer.budget.deadline_ms.late_ms > 0 or answer.usage.reasoning_tokens > budget
        return _choice(answer, self._game, late=late)

    def close(self) -> None:
        pass


class Lister:
    """`planning`: does what its last finished list says of this turn, else the default."""

    def __init__(
        self,
        game: Game,
        pace: Pace,
        planner: Thinker,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._game = game
        self._planner = planner
        self._turn_s = (pace.turn_ms or 0.0) / 1000
        self._sleep = sleep
        self._turn = 0
        self._plan: Thoughts | None = None
        self._actions: Sequence[str] = ()

    def choose(self, state: str) -> Choice:
        turn, self._turn = self._turn, self._turn + 1
        self._planner.look(state, turn)
        self._sleep(self._turn_s)
        heard = self._planner.heard()
        if heard.finished and heard != self._plan:
            self._plan = heard
            self._actions = actions_in(heard.plan, self._game.actions)
        place = turn - self._plan.tick if self._plan else len(self._actions)
        action = self._actions[place] if place < len(self._actions) else None
        return Choice(action, late=False, thinking_tokens=0, read=self._plan is not None)

    def close(self) -> None:
        self._planner.close()


def _choice(answer: Answer, game: Game, *, late: bool, read: bool = False) -> Choice:
    named = actions_in(answer.answer, game.actions)
    action = named[0] if named and not late else None
    return Choice(action, late, answer.usage.reasoning_tokens, read)


AGENTS: Final = ("reactive", "planning", "deadline", "agile")


def agent(name: str, reasoner: Reasoner, game: Game, pace: Pace) -> Agent:
    if name == "reactive":  # it has the whole turn
        return Reader(reasoner, game, replace(pace, react_ms=pace.turn_ms), Muted())
    if name == "deadline":
        return Thoughtful(reasoner, game, pace)
    if name == "planning":  # nobody else spends tokens
        pace = replace(pace, react_tokens=0)
        return Lister(game, pace, planner_of(reasoner, game, pace))
    return Reader(reasoner, game, pace, planner_of(reasoner, game, pace))
