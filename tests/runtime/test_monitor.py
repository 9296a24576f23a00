"""A hook that sees thoughts and may stop them."""

from __future__ import annotations

import threading

import pytest

from edgereason.records import StopReason
from support.scripted_models import model

THOUGHT = "I look for the password now, and then I write it down.\n</think>"


def test_it_sees_every_thought_and_changes_nothing() -> None:
    seen: list[str] = []

    def watch(thoughts: str) -> str:
        seen.append(thoughts)
        return ""

    with model(monitor=watch) as reasoner, model() as plain:
        handle, without = (one.submit("Why?", strategy="think") for one in (reasoner, plain))
        assert handle.result().answer == without.result().answer == "7"
        assert [each.tokens for each in handle.chains[0]] == [
            each.tokens for each in without.chains[0]
        ]
        assert seen[-1].strip() == "Hm."
        seen.clear()
        reasoner.ask("Why?", strategy="vote", options={"samples": 3, "temperature": 1e-6})
        assert sum(text.strip() == "Hm." for text in seen) >= 1


def test_it_stops_a_thought_in_the_middle() -> None:
    long = THOUGHT.replace("now", "now " * 200)
    with model(
        ("<think>\n", long), monitor=lambda text: "password" * ("password" in text), sleep_ms=2
    ) as reasoner:
        answer = reasoner.ask("Why?", strategy="think")
    assert answer.finish is StopReason.CANCELLED
    assert (answer.answer, answer.candidates) == ("", ())
    assert answer.note == "stopped by the monitor: password"
    assert answer.usage.reasoning_tokens < 500


def test_no_answer_gets_out_before_it_has_seen_the_thoughts() -> None:
    begun = threading.Event()

    def slow(thoughts: str) -> str:
        begun.set()
        threading.Event().wait(0.3)  # the model is done long before
        return "too late for the model, not for the answer"

    with model(monitor=slow) as reasoner:
        answer = reasoner.ask("Why?", strategy="think")
    assert begun.is_set()
    assert answer.answer == ""


def test_what_it_raises_ends_the_request() -> None:
    def broken(thoughts: str) -> str:
        raise ValueError("broken hook")

    with model(monitor=broken) as reasoner:
        with pytest.raises(ValueError, match="broken hook"):
            reasoner.ask("Why?", strategy="think")
        assert reasoner.ask("Why?", strategy="no-think").answer
