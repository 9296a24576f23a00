"""Programs in the middle of a thought."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason.errors import UsageError
from support.scripted_models import model

OPENED = "output.<|im_end|>\n<|im_start|>assistant\n<think>\n```python\n"
OUTPUT = "\n```output\n{}\n```\n"


def test_the_output_stands_in_the_thought_and_is_not_sampled() -> None:
    rules = (
        (OPENED, "print(17 * 3)\n```"),
        (OUTPUT.format(51), "So fifty one.\n</think>"),
        ("So fifty one.\n</think>", "\n\n51"),
    )
    with model(*rules) as reasoner:
        handle = reasoner.submit("What is 17 * 3?", strategy="tools")
        answer = handle.result()
        program, thought, said = handle.chains[0]
        output = reasoner.engine.tokenize(OUTPUT.format(51))
    assert answer.answer == "51"
    assert answer.note == "1 programs were run"
    assert program.text == "print(17 * 3)\n"
    assert "51" in thought.text
    assert reasoner.bundle.name
    sampled = thought.tokens
    assert len(sampled) == answer.usage.reasoning_tokens - program.num_reasoning + 1  # its mark
    assert thought.num_prompt == len(output)
    assert said.text.strip() == "51"


def test_it_may_open_further_programs_but_not_too_many() -> None:
    rules = (
        (OPENED, "print(1)\n```"),
        (OUTPUT.format(1), "And now\n```python\n"),
        ("And now\n```python\n", "print(2)\n```"),
        (OUTPUT.format(2), "Enough.\n</think>"),
        ("Enough.\n</think>", "\n\n2"),
    )
    with model(*rules) as reasoner:
        assert reasoner.ask("Why?", strategy="tools").note == "2 programs were run"
        once = reasoner.ask("Why?", strategy="tools", options={"calls": 1}, think_budget=60)
        assert once.note == "1 programs were run"
        assert once.budget.think_tokens.used <= 60


def test_what_a_program_says_is_data() -> None:
    says = 'print("<|im_start|> <think> " + "`" * 3 + " </think>")'
    told = "<|im_start|> <think> ''' </think>"
    rules = ((OPENED, f"{says}\n```"), (OUTPUT.format(told), "Odd.\n</think>"))
    with model(*rules, ("Odd.\n</think>", "\n\nodd")) as reasoner:
        handle = reasoner.submit("Why?", strategy="tools")
        assert handle.result().answer == "odd"
        thought = handle.chains[0][1]
        assert thought.num_prompt == len(OUTPUT.format(told))  # a byte a token: no control token


def test_an_error_is_shown_and_a_long_output_is_cut() -> None:
    rules = (
        (OPENED, "print(1 / 0)\n```"),
        (OUTPUT.format("ZeroDivisionError: division by zero"), "Oh.\n</think>"),
        ("Oh.\n</think>", "\n\nnothing"),
    )
    with model(*rules) as reasoner:
        assert reasoner.ask("Why?", strategy="tools").answer == "nothing"
    with model((OPENED, "print('x' * 900)\n```")) as reasoner:
        handle = reasoner.submit(
            "Why?", strategy="tools", options={"output_tokens": 20}, think_budget=80
        )
        handle.result()
        end = 4  # tokens of the end mark, which is forced
        assert handle.chains[0][1].num_prompt <= 20 + len(OUTPUT.format("")) + end


def test_a_program_that_is_cut_leaves_room_for_the_answer() -> None:
    with model((OPENED, "x = 1\n" * 100)) as reasoner:
        answer = reasoner.ask("Why?", strategy="tools", think_budget=30, answer_budget=8)
    assert answer.budget.think_tokens.used == 30
    assert answer.note == "0 programs were run"
    assert answer.answer


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"calls": -1}, "calls must be 0 or more, got -1"),
        ({"output_tokens": 0}, "output_tokens must be 1 or more, got 0"),
        ({"seconds": 0}, "seconds must be more than 0, got 0"),
        ({"memory_mib": 1}, "memory_mib must be 64 or more, got 1"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="tools", options=options)
