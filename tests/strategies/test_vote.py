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
from edgereason.strategies.vote import Tally, agreed, settled
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


def votes(*counts: int) -> list[Answer | None]:
    return [Answer(str(value)) for value, num in enumerate(counts) for _ in range(num)]


@pytest.mark.parametrize(("needed", "against"), [(4, 0), (6, 1), (8, 2), (9, 3), (11, 4)])
def test_consensus_is_the_table_of_adaptive_consistency(needed: int, against: int) -> None:
    assert agreed(votes(needed, against), 0.95)
    assert not agreed(votes(needed - 1, against), 0.95)


def test_votes_may_weigh_as_much_as_they_are_sure() -> None:
    answers = [Answer("4", confidence=0.9), *[Answer("5", confidence=0.3)] * 2]
    assert Tally.of(answers).ranked()[0][1][0].answer == "5"
    assert Tally.of(answers, weigh=True).ranked()[0][1][0].answer == "4"
    assert settled([*answers, None]) is False
    sure: list[Answer | None] = [Answer("4", confidence=0.9)] * 3
    assert settled([*sure, Answer("5", confidence=0.5), None], weigh=True) is True
    assert settled([*sure[:2], Answer("5", confidence=0.5), None, None], weigh=True) is False


def chains(**options: Any) -> list[list[tuple[str, tuple[int, ...]]]]:
    """By sample: its thoughts as one text, and its answer."""
    with Reasoner.open(SCRIPTED) as reasoner:
        handle = reasoner.submit(
            "What is 17 * 3?",
            strategy="vote",
            options={"samples": 5, "early_stop": False, **options},
            sampling=Sampling(temperature=0.8, seed=2),
            answer_budget=12,
        )
        handle.result()
        told = []
        for chain in handle.chains[1:]:
            thoughts = sum((r.tokens for r in chain if r.name == "think"), ())
            told.append([("think", thoughts), ("answer", chain[-1].tokens)])
        return told


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_judged_stretches_are_plain_thinking_token_for_token(window: int) -> None:
    assert chains(weigh=True, window=window) == chains()


def test_samples_less_sure_than_the_first_are_given_up() -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        options = {"samples": 12, "early_stop": False, "drop": 0.9, "window": 4}
        handle = reasoner.submit(
            "Say anything.",
            strategy="vote",
            options=options,
            think_budget=64,
            answer_budget=8,
            sampling=Sampling(temperature=1.2, seed=1),
        )
        answer = handle.result()
        first, later = handle.chains[1:5], handle.chains[5:]
        assert all(chain[-1].name == "answer" for chain in first)
        given_up = [chain for chain in later if chain[-1].name != "answer"]
        assert given_up
        bar = max(min(r.confidence for r in chain if r.name == "think") for chain in first)
        for chain in given_up:
            assert min(r.confidence for r in chain) < bar + 1e-3
        assert sum(each.votes for each in answer.candidates) <= 12 - len(given_up)


@pytest.mark.parametrize("more", [{}, {"drop": 0.1}])
def test_an_early_consensus_never_begins_the_rest(more: dict[str, Any]) -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        options = {"samples": 12, "consensus": 0.9, "temperature": 0.01, **more}
        handle = reasoner.submit("What is 17 * 3?", strategy="vote", options=options)
        assert handle.result().answer == "51"
        assert len(handle.chains) == 5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"consensus": 0.3}, r"consensus must be 0 \(off\) or in \[0.5, 1\), got 0.3"),
        ({"drop": 1}, r"drop must be in \[0, 1\), got 1"),
        ({"window": 0}, "window must be 1 or more, got 0"),
        ({"weigh": True, "of": "no-think"}, "not of no-think"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], error: str) -> None:
    with Reasoner.open(SCRIPTED) as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("What is 17 * 3?", strategy="vote", options=options)
