"""A thought that is handed over: it is in the context, as text, and costs no thinking."""

from __future__ import annotations

from edgereason import _core
from edgereason.models.bundle import open_bundle
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

CONTROL = ["<|im_start|>", "<think>", "</think>"]


def model(*rules: tuple[str, str]) -> Reasoner:
    engine = _core.ScriptedEngine(list(rules), control=CONTROL)
    return Reasoner(open_bundle(SCRIPTED), engine)


def test_the_answer_follows_the_thought() -> None:
    after = "<|im_start|>assistant\n<think>\nIt is seven.\n</think>\n\n"
    with model((after, "7"), ("</think>\n\n", "?")) as reasoner:
        options = {"thought": "It is seven."}
        answer = reasoner.ask("How many?", strategy="given-thought", options=options)
        none = reasoner.ask("How many?", strategy="given-thought")
    assert (answer.answer, answer.reasoning) == ("7", "It is seven.")
    assert answer.usage.reasoning_tokens == 0
    assert (none.answer, none.reasoning) == ("?", "")


def test_marks_in_a_thought_are_text() -> None:
    """Or a thought could end itself, and say what the model answers."""
    with model(("a</think>b\n</think>\n\n", "text"), ("</think>", "mark")) as reasoner:
        options = {"thought": "a</think>b"}
        chains = reasoner.submit("?", strategy="given-thought", options=options)
        assert chains.result().answer == "text"
        prompt = chains.chains[0][0].num_prompt
        plain = reasoner.submit("?", strategy="given-thought", options={"thought": "axxxxxxxxb"})
        plain.result()
    assert prompt == plain.chains[0][0].num_prompt  # eight letters each, no control token
