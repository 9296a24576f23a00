"""The deadline bench: its requests, what is possible at best, and how outcomes are summed up."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest

from edgereason.bench.harness import runner
from edgereason.bench.harness.arrivals import Arrival, Costs, Mix, demand, draw, late_at_best
from edgereason.bench.suites import deadline, simulate

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


def test_lateness_is_summed_up_over_late_answers_only() -> None:
    arrival = Arrival(0.0, 1.0, 0, "What is 2 + 2?")
    outcomes = [
        deadline.Outcome(arrival, "The answer is 4.", -20.0, 10),
        deadline.Outcome(arrival, "four", 5.0, 0),
        deadline.Outcome(arrival, " ", 30.0, 2),
        deadline.Outcome(arrival, None, 40.0, 0),
    ]
    row = deadline.summary(outcomes, step_ms=10.0)
    assert (row["in time"], row["late"], row["late by over a step"]) == (1, 3, 2)
    assert (row["median ms late"], row["most ms late"], row["most steps late"]) == (30.0, 40.0, 4.0)
    assert row["given up"] == 1
    assert (row["no answer"], row["no number"]) == (1, 2)
    assert row["mean thinking tokens"] == 3


def test_a_queue_is_given_up_when_every_deadline_is_over() -> None:
    class Stuck:
        def __init__(self) -> None:
            self.waiting: list[Any] = []

        def submit(self, arrival: Arrival, done: Any) -> None:
            if arrival.priority:
                done("4", 1)
            else:
                self.waiting.append(done)

        def give_up(self) -> None:
            for done in self.waiting:
                done(None, 0)

    arrivals = [Arrival(0.0, 0.05, 1, "?"), Arrival(0.01, 0.02, 0, "?"), Arrival(0.02, 0.3, 0, "?")]
    first, *rest = deadline.play(Stuck(), arrivals)
    assert (first.answer, first.late_ms < 0) == ("4", True)
    assert [one.answer for one in rest] == [None, None]
    assert rest[0].late_ms > 100  # its own deadline was over long before the last one


def test_every_outcome_is_in_one_band_and_one_priority() -> None:
    arrivals = draw(100, 1.0, Mix(), 5)
    groups = deadline.grouped([deadline.Outcome(arrival, "1", 0.0, 0) for arrival in arrivals])
    sizes = {label: len(found) for label, found in groups.items()}
    assert sum(size for label, size in sizes.items() if label.endswith(" s")) == 100
    assert sum(size for label, size in sizes.items() if label.startswith("priority")) == 100


def test_nobody_is_late_in_virtual_time(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--owed", "0.5", "--seeds", "2", "--wait-idle", "0", "--quiet"]
    assert runner.run(simulate.BENCH, arguments) == 0
    (load,) = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["loads"]
    assert load["requests"] == 400
    assert load["late"] == 0
    assert load["under 4 tokens"] <= 20  # a few come too late for any order of work
    assert load["mean thinking"] > 20
