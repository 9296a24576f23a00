"""Votes: how answers are counted, when nothing can change the winner, and what children share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgereason.errors import UnsupportedError, UsageError
from edgereason.records import Answer, Capability, Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies import think
from edgereason.strategies.vote import Tally, settled
from support.places import SCRIPTED

texts = st.sampled_from(["4", "$4.00", "5", "it has 5 legs", "I see 5 legs", "none", ""])
voters = st.builds(Answer, texts, confidence=st.one_of(st.none(), st.sampled_from([0.2, 0.9])))


def winners(answers: list[Answer | None]) -> list[str]:
    """What those who voted for the winner wrote."""
    ranked = Tally.of(answers).ranked()
    return [answer.answer for answer in ranked[0][1]] if ranked else []


@given(st.lists(voters, min_size=1, max_size=8), st.randoms())
def test_what_is_settled_stays_so(answers: list[Answer], random: Any) -> None:
    order = list(range(len(answers)))
    random.shuffle(order)
    so_far: list[Answer | None] = [None] * len(answers)
    for index in order:
        so_far[index] = answers[index]
        if settled(so_far):
            assert set(winners(so_far)) <= set(winners(list(answers)))
            return


def test_a_number_to_come_changes_how_sentences_are_read() -> None:
    none = [Answer("none at all")] * 3
    legs: list[Answer | None] = [*none, Answer("it has 5 legs"), Answer("I see 5 legs"), None]
    assert winners(legs) == ["none at all"] * 3
    assert settled(legs) is False  # a 5 to come would make it three to three
    assert settled([*none, Answer("it has 5 legs"), None]) is True
    assert settled([Answer("5")] * 3 + [Answer("6"), None]) is True
    assert settled([Answer("5")] * 3 + [Answer("6"), None, None]) is False


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        ([("4", 0.2), ("5", 0.9), ("5", 0.1)], "5"),
        ([("4", 0.2), ("5", 0.9)], "5"),
        ([("4", 0.5), ("5", 0.5)], "4"),
        ([("4", 0.50001), ("5", 0.50002)], "4"),  # less than batches do to a confidence
        ([("4", None), ("5", 0.1)], "5"),
    ],
)
def test_ties_go_to_confidence_then_to_the_first_sample(
    votes: list[tuple[str, float | None]], winner: str
) -> None:
    assert winners([Answer(text, confidence=each) for text, each in votes])[0] == winner


class Recorder:
    """The core, and what was asked of it and heard from it, in order."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.log: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def close(self, id_: int, *, park: bool) -> None:
        self.log.append(("close", id_))
        self._core.close(id_, park=park)

    def take(self, timeout_ms: float) -> Any:
        events = self._core.take(timeout_ms)
        self.log += [("end", event[0]) for event in events if event[1] == "phase" and event[2]]
        return events


@pytest.mark.parametrize("early_stop", [False, True])
def test_no_child_gives_its_cells_back_before_the_vote_is_over(early_stop: bool) -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=1) as reasoner:
        core = Recorder(reasoner._core)
        for part in (reasoner._driver, reasoner._driver._tree):
            part._core = core  # type: ignore[attr-defined]  # stands in for it
        answer = reasoner.ask(
            "Say anything.",
            strategy="vote",
            options={"samples": 4, "early_stop": early_stop},
            think_budget=30,
            answer_budget=60,
            stop=["a", "e"],  # which comes sooner here, later there
            sampling=Sampling(temperature=1.5, seed=3),
        )
        assert len(answer.candidates) > 1
        closes = [at for at, (what, _) in enumerate(core.log) if what == "close"]
        ends = [at for at, (what, _) in enumerate(core.log) if what == "end"]
        assert len(closes) == 5
        assert min(closes) > max(ends)  # here no vote is settled early


def test_samples_may_be_of_any_strategy() -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        options = {"samples": 3, "of": "infty_think", "early_stop": False}
        handle = reasoner.submit(
            "What is 17 * 3?", strategy="vote", options=options, think_budget=64
        )
        assert handle.result().candidates[0].votes == 3
        assert len(handle.chains) == 4
        sampled = {"samples": 2, "of": "no-think", "early_stop": False}
        answer = reasoner.ask("What is 17 * 3?", strategy="vote", options=sampled)
        assert answer.usage.reasoning_tokens == 0


@pytest.mark.parametrize(
    ("of", "error"),
    [("thnk", "did you mean 'think'"), ("vote", "cannot be votes")],
)
def test_what_cannot_be_sampled_is_refused(of: str, error: str) -> None:
    with Reasoner.open(SCRIPTED) as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("What is 17 * 3?", strategy="vote", options={"of": of})


def test_a_vote_needs_what_its_samples_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(think, "needs", Capability.STEER)
    monkeypatch.setattr(Reasoner, "caps", Capability.LOGITS | Capability.FORK)
    with Reasoner.open(SCRIPTED) as reasoner, pytest.raises(UnsupportedError, match="needs steer"):
        reasoner.ask("What is 17 * 3?", strategy="vote")
