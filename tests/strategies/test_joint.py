"""Ways side by side that must agree."""

from __future__ import annotations

import pytest

from edgereason.errors import UsageError
from support.scripted_models import DIRECT, model

ASKED = "Why?<|im_end|>\n<|im_start|>assistant\n"


def test_where_they_agree_there_is_no_third_thought() -> None:
    with model((ASKED + DIRECT, "The answer is 7.")) as reasoner:
        handle = reasoner.submit("Why?", strategy="joint", explain=True)
        answer = handle.result()
    assert answer.answer in ("7", "The answer is 7.")
    assert answer.candidates[0].votes == 2
    assert len(answer.chains) == 3  # the request's own line, and both ways
    assert not answer.chains[0].phases


def test_where_they_differ_it_thinks_once_more_and_is_told_both() -> None:
    told = "and check which.<|im_end|>\n<|im_start|>assistant\n<think>\n"
    rules = (
        (ASKED + DIRECT, "8"),
        (told, "So nine.\n</think>"),
        ("So nine.\n</think>", "\n\n9"),
        ('gave "8" and "7"', " "),  # both stand in its prompt, or the next rule would not hold
    )
    with model(*rules) as reasoner:
        answer = reasoner.ask("Why?", strategy="joint", explain=True)
    assert answer.answer == "9"
    assert [candidate.answer for candidate in answer.candidates] == ["8", "7"]
    assert [phase.name for phase in answer.chains[3].phases] == ["think", "answer"]
    assert answer.note == "the ways did not agree"


def test_tokens_of_all_branches_are_counted() -> None:
    with model((ASKED + DIRECT, "8")) as reasoner:
        answer = reasoner.ask("Why?", strategy="joint")
        thought = reasoner.ask("Why?", strategy="think")
    assert answer.usage.reasoning_tokens == 2 * thought.usage.reasoning_tokens
    assert answer.usage.answer_tokens == 1 + 2 * thought.usage.answer_tokens


@pytest.mark.parametrize(
    ("ways", "error"),
    [
        ([], "ways must be 1 to 8 strategies, got 0"),
        (["joint"], "joint cannot be one of its own ways"),
        (["thonk"], "no strategy called 'thonk'"),
    ],
)
def test_ways_that_cannot_be(ways: list[str], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="joint", options={"ways": ways})
