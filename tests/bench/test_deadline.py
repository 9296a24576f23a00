"""Requests are played and given up, and outcomes summed up."""

from __future__ import annotations

import threading
from typing import Any, cast

from edgereason.bench.harness.arrivals import Arrival, Mix, draw
from edgereason.bench.rivals.in_time import AskedServer, ask_llama
from edgereason.bench.suites import deadline
from edgereason.errors import EngineError
from edgereason.prompt.reasoning import PLAIN


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


def test_servers_are_asked_side_by_side_and_a_refusal_is_no_answer() -> None:
    both = threading.Barrier(2, timeout=10)

    def ask(arrival: Arrival) -> tuple[str, int]:
        if arrival.priority:
            raise EngineError("deadline_unattainable" if arrival.priority == 1 else "no such model")
        both.wait()
        return "4", 7

    arrivals = [Arrival(0.0, 1.0, priority, "?") for priority in (0, 0, 1, 2)]
    outcomes = deadline.play(AskedServer(ask), arrivals)
    told = [(one.answer, one.thinking_tokens) for one in outcomes]
    assert told == [("4", 7), ("4", 7), ("", 0), (None, 0)]


def test_llamas_answer_is_what_follows_the_cue() -> None:
    said = "17 * 3 is 51. Final answer: 51"

    class Server:
        def chat(self, turns: Any, **more: Any) -> Any:
            assert more["t_max_predict_ms"] == 1500
            assert turns[0]["content"].startswith("What?")
            return {"choices": [{"message": {"content": said}}], "usage": {"completion_tokens": 9}}

    arrival = Arrival(0.0, 1.5, 0, "What?")
    server = cast(Any, Server())
    assert ask_llama(server, arrival, mode=PLAIN.on, shuts=PLAIN.shuts) == (" 51", 9)
    said = "17 * 3 is"
    assert ask_llama(server, arrival, mode=PLAIN.on, shuts=PLAIN.shuts) == ("", 9)
    assert ask_llama(server, arrival, mode=PLAIN.off, shuts=()) == (said, 0)  # it does not think


def test_every_outcome_is_in_one_band_and_one_priority() -> None:
    arrivals = draw(100, 1.0, Mix(), 5)
    groups = deadline.grouped([deadline.Outcome(arrival, "1", 0.0, 0) for arrival in arrivals])
    sizes = {label: len(found) for label, found in groups.items()}
    assert sum(size for label, size in sizes.items() if label.endswith(" s")) == 100
    assert sum(size for label, size in sizes.items() if label.startswith("priority")) == 100
