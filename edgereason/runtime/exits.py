"""What leaving a thought early could save at most, measured on thoughts that came to their end.

    share = needed_share(reasoner, asked)

The perfect exit leaves at the end of the first sentence from which on the model gives the answer
that it gives in the end. No real exit is better, so where it saves little none is worth its probes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from edgereason.records import Answer
from edgereason.runtime.reasoner import Reasoner
from edgereason.values import Value, value_of

_MOST_PLACES: Final = 16  # where one thought is tried, besides its end
_SENTENCE: Final = re.compile(r"(?<=[.!?:])\s|(?<=\S)\n")


def needed_share(
    reasoner: Reasoner,
    asked: Sequence[tuple[str, Answer]],
    *,
    answer_tokens: int = 32,
    parallel: int = 4,
) -> float | None:
    """The share of the thinking tokens up to the perfect exits of these questions' thoughts, tokens
    counted by their letters. None: no thought came to an answer.
    """

    def answer_after(question: str, thought: str) -> Value:
        answer = reasoner.ask(
            question,
            strategy="given-thought",
            options={"thought": thought},
            answer_budget=answer_tokens,
            keep=True,
        )
        return value_of(answer.answer)

    def num_needed(one: tuple[str, Answer]) -> float:
        question, answer = one
        final, thought = value_of(answer.answer), answer.reasoning
        first = len(thought)
        for place in reversed(_places(thought)):
            if answer_after(question, thought[:place]) != final:
                break
            first = place
        return first / len(thought) * answer.usage.reasoning_tokens

    thoughts = [(text, answer) for text, answer in asked if answer.reasoning and answer.answer]
    if not thoughts:
        return None
    with ThreadPoolExecutor(parallel) as pool:
        total = sum(pool.map(num_needed, thoughts))
    return total / sum(answer.usage.reasoning_tokens for _, answer in thoughts)


def _places(thought: str) -> list[int]:
    """Before it, and where its sentences end, in order, its end left out."""
    ends = [match.start() for match in _SENTENCE.finditer(thought.rstrip())]
    stride = -(-len(ends) // _MOST_PLACES) or 1
    return [0, *ends[::stride]]


__all__ = ["needed_share"]
