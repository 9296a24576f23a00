"""The check of a task that deals its problems out itself; `extra.task` is its name."""

from __future__ import annotations

from edgereason.registry import load

from ..tasks.base import Item, Problem


def check(item: Item, text: str) -> bool:
    problem = Problem(item.question, (), (), item.answer)
    try:
        right: bool = load("edgereason.bench.tasks", item.extra["task"]).check(problem, text)
    except ValueError:  # Python reads no number of more than 4,300 digits
        return False
    return right
