"""What every task deals out, and the wall between training and testing.

A question belongs to the test split or to training by its own hash: two programs that never met
agree on it, and no seed can carry a test question into training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question and the written way to its answer.

    Attributes:
        steps: the way, each step a line that can be checked by itself.
        notes: what each step finds, in as few words as possible; as many as steps.
    """

    question: str
    steps: tuple[str, ...]
    notes: tuple[str, ...]
    answer: str

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.notes):
            raise ValueError(f"{len(self.steps)} steps but {len(self.notes)} notes")


def split_of(question: str) -> Split:
    """One question in sixteen is for testing."""
    return "test" if hashlib.sha256(question.encode()).digest()[0] < 16 else "train"


def draw(split: Split, make: Callable[[], Problem]) -> Problem:
    """Draws until a problem of the split turns up."""
    while True:
        problem = make()
        if split_of(problem.question) == split:
            return problem
