"""Requests with deadlines: how they are drawn, and what they ask of a machine.

Arrivals are a Poisson process, deadlines log-uniform, questions short or long, all from one seed.
Knows no model: what work costs is handed in.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .questions import Question, short_question, word_problem

_TIGHT: Final = 0.5  # a question whose answer alone takes more of its deadline is made shorter


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. `at_s` counts from the beginning of the run, `deadline_s` from its arrival."""

    at_s: float
    deadline_s: float
    priority: int
    question: str


@dataclass(frozen=True, slots=True)
class Costs:
    """What work takes on this machine, one request at a time."""

    prompt_s: float  # a token of a prompt
    step_s: float  # a token drawn
    thinking_tokens: float  # of a request that may think as long as it likes, on average
    cue_tokens: int  # put between thinking and answer

    def owed_s(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Prompt and answer, without any thinking."""
        return (prompt_tokens + self.cue_tokens) * self.prompt_s + answer_tokens * self.step_s


@dataclass(frozen=True, slots=True)
class Demand:
    """Seconds of work that arrive per second: answers alone, and thinking as long as it likes."""

    owed: float
    thinking: float


@dataclass(frozen=True, slots=True)
class Mix:
    """What requests are drawn from. `problems`: long questions; none: ours."""

    deadline_s: tuple[float, float] = (0.3, 5.0)
    num_priorities: int = 3
    long_share: float = 0.5
    problems: Sequence[Question] = ()


def draw(
    num: int, rate: float, mix: Mix, seed: int, owed_s: Callable[[str], float] | None = None
) -> list[Arrival]:
    """`num` requests at `rate` a second.

    With `owed_s` a long question goes only to those whose deadline leaves time to think about it.
    """
    generator = random.Random(seed)
    at = 0.0
    arrivals = []
    low, high = map(math.log, mix.deadline_s)
    for _ in range(num):
        at += generator.expovariate(rate)
        deadline = math.exp(generator.uniform(low, high))
        priority = generator.randrange(mix.num_priorities)
        # All is drawn each time, so that a choice here does not change the requests that follow.
        is_long = generator.random() < mix.long_share
        short = short_question(generator)
        long = generator.choice(mix.problems) if mix.problems else word_problem(generator)
        if is_long and owed_s is not None and owed_s(long.text) > _TIGHT * deadline:
            is_long = False
        arrivals.append(Arrival(at, deadline, priority, long.text if is_long else short.text))
    return arrivals


def demand(arrivals: Sequence[Arrival], costs: Costs, owed_s: Callable[[str], float]) -> Demand:
    """What these requests ask for per second of the time in which they arrive."""
    seconds = arrivals[-1].at_s
    owed = sum(owed_s(arrival.question) for arrival in arrivals)
    return Demand(owed / seconds, len(arrivals) * costs.thinking_tokens * costs.step_s / seconds)


def late_at_best(arrivals: Sequence[Arrival], owed_s: Callable[[str], float]) -> int:
    """How many are late though nobody thinks and the earliest deadline is always served.

    One request at a time, as `owed_s` has it: batches and shared prefixes can do better.
    """
    now = 0.0
    waiting: list[tuple[float, int, float]] = []  # deadline, index, work left
    num_late = 0
    moments = [*((one.at_s, index) for index, one in enumerate(arrivals)), (math.inf, -1)]
    for at, index in moments:
        while waiting and now < at:
            deadline, first, left = heapq.heappop(waiting)
            worked = min(left, at - now)
            now += worked
            if worked < left:
                heapq.heappush(waiting, (deadline, first, left - worked))
            else:
                num_late += now > deadline
        now = max(now, at)
        if index >= 0:
            one = arrivals[index]
            heapq.heappush(waiting, (one.at_s + one.deadline_s, index, owed_s(one.question)))
    return num_late
