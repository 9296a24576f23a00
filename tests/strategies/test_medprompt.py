"""Choices that are scored in several orders."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.strategies import medprompt
from support.scripted_models import DIRECT, model

CHOICES = ["red", "green", "blue"]
ASKED = "nothing else.<|im_end|>\n<|im_start|>assistant\n" + DIRECT


def test_each_order_moves_the_choices_on() -> None:
    assert medprompt._orders(3, 5) == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    assert medprompt._orders(4, 1) == [(0, 1, 2, 3)]


def test_a_model_that_always_says_a_prefers_none() -> None:
    with model((ASKED, "A")) as reasoner:
        answer = reasoner.ask("Which?", strategy="medprompt", options={"choices": CHOICES})
        assert [each.confidence for each in answer.candidates] == pytest.approx(
            [1 / 3] * 3, abs=1e-3
        )
        one = reasoner.ask(
            "Which?", strategy="medprompt", options={"choices": CHOICES, "orders": 1}
        )
    assert one.answer == "red"
    assert one.confidence is not None
    assert one.confidence > 0.9
    assert (answer.usage.reasoning_tokens, answer.usage.answer_tokens) == (0, 0)


@pytest.mark.parametrize("right", CHOICES)
def test_a_model_that_knows_is_right_wherever_it_stands(right: str) -> None:
    rules = [
        (f"{shown}\n\nAnswer with the letter of the right choice and {ASKED}", letter)
        for shown, letter in _shown(right)
    ]
    with model(*rules) as reasoner:
        answer = reasoner.ask("Which?", strategy="medprompt", options={"choices": CHOICES})
    assert answer.answer == right
    assert answer.confidence is not None
    assert answer.confidence > 0.9


def _shown(right: str) -> list[tuple[str, str]]:
    found = []
    for order in medprompt._orders(3, 3):
        names = [CHOICES[i] for i in order]
        last = f"C) {names[2]}"
        found.append((last, "ABC"[names.index(right)]))
    return found


def test_choices_that_the_question_lists_are_answered_by_letter() -> None:
    question = "Which?\nA) red\nB) green\nC) blue"
    with model((ASKED, "A")) as reasoner:
        answer = reasoner.ask(question, strategy="medprompt", options={"orders": 1})
        assert answer.answer == "A) red"
        plain = reasoner.ask("Which?\nB) this is no list", strategy="medprompt")
        assert (plain.answer, plain.note) == ("7", "there are no choices to score")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"orders": 0}, "orders must be 1 or more, got 0"),
        ({"choices": ["one"]}, "choices must be 2 to 16, got 1"),
        ({"choices": ["one", "one"]}, "choices must differ"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Which?", strategy="medprompt", options=options)
