"""The quick ways: what they put into the prompt, what they force, and what their answer is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from edgereason import _core
from edgereason.errors import UsageError
from edgereason.models.bundle import open_bundle
from edgereason.records import StopReason
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies.concise import hinted
from support.places import SCRIPTED

PROGRAM = "```python\ndef solution():\n"
CONTROL = ["<|im_start|>", "<think>", "</think>"]


def model(*rules: tuple[str, str], **options: Any) -> Reasoner:
    """Says `reply` after `after`; thinks "Hm." and answers "7" elsewhere."""
    others = [("<think>\n", "Hm.\n</think>"), ("Hm.\n</think>", "\n\n7")]
    engine = _core.ScriptedEngine([*others, *rules], control=CONTROL, **options)
    return Reasoner(open_bundle(SCRIPTED), engine)


def writes(body: str) -> tuple[str, str]:
    return f"answer.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n{PROGRAM}", body


def test_a_program_is_run_and_its_result_is_the_answer() -> None:
    with model(writes("    return 17 * 3\n```")) as reasoner:
        answer = reasoner.ask("What is 17 * 3?", strategy="program")
    assert answer.answer == "51"
    assert answer.finish is StopReason.STOP
    assert "return 17 * 3" in answer.reasoning
    assert answer.usage.answer_tokens == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("    return 1 / 0\n```", "ZeroDivisionError"),
        ("    return unknown\n```", "NameError"),
        ("    while True: pass\n```", "too long"),
        ("    return 1 +" + "".join(map(str, range(200))), "it was cut by budget"),
    ],
)
def test_where_the_program_does_not_run_it_thinks_and_says_why(body: str, why: str) -> None:
    with model(writes(body)) as reasoner:
        options = {"seconds": 0.5}
        answer = reasoner.ask("What is 17 * 3?", strategy="program", options=options)
        assert answer.answer == "7"
        assert why in answer.note
        draft = reasoner.ask(
            "What is 17 * 3?", strategy="program", options={**options, "rescue": False}
        )
        assert draft.answer == ""
        assert draft.confidence == 0


def test_a_sure_program_is_the_answer_of_auto() -> None:
    with model(writes("    return 17 * 3\n```"), sleep_ms=1) as reasoner:
        options = {"steps": "program/0.1", "beside": False}
        answer = reasoner.ask("What is 17 * 3?", strategy="auto", options=options)
        assert answer.answer == "51"
        broken = reasoner.ask("What is 17 * 3 +?", strategy="auto", options={"steps": "program/1"})
        assert broken.answer in ("7", "51")


def test_a_cascade_goes_from_one_draft_to_the_next() -> None:
    with model(writes("    return 17 * 3\n```")) as reasoner:
        options = {"steps": ["bare/1", "program/0.1"], "beside": False}
        answer = reasoner.ask("What is 17 * 3?", strategy="auto", options=options)
        assert answer.answer == "51"
        assert [candidate.answer for candidate in answer.candidates][-1] == "51"


def test_the_program_spends_the_thinking_budget() -> None:
    with model(writes("    return 17 * 3\n```")) as reasoner:
        answer = reasoner.ask("What is 17 * 3?", strategy="program", think_budget=5)
        assert answer.budget.think_tokens.used <= 5


def test_bare_forces_the_cue_and_ends_with_the_line() -> None:
    with model(("Final answer:", " 51\nFor 17 and 17")) as reasoner:
        assert reasoner.ask("What is 17 * 3?", strategy="bare").answer == "51"


def test_brief_asks_for_short_steps_within_its_budget() -> None:
    asked = "at most 3 words each.<|im_end|>\n<|im_start|>assistant\n<think>\n1. "
    notes = "abcdefghijklmnopqrstuvwxyz"
    with model((asked, notes), (notes[:20] + "\n</think>", "\n\nNo.")) as one:
        answer = one.ask("Why?", strategy="brief", options={"words": 3, "tokens": 20})
        assert (answer.reasoning, answer.answer) == (notes[:20], "No.")
        assert answer.budget.think_tokens.effective == 20


@pytest.mark.parametrize(
    ("strategy", "options", "error"),
    [
        ("brief", {"words": 0}, "words must be 1 or more, got 0"),
        ("program", {"tokens": 0}, "tokens must be 1 or more, got 0"),
        ("program", {"seconds": 0}, "seconds must be more than 0, got 0"),
        ("program", {"memory_mib": 8}, "memory_mib must be 64 or more, got 8"),
    ],
)
def test_wrong_options_are_named(strategy: str, options: dict[str, Any], error: str) -> None:
    with Reasoner.open(SCRIPTED) as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy=strategy, options=options)


def test_words_of_the_vocabulary_are_whole_words() -> None:
    words = [" Wait", "wait", " waiter", "know", " now", "now"]
    with Reasoner(open_bundle(SCRIPTED), _core.ScriptedEngine(words=words)) as reasoner:

        def found(asked: Sequence[str]) -> set[bytes]:
            return {reasoner.engine.piece(token) for token in reasoner._words(asked)}

        assert found(["wait"]) == {b" Wait", b"wait"}
        assert found(["Now"]) == {b" now", b"now"}
        assert found(["unheard"]) == set()


def test_cancelling_a_request_ends_the_program_that_it_waits_for() -> None:
    with model(writes("    while True: pass\n```")) as reasoner:
        handle = reasoner.submit("Why?", strategy="program", options={"seconds": 60})
        time.sleep(0.5)
        handle.cancel()
        assert handle.result(10).finish is StopReason.CANCELLED


def test_a_program_takes_at_most_half_of_the_time_until_a_deadline() -> None:
    with model(writes("    while True: pass\n```")) as reasoner:
        answer = reasoner.ask("Why?", strategy="program", options={"seconds": 60}, deadline_ms=2000)
        assert answer.answer == "7"
        assert answer.budget.deadline_ms.late_ms == 0
        assert 900 < answer.budget.deadline_ms.used < 2000


# --- concise --------------------------------------------------------------------------------------

LONG = " ".join(f"Step {i} is done, and so on." for i in range(60))


def test_the_hint_stands_in_the_thought_and_is_read_not_written() -> None:
    rules = [
        ("<think>\n", LONG),
        (LONG[100:128], LONG[128:]),
        ("</think>", "\n\n42"),
    ]
    engine = _core.ScriptedEngine(rules, control=CONTROL)
    with Reasoner(open_bundle(SCRIPTED), engine) as reasoner:
        handle = reasoner.submit("Why?", strategy="concise", think_budget=250)
        answer = handle.result()
        thoughts = [phase for phase in handle.chains[0] if phase.name == "think"]
    first, second = thoughts
    assert (first.num_tokens, first.reason) == (128, StopReason.BUDGET)
    assert 100 < second.num_tokens <= 122
    assert "concise" not in answer.reasoning
    # All but the part of the first stretch behind the hint was there.
    assert 100 < second.num_prompt - second.num_cached < 200
    assert second.num_prompt - first.num_prompt >= 128 + len(" make answer concise!")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (128, "One, HINT two. Three, four. Five"),  # the first clause
        (640, "One, two. Three, HINT four. Five"),  # half of it
        (1024, "One, two. Three, four. HINT Five"),
    ],
)
def test_where_the_hint_goes(tokens: int, expected: str) -> None:
    assert hinted("One, two. Three, four. Five", "HINT", tokens) == expected
    assert hinted("Without an end", "HINT", tokens) == "Without an end HINT "
