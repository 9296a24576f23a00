"""How much of the time a request is given does it use? One after the other, idle and busy.

The model is asked to think for as long as it can, so that what ends its thinking is the clock.
Every deadline is asked several times in a row, as a robot does, first by a model that knows nothing
of its answers' lengths. Requests whose thinking ended by itself are counted apart: they had no use
for more time.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import Final

from edgereason.records import Answer, Message, StopReason
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import open_questions
from ..harness.runner import Bench, BusyCores, Findings, Say, Table, open_reasoner

_SYSTEM: Final = "Think about it for as long as you can, in many steps, before you answer."
_COLUMNS: Final = (
    "answer budget",
    "busy cores",
    "deadline s",
    "cut by the clock",
    "share used",
    "least",
    "thinking tokens",
    "answer tokens",
    "late",
    "most ms late",
    "most steps late",
    "empty",
    "ended by itself",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `step_ms`: what a step of one row took at that time."""

    budget: int
    busy: int
    deadline_s: float
    share: float
    thinking_tokens: int
    answer_tokens: int
    by_clock: bool
    late_ms: float
    step_ms: float
    empty: bool

    @property
    def group(self) -> tuple[int, int, float]:
        """What is told in one row."""
        return self.budget, self.busy, self.deadline_s


def measure(options: argparse.Namespace, say: Say) -> Findings:
    asked: list[Asked] = []
    with open_reasoner(options) as reasoner:
        for turn in range(options.turns):
            for budget, busy in product(options.answer_budget, options.busy):
                with BusyCores(busy):
                    for deadline_s in options.deadlines:
                        say(f"turn {turn + 1}: answers to {budget}, {busy} busy, {deadline_s:g} s")
                        asked += _in_a_row(reasoner, options.requests, budget, busy, deadline_s)
    rows = [row([one for one in asked if one.group == key]) for key in _groups(asked)]
    remark = (
        "Share used: the median over requests whose thinking the clock cut. A model that ends its "
        "thinking by itself needs no more time."
    )
    figures = {"requests": [asdict(one) for one in asked]}
    return Findings(figures, (Table("Time used of time given", _COLUMNS, rows),), (remark,))


def _groups(asked: Sequence[Asked]) -> list[tuple[int, int, float]]:
    return sorted({one.group for one in asked}, key=lambda group: (-group[0], *group[1:]))


def row(asked: Sequence[Asked]) -> tuple[object, ...]:
    cut = [one for one in asked if one.by_clock]
    late = [one for one in asked if one.late_ms > 0]
    return (
        *asked[0].group,
        len(cut),
        median(one.share for one in cut) if cut else None,
        min((one.share for one in cut), default=None),
        median(one.thinking_tokens for one in asked),
        median(one.answer_tokens for one in asked),
        len(late),
        max(one.late_ms for one in asked),
        max(one.late_ms / one.step_ms for one in asked),
        sum(one.empty for one in asked),
        len(asked) - len(cut),
    )


def _in_a_row(
    reasoner: Reasoner, num: int, budget: int, busy: int, deadline_s: float
) -> list[Asked]:
    found = []
    for i in range(num):
        question = open_questions()[i % len(open_questions())]
        answer = reasoner.ask(
            [Message("system", _SYSTEM), Message("user", question)],
            strategy="think",
            deadline_ms=1000 * deadline_s,
            answer_budget=budget,
        )
        step_ms = reasoner.stats()["step_ms"]
        found.append(_asked(answer, budget, busy, deadline_s, step_ms))
    return found


def _asked(answer: Answer, budget: int, busy: int, deadline_s: float, step_ms: float) -> Asked:
    told = answer.budget
    return Asked(
        budget=budget,
        busy=busy,
        deadline_s=deadline_s,
        share=told.deadline_ms.used / (1000 * deadline_s),
        thinking_tokens=answer.usage.reasoning_tokens,
        answer_tokens=answer.usage.answer_tokens,
        by_clock=told.think_tokens.ended_by == StopReason.DEADLINE.value,
        late_ms=told.deadline_ms.late_ms,
        step_ms=step_ms,
        empty=not answer.answer,
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deadlines", type=float, nargs="+", default=[1, 2, 4, 8], help="seconds")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1], help="cores kept busy")
    parser.add_argument("--requests", type=int, default=10, help="in a row, per deadline and turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--answer-budget", type=int, nargs="+", default=[256, 16])


BENCH = Bench("given_time", __doc__.splitlines()[0], _add_options, measure)
