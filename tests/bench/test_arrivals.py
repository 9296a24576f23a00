"""Requests drawn from a seed, what they ask of a machine, and what is possible at best."""

from __future__ import annotations

import itertools
import math

import pytest

from edgereason.bench.harness.arrivals import Arrival, Costs, Mix, demand, draw, late_at_best

COSTS = Costs(prompt_s=0.003, step_s=0.008, thinking_tokens=150.0, cue_tokens=4)


def owed_by_words(question: str) -> float:
    return COSTS.owed_s(len(question.split()), answer_tokens=12)


def test_requests_are_drawn_from_the_seed_alone() -> None:
    arrivals = draw(200, 2.0, Mix(), 1)
    assert arrivals == draw(200, 2.0, Mix(), 1)
    assert arrivals != draw(200, 2.0, Mix(), 2)
    assert all(0.3 <= arrival.deadline_s <= 5.0 for arrival in arrivals)
    assert {arrival.priority for arrival in arrivals} == {0, 1, 2}
    assert all(a.at_s < b.at_s for a, b in itertools.pairwise(arrivals))


def test_arrivals_come_at_the_rate_and_deadlines_are_log_uniform() -> None:
    arrivals = draw(4000, 2.0, Mix(), 3)
    assert 4000 / arrivals[-1].at_s == pytest.approx(2.0, rel=0.1)
    middle = math.sqrt(0.3 * 5.0)
    num_short = sum(arrival.deadline_s < middle for arrival in arrivals)
    assert num_short / 4000 == pytest.approx(0.5, abs=0.05)


def test_costs_change_questions_and_nothing_else() -> None:
    free = draw(300, 1.0, Mix(), 4)
    fitted = draw(300, 1.0, Mix(), 4, owed_by_words)
    for a, b in zip(free, fitted, strict=True):
        assert (a.at_s, a.deadline_s, a.priority) == (b.at_s, b.deadline_s, b.priority)
        if a.question != b.question:
            assert owed_by_words(a.question) > 0.5 * a.deadline_s
            assert len(b.question) < len(a.question)
    assert free != fitted


def test_demand_counts_answers_and_thinking() -> None:
    arrivals = [Arrival(1.0, 1.0, 0, "a b"), Arrival(4.0, 1.0, 0, "a b")]
    found = demand(arrivals, COSTS, owed_by_words)
    assert found.owed == pytest.approx(2 * owed_by_words("a b") / 4)
    assert found.thinking == pytest.approx(2 * 150 * 0.008 / 4)


@pytest.mark.parametrize(
    ("arrivals", "num_late"),
    [
        ([(0.0, 1.0), (0.0, 2.0)], 0),
        ([(0.0, 1.5), (0.0, 1.6)], 1),  # both take a second
        ([(0.0, 3.0), (0.5, 1.0)], 0),  # the second one goes first when it arrives
        ([(0.0, 0.9), (5.0, 1.0)], 1),  # late even alone
        ([(0.0, 2.5), (0.1, 1.0), (0.2, 1.0)], 2),
    ],
)
def test_the_best_order_serves_the_earliest_deadline(
    arrivals: list[tuple[float, float]], num_late: int
) -> None:
    drawn = [Arrival(at, deadline_s, 0, "") for at, deadline_s in arrivals]
    assert late_at_best(drawn, lambda question: 1.0) == num_late
