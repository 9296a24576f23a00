"""Asks a model how it marks its thoughts: a few easy questions, on its template as it is.

    learned = ask(reasoner)
    asked.keep(reasoner.bundle, learned)

Only its beginning is wanted of each answer, and where a thought ends: what the model writes is
read as it is, marks included.
"""

from __future__ import annotations

from typing import Any, Final

from edgereason.planning.asked import learn
from edgereason.prompt.chat import thinking_prompt
from edgereason.records import Message, Sampling
from edgereason.runtime.reasoner import Reasoner

QUESTIONS: Final = (
    "What is 17 + 26?",
    "Which is larger, 0.9 or 0.11?",
    "Name a colour of the rainbow.",
    "Is 91 a prime number?",
)
MOST_TOKENS: Final = 256  # an answer; a thought about these is mostly over by then


def ask(reasoner: Reasoner, *, tokens: int = MOST_TOKENS) -> dict[str, Any]:
    """What the answers show, see `planning/asked.py`; all are asked side by side, greedily."""
    prompts = [
        "".join(
            piece.text
            for piece in thinking_prompt(
                reasoner.bundle, [Message("user", question)], None
            ).segments
        )
        for question in QUESTIONS
    ]
    handles = [
        reasoner.submit(prompt, strategy="raw", answer_budget=tokens, sampling=Sampling())
        for prompt in prompts
    ]
    return learn(reasoner.bundle, [handle.result().answer for handle in handles])


__all__ = ["QUESTIONS", "ask"]
