"""Which drafts are chosen, from what each way did with the same questions."""

from __future__ import annotations

import random

import pytest

from edgereason.errors import UsageError
from edgereason.planning.cascade import Bill, Outcome, auc, bill, choose


def outcomes(num: int, share: float, tokens: int, tells: bool, seed: int) -> list[Outcome]:
    """A way that is right so often. Where it `tells`, it is surer when it is."""
    rng = random.Random(seed)
    made = []
    for _ in range(num):
        right = rng.random() < share
        score = (
            rng.uniform(0.6, 0.9) if right and tells else rng.uniform(0.1, 0.6 + 0.3 * (not tells))
        )
        made.append(Outcome(score, right, tokens))
    return made


def test_the_bill_by_hand() -> None:
    drafts = {"a": [Outcome(0.9, True, 5), Outcome(0.2, False, 5)]}
    think = [Outcome(0, False, 100), Outcome(0, True, 100)]
    assert bill((), drafts, think) == Bill(1, 200)
    assert bill((("a", 0.5),), drafts, think) == Bill(2, 110)
    assert bill((("a", 0.0),), drafts, think) == Bill(1, 10)


def test_a_draft_that_can_tell_is_taken_and_saves_tokens() -> None:
    think = outcomes(100, 0.5, 300, tells=False, seed=1)
    choice = choose({"good": outcomes(100, 0.5, 30, tells=True, seed=2)}, think)
    assert [way for way, _ in choice.steps] == ["good"]
    assert choice.chosen_on.tokens < 0.7 * choice.thinking.tokens
    assert choice.chosen_on.right >= choice.thinking.right - 1
    assert choice.held_out.tokens < choice.thinking.tokens


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_cannot_tell_thinks(seed: int) -> None:
    think = outcomes(100, 0.6, 300, tells=False, seed=seed)
    choice = choose({"vain": outcomes(100, 0.1, 30, tells=False, seed=seed + 10)}, think)
    assert choice.steps == ()
    assert choice.chosen_on == choice.thinking


def test_a_draft_that_is_always_wrong_is_not_tried() -> None:
    think = outcomes(40, 0.0, 300, tells=False, seed=3)
    assert choose({"wrong": outcomes(40, 0.0, 5, tells=False, seed=4)}, think).steps == ()


def test_two_drafts_one_after_the_other() -> None:
    """Each can tell on its own half of the questions."""
    think = [Outcome(0, True, 300)] * 40
    cheap = [Outcome(0.9, True, 5)] * 20 + [Outcome(0.1, False, 5)] * 20
    dear = [Outcome(0.1, False, 60)] * 20 + [Outcome(0.8, True, 60)] * 20
    mixed = [list(pair) for pair in zip(cheap, dear, think, strict=True)]
    random.Random(0).shuffle(mixed)
    first, second, thought = (list(column) for column in zip(*mixed, strict=True))
    choice = choose({"cheap": first, "dear": second}, thought)
    assert [way for way, _ in choice.steps] == ["cheap", "dear"]
    assert choice.chosen_on == Bill(40, 20 * 5 + 20 * 65)


def test_auc_is_a_chance() -> None:
    assert auc([(0.9, True), (0.1, False)]) == 1
    assert auc([(0.1, True), (0.9, False)]) == 0
    assert auc([(0.5, True), (0.5, False)]) == 0.5
    assert auc([(0.5, True)]) == 0.5


def test_ways_that_were_asked_other_questions_are_refused() -> None:
    with pytest.raises(UsageError, match="a has 1 outcomes, thinking has 2"):
        choose({"a": [Outcome(0, True, 1)]}, [Outcome(0, True, 1)] * 2)
