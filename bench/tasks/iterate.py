"""A short question with a long way: "x = 17; apply x -> (3x + 4) mod 97, 250 times".

A step carries all that the next one needs, the rounds left and x, so that the way can be cut
anywhere and go on from its last line: "250:17*3=51+4=55%97=55".

Such a map comes back after a divisor of 96 steps, so that 106 applications equal 10, and a model
that drops a digit of 106 would be right. Test problems are therefore such that no count which is
left when digits are dropped gives the same answer; for counts like 106 there are none: see
`countable`.
"""

from __future__ import annotations

import random
import re
from itertools import combinations

from .base import Problem, Split, draw

MODULUS = 97


def generate(
    rng: random.Random, split: Split = "train", times: tuple[int, int] = (1, 16)
) -> Problem:
    """`times`: the fewest and the most applications; a step takes about 22 tokens of digits."""
    if split == "train":
        return draw(split, lambda: _make(rng, rng.randint(*times)))
    if not any(map(countable, range(times[0], times[1] + 1))):
        raise ValueError(f"{times[0]} to {times[1]} applications can be shortened, see `countable`")
    while True:
        problem = draw(split, lambda: _make(rng, rng.randint(*times)))
        values = [re.findall(r"\d+", problem.question)[0], *problem.notes]
        if all(values[short] != problem.answer for short in misread(len(problem.steps))):
            return problem


def misread(times: int) -> set[int]:
    """What is left of a count when digits are dropped: of 106 that is 10, 16, 6, 1 and 0."""
    digits = str(times)
    return {
        int("".join(kept))
        for length in range(1, len(digits))
        for kept in combinations(digits, length)
    }


def countable(times: int) -> bool:
    """False where a count with fewer digits always gives the same."""
    return all((times - short) % (MODULUS - 1) for short in misread(times))


def _make(rng: random.Random, times: int) -> Problem:
    x, factor, term = rng.randrange(MODULUS), rng.randint(2, 9), rng.randint(1, MODULUS - 1)
    steps, notes = walk(x, factor, term, times, times)
    return Problem(ask(x, factor, term, times), tuple(steps), tuple(notes), notes[-1])


def ask(x: int, factor: int, term: int, times: int) -> str:
    return f"x = {x}; apply x -> ({factor}x + {term}) mod {MODULUS}, {times} times"


def walk(x: int, factor: int, term: int, left: int, num: int) -> tuple[list[str], list[str]]:
    """The next `num` steps from `x` with `left` applications to go, and what each one finds."""
    steps, notes = [], []
    for now in range(left, left - num, -1):
        product = x * factor
        new = (product + term) % MODULUS
        steps.append(f"{now}:{x}*{factor}={product}+{term}={product + term}%{MODULUS}={new}")
        notes.append(str(new))
        x = new
    return steps, notes


def check(problem: Problem, text: str) -> bool:
    """True where the last number of the text is x after the last application."""
    numbers = re.findall(r"-?\d+", text)
    return bool(numbers) and int(numbers[-1]) == int(problem.answer)
