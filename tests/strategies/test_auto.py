"""Drafts beside thinking: who wins, what is cancelled, what is streamed, what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.planning.calibration import Calibration, Scores
from edgereason.records import Answer, Candidate, Channel, Phase, Role, Sampling, StopReason
from edgereason.runtime.reasoner import Reasoner
from edgereason.runtime.stream import Outbox, Shaper
from edgereason.strategies.auto import _best
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"  # the draft is "Not sure yet.", the thought answer "51"


def ask(reasoner: Reasoner, **options: Any) -> Answer:
    return reasoner.ask(QUESTION, strategy="auto", options=options)


def tokens_of(reasoner: Reasoner, strategy: str, **options: Any) -> list[tuple[int, ...]]:
    """What the line that thought has sampled, phase by phase."""
    handle = reasoner.submit(
        QUESTION,
        strategy=strategy,
        options=options,
        think_budget=40,
        sampling=Sampling(temperature=0.9, seed=5),
    )
    handle.result()
    return next(
        [result.tokens for result in chain if result.role.value != "prefill"]
        for chain in handle.chains
        if any(result.role.value == "think" for result in chain)
    )


@pytest.fixture(scope="module")
def reasoner() -> Any:
    with Reasoner.open(SCRIPTED) as opened:
        yield opened


def test_without_drafts_it_is_plain_thinking_token_for_token(reasoner: Reasoner) -> None:
    assert tokens_of(reasoner, "auto", steps="think") == tokens_of(reasoner, "think")


def test_an_unsure_draft_leaves_the_thinking_beside_it_as_it_is(reasoner: Reasoner) -> None:
    beside = tokens_of(reasoner, "auto", steps="no-think/1")
    assert beside == tokens_of(reasoner, "think")
    assert beside == tokens_of(reasoner, "auto", steps="no-think/1", beside=False)


def test_a_sure_draft_cancels_the_thinking() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=3) as slow:
        handle = slow.submit(QUESTION, strategy="auto", options={"steps": "no-think/0"})
        answer = handle.result()
        assert answer.answer == "Not sure yet."
        assert answer.finish is StopReason.STOP
        (thought,) = [r for chain in handle.chains for r in chain if r.name == "think"]
        assert thought.reason is StopReason.CANCELLED
        assert 0 < thought.num_tokens < 30  # it ran beside the draft
        assert slow.wait_idle()


def test_an_unsure_draft_stays_a_candidate(reasoner: Reasoner) -> None:
    answer = ask(reasoner, steps="no-think/1")
    assert answer.answer == "51"
    assert [candidate.answer for candidate in answer.candidates] == ["Not sure yet.", "51"]


def test_one_after_another_a_sure_draft_costs_no_thinking(reasoner: Reasoner) -> None:
    answer = ask(reasoner, steps="no-think/0", beside=False)
    assert answer.answer == "Not sure yet."
    assert answer.usage.reasoning_tokens == 0


def test_the_draft_is_the_answer_where_there_is_no_time_to_think_to_the_end() -> None:
    long = "Three times ten is thirty. " * 40
    with Reasoner.open(SCRIPTED, sleep_ms=10) as slow:
        handle = slow.submit(
            f"{long}What is left?", strategy="auto", options={"steps": "no-think/1"},
            answer_budget=20, deadline_ms=700,
        )  # fmt: skip
        answer = handle.result()
        assert answer.answer
        assert answer.budget.deadline_ms.late_ms <= 40


def test_thoughts_are_streamed_and_what_is_streamed_is_the_answer() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=2) as slow:
        for steps, expected in (("no-think/1", "51"), ("no-think/0", "Not sure yet.")):
            handle = slow.stream(QUESTION, strategy="auto", options={"steps": steps})
            chunks = list(handle)
            text = "".join(chunk.text for chunk in chunks if chunk.channel is Channel.ANSWER)
            assert text == handle.result().answer == expected
            thoughts = [chunk for chunk in chunks if chunk.channel is Channel.REASONING]
            assert len(thoughts) > 1


def test_an_answer_that_has_begun_to_appear_is_not_taken_back() -> None:
    answer, thought = Phase("answer"), Phase("think", Role.THINK)
    for begun in (True, False):
        outbox = Outbox(streams=True)
        shaper = Shaper(outbox)
        shaper.put(thought, Channel.REASONING, b"hm")
        if begun:
            shaper.put(answer, Channel.ANSWER, b"4")
        assert shaper.hush() is not begun
        shaper.put(answer, Channel.ANSWER, b"2")
        shaper.put_answer("7")
        outbox.end(Answer("42"))
        chunks = iter(outbox.get, None)
        texts = [chunk.text for chunk in chunks if chunk.channel is Channel.ANSWER]
        assert "".join(texts) == ("42" if begun else "7")


def test_what_is_streamed_is_the_answer_when_both_end_at_once() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=4) as slow:
        handle = slow.stream(
            "Say anything.", strategy="auto", options={"steps": "no-think/0"}, think_budget=1
        )
        text = "".join(chunk.text for chunk in handle if chunk.channel is Channel.ANSWER)
        assert text.strip() == handle.result().answer


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"steps": "vote/0.5"}, "vote cannot be a draft"),
        ({"steps": "no-think"}, "'no-think' needs a confidence"),
        ({"steps": "no-think/1.5"}, "needs a confidence in"),
        ({"steps": "no-thnk/0.5"}, "did you mean 'no-think'"),
        ({"threshold": -1}, "threshold must be in"),
        ({"draft_tokens": 0}, "draft_tokens must be 1 or more"),
    ],
)
def test_wrong_options_are_named(reasoner: Reasoner, options: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        ask(reasoner, **options)


def test_it_says_what_it_went_by() -> None:
    points = tuple((score / 100, score % 3 > 0) for score in range(1, 100))
    known = Calibration(
        "scripted", "sums.jsonl", 99, "answers", (("no-think", 0.0),), {"no-think": Scores(points)}
    )
    with Reasoner.open(SCRIPTED) as reasoner:
        assert (ask(reasoner).answer, ask(reasoner).note[:12]) == ("51", "uncalibrated")
        assert ask(reasoner, threshold=0.9).note == ""
        score = ask(reasoner, steps="no-think/0").confidence or 0.0
        reasoner._calibration = known
        answer = ask(reasoner)
        assert answer.answer == "Not sure yet."
        assert "calibrated on 99 questions of sums.jsonl by its answers: no-think" in answer.note
        assert answer.confidence == known.ways["no-think"].chance(score).value != score
        reasoner.bundle = replace(reasoner.bundle, recommended={"auto": {"threshold": 0.9}})
        assert "calibrated on 99" in ask(reasoner).note  # measured here goes before recommended
        assert ask(reasoner, threshold=0.95).note == ""
        reasoner._calibration = None
        assert "as scripted recommends, kept from a confidence of 0.9" in ask(reasoner).note
        reasoner._calibration = replace(known, steps=())
        thought = ask(reasoner)
        assert thought.answer == "51"
        assert "cannot tell when it is right" in thought.note


def test_a_thought_that_came_to_no_answer_leaves_the_draft_and_says_why_it_ended() -> None:
    draft = Answer("12", confidence=0.4)
    said = [Candidate("12", confidence=0.4)]
    cut = _best(draft, Answer("", finish=StopReason.DEADLINE), said)
    assert (cut.answer, cut.finish, cut.candidates) == ("12", StopReason.DEADLINE, tuple(said))
    thought = _best(draft, Answer("13", confidence=0.9), said)
    assert [each.answer for each in thought.candidates] == ["12", "13"]
    assert _best(None, None, []).answer == ""


@pytest.mark.parametrize("question", ["What is 3 + 4?", "What is 17 + 25?"])
def test_on_a_real_model_too_no_draft_is_plain_thinking(question: str) -> None:
    def thought(strategy: str, **options: Any) -> tuple[tuple[int, ...], ...]:
        handle = nano.submit(question, strategy=strategy, options=options, think_budget=64)
        handle.result()
        chain = next(c for c in handle.chains if any(r.name == "think" for r in c))
        return tuple(result.tokens for result in chain if result.role is not Role.PREFILL)

    with Reasoner.open("nano", threads=1) as nano:
        plain = thought("think")
        assert thought("auto", steps="think") == plain
        assert thought("auto", steps="no-think/1") == plain


def test_beside_others_it_thinks_only_after_its_draft() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=3) as slow:
        keywords: Any = {"strategy": "auto", "options": {"steps": "no-think/0"}}
        first = slow.submit("What is 6 * 7?", strategy="think")
        crowded = slow.submit(QUESTION, **keywords).result()
        assert crowded.usage.reasoning_tokens == 0
        first.result()
        assert slow.wait_idle()
        assert slow.ask(QUESTION, **keywords).usage.reasoning_tokens > 0
