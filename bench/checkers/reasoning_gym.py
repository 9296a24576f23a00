"""Questions of the package reasoning-gym, and its own score: right is a score of 1.

Five of its tasks do not score their own answers as right and are refused.
"""

from __future__ import annotations

from typing import Any, Final

from edgereason.errors import UnsupportedError, UsageError
from edgereason.values import extract_answer

from ..tasks.base import Item

_UNSCORED: Final = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")
_CONFIGURED: Final = ("composite",)


def ready() -> None:
    _package()


def deal(task: str, num: int, seed: int) -> list[Item]:
    """`num` questions of the task of that name, drawn with the seed."""
    name = task.replace("-", "_")
    if name in _UNSCORED + _CONFIGURED:
        why = "needs a specification" if name in _CONFIGURED else "does not score its own answers"
        raise UsageError(f"reasoning-gym's {name} {why}", "take another of its tasks")
    data = _dataset(name, num, seed)
    extra = {"task": name, "num": num, "seed": seed}
    return [
        Item(f"{name}-{seed}-{i}", entry["question"], str(entry["answer"]), "reasoning_gym", (),
             {**extra, "index": i})
        for i, entry in enumerate(data)
    ]  # fmt: skip


def check(item: Item, text: str) -> bool:
    extra = item.extra
    data = _dataset(extra["task"], extra["num"], extra["seed"])
    entry = data[extra["index"]]
    answers = (text.strip(), extract_answer(text))
    return any(data.score_answer(answer, entry) >= 1 for answer in answers)


def _dataset(name: str, num: int, seed: int) -> Any:
    try:
        return _package().create_dataset(name, size=num, seed=seed)
    except ValueError as error:
        raise UsageError(f"reasoning-gym has no task {name!r}: {error}") from None


def _package() -> Any:
    try:
        import reasoning_gym
    except ImportError:
        raise UnsupportedError(
            "tasks of reasoning-gym need that package, which is not installed",
            "pip install reasoning-gym",
        ) from None
    return reasoning_gym
