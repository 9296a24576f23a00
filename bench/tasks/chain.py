"""Integer arithmetic of n terms, from left to right: "What is 47+8-23?" -> 47+8=55, 55-23=32.

Each step is easy, the whole is not: a model that may write its way beats one that may not.
Sums stay between 0 and 999.
"""

from __future__ import annotations

import random
import re

from .base import Problem, Split, draw


def generate(
    rng: random.Random, split: Split = "train", terms: tuple[int, int] = (3, 10)
) -> Problem:
    """`terms`: the fewest and the most numbers in the sum, each below 100."""
    return draw(split, lambda: _make(rng, rng.randint(*terms)))


def _make(rng: random.Random, num_terms: int) -> Problem:
    total = rng.randint(1, 99)
    question, steps, notes = f"What is {total}", [], []
    for _ in range(num_terms - 1):
        term = rng.randint(1, 99)
        minus = term <= total and (total + term > 999 or rng.random() < 0.5)
        sign, new = ("-", total - term) if minus else ("+", total + term)
        question += f"{sign}{term}"
        steps.append(f"{total}{sign}{term}={new}")
        notes.append(str(new))
        total = new
    return Problem(question + "?", tuple(steps), tuple(notes), str(total))


def check(problem: Problem, text: str) -> bool:
    """True where the last number of the text is the sum."""
    numbers = re.findall(r"-?\d+", text)
    return bool(numbers) and int(numbers[-1]) == int(problem.answer)
