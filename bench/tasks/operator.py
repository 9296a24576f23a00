"""An operator nobody knows: a@b is a+b+a. "What is 47@8?" -> 47+8=55, 55+47=102.

Each step is one that a model of `chain` can do; that "@" asks for these two is what it has to be
taught, by demonstrations, a prefix or training.
"""

from __future__ import annotations

import random

from . import chain
from .base import Problem, Split, draw


def generate(rng: random.Random, split: Split = "train") -> Problem:
    return draw(split, lambda: _make(rng.randint(1, 99), rng.randint(1, 99)))


def _make(a: int, b: int) -> Problem:
    steps = (f"{a}+{b}={a + b}", f"{a + b}+{a}={a + b + a}")
    notes = (str(a + b), str(a + b + a))
    return Problem(f"What is {a}@{b}?", steps, notes, notes[-1])


check = chain.check
