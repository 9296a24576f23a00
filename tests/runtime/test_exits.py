"""The perfect exit: the first end of a sentence from which on the answer is the final one."""

from __future__ import annotations

import pytest

from edgereason import _core
from edgereason.models.bundle import open_bundle
from edgereason.records import Answer, Usage
from edgereason.runtime.exits import needed_share
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

CONTROL = ["<|im_start|>", "<think>", "</think>"]
THOUGHT = "Let me see. It is seven. I look again.\nYes: seven"
CLOSED = "\n</think>\n\n"
RIGHT = tuple(
    (text + CLOSED, "7") for text in ("It is seven.", "I look again.", "Yes:", "Yes: seven")
)


def share(rules: tuple[tuple[str, str], ...], *thoughts: Answer) -> float | None:
    engine = _core.ScriptedEngine([*rules, ("</think>\n\n", "8")], control=CONTROL)
    with Reasoner(open_bundle(SCRIPTED), engine) as reasoner:
        return needed_share(reasoner, [("How many?", thought) for thought in thoughts])


def thought(text: str = THOUGHT, answer: str = "7", tokens: int = 40) -> Answer:
    return Answer(answer, reasoning=text, usage=Usage(reasoning_tokens=tokens))


def test_it_leaves_where_the_final_answer_begins_to_stand() -> None:
    assert share(RIGHT, thought()) == len("Let me see. It is seven.") / len(THOUGHT)


def test_an_answer_that_changes_again_was_not_known() -> None:
    rules = tuple(rule for rule in RIGHT if not rule[0].startswith("I look"))
    assert share(rules, thought()) == len("Let me see. It is seven. I look again.\nYes:") / len(
        THOUGHT
    )


def test_what_was_known_before_any_thought_needs_none() -> None:
    assert share((), thought(answer="8")) == 0


def test_it_is_a_share_of_all_tokens() -> None:
    known, unknown = thought(answer="8", tokens=10), thought(answer="9", tokens=30)
    assert share((), known, unknown) == pytest.approx(0.75)


def test_without_an_answer_there_is_no_exit() -> None:
    assert share((), thought(answer=""), thought(text="")) is None
