"""Hints that are drawn, and what follows them."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason.errors import UsageError
from support.scripted_models import DIRECT, model

ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
HINT = ("helps with such problems." + ASSISTANT + DIRECT, "Count them twice.")
TOLD = ("A hint that may help: Count them twice." + ASSISTANT + "<think>\n", "Two.\n</think>")
ANSWER = ("Two.\n</think>", "\n\n2")
COLD = {"temperature": 1e-6}


def test_each_hint_is_followed_and_all_vote() -> None:
    with model(HINT, TOLD, ANSWER) as reasoner:
        options = {"hints": 2, "samples": 3, **COLD}
        handle = reasoner.submit("How many?", strategy="abstractions", options=options)
        answer = handle.result()
        assert answer.answer == "2"
        first, second, *solutions = handle.chains[1:]
        assert [line[0].text for line in (first, second)] == ["Count them twice."] * 2
        assert first[0].role.value == "carry"
        assert len(solutions) == 6
        assert answer.candidates[0].votes > 3  # the rest could not change it
        thoughts = [phase for line in handle.chains for phase in line]
        assert answer.usage.reasoning_tokens == sum(each.num_reasoning for each in thoughts)


def test_an_empty_hint_leaves_the_question_as_it_is() -> None:
    with model((HINT[0], "\n")) as reasoner:
        options = {"hints": 1, **COLD}
        handle = reasoner.submit("How many?", strategy="abstractions", options=options)
        assert handle.result().answer == "7"
        plain = reasoner.submit("How many?", strategy="think")
        plain.result()
        solution = [phase.tokens for phase in handle.chains[2]]
        assert solution == [phase.tokens for phase in plain.chains[0]]


def test_the_control_shuffles_the_words_of_the_hint() -> None:
    with model(HINT, TOLD, ANSWER) as reasoner:
        options = {"hints": 1, "control": True, **COLD}
        handle = reasoner.submit("How many?", strategy="abstractions", options=options)
        assert handle.result().answer == "7"  # its words in another order: the rule does not hold
        kept = reasoner.submit(
            "How many?", strategy="abstractions", options={"hints": 1, "control": False, **COLD}
        )
        kept.result()
        prompts = [each.chains[2][0].num_prompt for each in (handle, kept)]
        assert prompts[0] == prompts[1]


@pytest.mark.parametrize("budget", [1, 5, 20])
def test_a_hint_spends_the_budget_of_what_follows(budget: int) -> None:
    with model(noise=True) as reasoner:
        options = {"hints": 2, "tokens": 4}
        handle = reasoner.submit(
            "Why?", strategy="abstractions", options=options, think_budget=budget
        )
        handle.result()
        for hint, line in zip(handle.chains[1:3], handle.chains[3:], strict=True):
            assert hint[0].budget == min(budget, 4)
            thought = sum(phase.num_reasoning for phase in line)
            assert hint[0].num_reasoning + thought <= budget + 1  # a cut character is 3 bytes


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"hints": -1}, "hints must be 0 or more, got -1"),
        ({"samples": 0}, "samples must be 1 or more, got 0"),
        ({"hints": 20, "samples": 20}, "hints times samples must be 256 or less, got 20 times 20"),
        ({"tokens": 0}, "tokens must be 1 or more, got 0"),
        ({"temperature": 0}, "temperature must be more than 0, got 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="abstractions", options=options)
