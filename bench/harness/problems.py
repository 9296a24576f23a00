"""Test problems of the tasks in `bench/tasks`, the same for whoever asks with the same seed."""

from __future__ import annotations

import random
from functools import partial
from types import ModuleType
from typing import Final

from edgereason.registry import load

from ..tasks.base import Problem

_TASKS: Final = "edgereason.bench.tasks"
_TIMES: Final = 100  # applications, a way of more than four contexts of 512 tokens
LONG: Final = f"iterate, {_TIMES} times"


def task_of(name: str) -> ModuleType:
    """The module of a task, or of one drawn in its own way such as `LONG`."""
    return load(_TASKS, name.partition(",")[0])


def problems(task: str, num: int, seed: int) -> list[Problem]:
    """Of the test split: no training has seen them."""
    generator = random.Random(f"variants:{seed}:{task}")
    generate = task_of(task).generate
    if task == LONG:
        generate = partial(generate, times=(_TIMES, _TIMES))
    return [generate(generator, "test") for _ in range(num)]
