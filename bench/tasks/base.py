"""What every task deals out, and the wall between training and testing.

A question belongs to the test split or to training by its own hash: two programs that never met
agree on it, and no seed can carry a test question into training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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


@dataclass(frozen=True, slots=True)
class Item:
    """A question of a benchmark, and what says whether an answer to it is right.

    Attributes:
        id: unique in its task.
        answer: the right answer, or one of them, as its checker reads it.
        checker: name of a file in bench/checkers.
        choices: what may be chosen, for the checker `choice`; the question does not list them.
        extra: what else the checker needs.
    """

    id: str
    question: str
    answer: str
    checker: str
    choices: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data of a task come from. They are fetched when first asked for, never shipped.

    Attributes:
        urls: files of one commit of the repository that published them.
        licence: as its owners state it.
        sha256: of the files in that order; () where they have not been checked by us.
        caution: what one has to know before one quotes a figure.
    """

    urls: tuple[str, ...]
    licence: str
    sha256: tuple[str, ...] = ()
    caution: str = ""
