"""A model that stays reachable: whose clock counts, what is counted, what follows a failure."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial

import pytest

from edgereason.errors import EdgereasonError, EngineError, ModelNotFoundError, UsageError
from edgereason.keywords import request_of
from edgereason.prompt import template
from edgereason.prompt.child import Children
from edgereason.records import Request, StopReason
from edgereason.robot import Outcome, State, Station
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"


def asked(**keywords: object) -> Request:
    return request_of(QUESTION, **{"strategy": "think", "answer_budget": 8, **keywords})


@pytest.fixture
def station() -> Iterator[Station]:
    """Each step takes 2 ms."""
    with Station(partial(Reasoner.open, SCRIPTED, sleep_ms=2)) as started:
        yield started


def until(condition: object, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.005)
    return False


def test_an_answer_and_its_figures(station: Station) -> None:
    outcome = station.submit(asked()).outcome(10)
    assert outcome.answer is not None
    assert (outcome.answer.answer, outcome.error, outcome.late_ms) == ("51", None, 0)
    health = station.health
    assert (health.num_asked, health.num_answered, health.num_running) == (1, 1, 0)


def test_what_renders_templates_runs_before_the_first_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Started by the first question it made that one seconds late on a busy machine."""
    children = Children()
    monkeypatch.setattr(template, "_children", children)
    template._rendered.cache_clear()
    with Station(partial(Reasoner.open, SCRIPTED)) as station:
        assert [child.pid > 0 for child in children._all] == [True]
        assert station.health.num_asked == 0
    children.close()


def test_a_model_that_makes_no_step_turns_questions_down_until_it_does() -> None:
    with Station(partial(Reasoner.open, SCRIPTED, sleep_ms=400), stall_s=0.1) as station:
        assert station.watch() is State.READY  # there is nothing to do
        running = station.submit(asked())
        assert until(lambda: station.watch() is State.STALLED)
        with pytest.raises(EngineError, match="the model is stalled: no step for 0 s"):
            station.submit(asked())
        assert until(lambda: station.watch() is State.READY)
        running.cancel()
        running.outcome(10)
        time.sleep(0.2)
        assert station.watch() is State.READY
        assert (station.health.num_refused, station.health.num_cancelled) == (1, 1)


def test_bad_values() -> None:
    with pytest.raises(UsageError, match="stall_s must be more than 0, got 0"):
        Station(partial(Reasoner.open, SCRIPTED), stall_s=0)


def test_a_deadline_counts_from_when_it_was_asked(station: Station) -> None:
    fresh = station.submit(asked(deadline_ms=2000, think_budget=-1), age_ms=0).outcome(10)
    old = station.submit(asked(deadline_ms=2000), age_ms=1960).outcome(10)
    assert fresh.answer is not None
    assert old.answer is not None
    assert fresh.answer.budget.deadline_ms.asked == 2000
    assert old.answer.budget.deadline_ms.asked == pytest.approx(40)
    assert old.answer.usage.reasoning_tokens < fresh.answer.usage.reasoning_tokens


def test_a_deadline_that_is_over_is_told_at_once(station: Station) -> None:
    with pytest.raises(EdgereasonError, match=r"deadline of 300 ms was over.*500 ms after"):
        station.submit(asked(deadline_ms=300), age_ms=500)
    assert (station.health.num_asked, station.health.num_refused) == (1, 1)


def test_progress_tells_what_is_there_and_how_long_is_left(station: Station) -> None:
    running = station.submit(asked(deadline_ms=5000))
    seen = []
    while not running.outcome_is_there:
        seen.append(running.progress())
        time.sleep(0.01)
    assert any(one.reasoning and not one.answer and one.changed for one in seen)
    left = [one.left_ms for one in seen if one.left_ms is not None]
    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] < left[0] <= 5000
    last = running.progress()
    assert (last.answer.strip(), last.best) == ("51", "51")


def test_the_best_answer_so_far_may_be_a_draft() -> None:
    """`auto` drafts while it thinks; the draft is not shown as an answer."""
    with Station(partial(Reasoner.open, SCRIPTED, sleep_ms=5)) as station:
        running = station.submit(
            request_of(QUESTION, strategy="auto", options={"threshold": 1.0}, answer_budget=4)
        )
        assert until(lambda: running.progress().best != "")
        first = running.progress()
        assert not first.answer
        running.cancel()
        assert running.outcome(5).answer is not None


def test_cancel_and_stop_thinking(station: Station) -> None:
    running = station.submit(asked())
    running.cancel()
    outcome = running.outcome(5)
    assert outcome.answer is not None
    assert outcome.answer.finish is StopReason.CANCELLED
    stopped = station.submit(asked())
    stopped.stop_thinking()
    outcome = stopped.outcome(5)
    assert outcome.answer is not None
    assert outcome.answer.answer
    assert (station.health.num_cancelled, station.health.num_answered) == (1, 1)


def test_an_urgent_request_goes_first(station: Station) -> None:
    slow = station.submit(asked(think_budget=-1))
    urgent = station.submit(asked(priority=10, think_budget=4))
    urgent.outcome(10)
    assert not slow.outcome_is_there
    assert slow.outcome(10).answer is not None


def test_of_many_with_cancels_and_deadlines_none_is_lost() -> None:
    """1,000 requests, a third cancelled at a random moment, half with a deadline."""
    generator = random.Random(1)
    ended: list[Outcome] = []
    with Station(partial(Reasoner.open, SCRIPTED, most_requests=1100)) as station:
        for _ in range(1000):
            deadline = generator.choice([None, generator.uniform(20, 400)])
            running = station.submit(asked(deadline_ms=deadline, think_budget=8))
            running.add_done_callback(ended.append)
            if generator.random() < 1 / 3:
                running.cancel()
            if generator.random() < 0.3:
                time.sleep(0.001)
        assert until(lambda: len(ended) == 1000, 60)
        health = station.health
    assert all((one.answer is None) != (one.error is None) for one in ended)
    assert health.num_running == 0
    assert health.num_asked == 1000
    parts = health.num_answered + health.num_cancelled + health.num_refused + health.num_failed
    assert parts == 1000
    assert health.num_failed == 0


def test_a_broken_engine_is_told_at_once_and_opened_anew() -> None:
    opened = 0

    def open_model() -> Reasoner:
        nonlocal opened
        opened += 1
        return Reasoner.open(SCRIPTED, fail_at_step=10 if opened == 1 else -1)

    with Station(open_model) as station:
        outcome = station.submit(asked()).outcome(10)
        assert isinstance(outcome.error, EngineError)
        assert until(lambda: station.health.state is State.FAILED)
        begin = time.monotonic()
        with pytest.raises(EngineError, match="the model is failed: the engine failed"):
            station.submit(asked())
        assert time.monotonic() - begin < 0.1
        station.watch()
        assert until(lambda: station.health.state is State.READY)
        again = station.submit(asked()).outcome(10)
        assert again.answer is not None
        assert again.answer.answer == "51"
        assert (station.health.num_restarts, station.health.reason) == (1, "")


def test_a_model_that_cannot_be_opened_again_is_tried_again() -> None:
    tries = 0

    def open_model() -> Reasoner:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise ModelNotFoundError("the disk is gone")
        return Reasoner.open(SCRIPTED, fail_at_step=10 if tries == 1 else -1)

    with Station(open_model) as station:
        station.submit(asked()).outcome(10)
        assert until(lambda: station.watch() is State.OPENING or tries > 1)
        assert until(lambda: "the disk is gone" in station.health.reason)
        assert until(lambda: station.watch() is State.READY)
        assert tries == 3


def test_a_station_can_be_stopped_and_started_again(station: Station) -> None:
    running = station.submit(asked(think_budget=-1))
    station.stop()
    assert isinstance(running.outcome(5).error, EngineError)
    with pytest.raises(EngineError, match="the model is closed"):
        station.submit(asked())
    station.start()
    assert station.health.num_asked == 0
    outcome = station.submit(asked()).outcome(10)
    assert outcome.answer is not None
    assert station.health.num_answered == 1
