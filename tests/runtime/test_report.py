"""What an answer says of its budgets: what was asked, what was in force, what was used."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason.records import (
    Answer,
    AnswerReport,
    Budget,
    Message,
    PhaseResult,
    Request,
    Role,
    StopReason,
    ThinkReport,
)
from edgereason.runtime.reasoner import Reasoner
from edgereason.runtime.report import best_so_far, final_answer, line_answer
from support.places import SCRIPTED


def ran(role: Role, budget: int, used: int, reason: str = "stop", **more: Any) -> PhaseResult:
    """A phase called `x`, which no report may depend on."""
    if role in (Role.THINK, Role.CARRY):
        more = {"num_reasoning": used} | more
    tokens = tuple(range(used))
    return PhaseResult("x", StopReason(reason), "text", role, budget, tokens=tokens, **more)


def report(*lines: list[PhaseResult], think: int = -1, answer: int = 60) -> Answer:
    request = Request((Message("user", "?"),), budget=Budget(think, answer))
    done = line_answer(Answer(""), lines[0])
    return final_answer(done, lines, request=request, used_ms=1.0)


@pytest.mark.parametrize(
    ("asked", "limits", "effective"),
    [
        (-1, [-1], -1),
        (64, [64], 64),
        (64, [-1], 64),
        (-1, [6], 6),  # Coconut's latent steps
        (64, [6], 6),
        (64, [48, 24], 64),  # two rounds
        (100, [48, 24], 72),
        (-1, [48, 24], 72),
        (0, [0], 0),
    ],
)
def test_the_thinking_budget_in_force_is_the_tightest(
    asked: int, limits: list[int], effective: int
) -> None:
    phases = [ran(Role.THINK, limit, min(3, max(limit, 0)), "budget") for limit in limits]
    answer = report([*phases, ran(Role.ANSWER, 60, 5)], think=asked)
    used = sum(phase.num_reasoning for phase in phases)
    assert answer.budget.think_tokens == ThinkReport(asked, effective, used, "budget")


def test_what_is_carried_on_is_thinking() -> None:
    line = [ran(Role.THINK, 48, 48, "budget"), ran(Role.CARRY, 24, 10), ran(Role.ANSWER, 60, 5)]
    answer = report(line)
    assert answer.budget.think_tokens == ThinkReport(-1, 72, 58, "stop")
    assert answer.usage.reasoning_tokens == 58


def test_where_no_phase_thought_the_request_alone_limits() -> None:
    """A block that the model opens in its answer may spend all of it."""
    for used in (0, 4):
        answer = report([ran(Role.ANSWER, 60, 9, num_reasoning=used)], think=64)
        assert answer.budget.think_tokens.effective == 64
        assert answer.budget.think_tokens.used == used
    line = [ran(Role.THINK, 6, 6), ran(Role.ANSWER, 60, 9, num_reasoning=4)]
    assert report(line, think=64).budget.think_tokens == ThinkReport(64, 64, 10, "stop")


def test_of_several_lines_the_longest_counts() -> None:
    children = [[ran(Role.THINK, 8, used), ran(Role.ANSWER, 60, used)] for used in (2, 7)]
    answer = report([ran(Role.PREFILL, 0, 0)], *children)
    assert answer.budget.think_tokens == ThinkReport(-1, 8, 7, "stop")
    assert answer.budget.answer_tokens == AnswerReport(60, 60, 7, "stop")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([ran(Role.ANSWER, 20, 5)], AnswerReport(60, 20, 5, "stop")),
        ([ran(Role.DRAFT, 32, 9), ran(Role.ANSWER, 60, 60, "budget")], (60, 60, 60, "budget")),
        ([ran(Role.DRAFT, 32, 9), ran(Role.THINK, 9, 9, "deadline")], (60, 32, 9, "stop")),
        ([ran(Role.THINK, 9, 3, "deadline")], (60, 60, 0, "deadline")),
        ([ran(Role.ANSWER, 20, 9, num_reasoning=4)], (60, 20, 5, "stop")),
    ],
)
def test_the_answer_budget_in_force_is_that_of_the_phase_that_answered(
    line: list[PhaseResult], expected: Any
) -> None:
    if isinstance(expected, tuple):
        expected = AnswerReport(*expected)
    assert report(line).budget.answer_tokens == expected


def test_what_a_cancelled_line_leaves_is_what_answered() -> None:
    assert best_so_far([ran(Role.THINK, 9, 3, "cancelled")]) == ""
    assert best_so_far([ran(Role.DRAFT, 9, 3), ran(Role.THINK, 9, 3, "cancelled")]) == "text"
    assert best_so_far([ran(Role.CARRY, 9, 3)]) == ""


def test_latent_steps_are_a_budget_of_their_own() -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        marks = {"start": "<|start-latent|>", "end": "<|end-latent|>", "mark": ""}
        options = {"latents": 6, **marks}
        answer = reasoner.ask("What is 17 * 3?", strategy="coconut", options=options)
    assert answer.budget.think_tokens == ThinkReport(-1, 6, 6, "stop")
    assert answer.to_dict()["budget"]["answer_tokens"] == {
        "asked": 256,
        "effective": 256,
        "used": answer.usage.answer_tokens,
        "ended_by": "stop",
    }
