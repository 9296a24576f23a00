"""A formula that fits: R2 on `extra.test_points` (variables, then y) of at least `r2_at_least`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgereason.values import extract_answer

from ..tasks.base import Item
from ._arithmetic import Formula, candidates


def check(item: Item, text: str) -> bool:
    """The final answer, else the lines from the last: the first that is a formula counts."""
    points = item.extra["test_points"]
    names = item.extra["variables"]
    for line in candidates(text, extract_answer(text)):
        try:
            formula = Formula.read(line)
            found = [formula.at(dict(zip(names, row[:-1], strict=True))) for row in points]
        except ValueError:
            continue
        if any(char.isalpha() for char in line):  # a number alone is no formula of x
            fit = r_squared(found, [row[-1] for row in points])
            return bool(fit >= item.extra["r2_at_least"])
    return False


def r_squared(found: Sequence[float], wanted: Sequence[float]) -> float:
    mean = math.fsum(wanted) / len(wanted)
    total = math.fsum((y - mean) ** 2 for y in wanted)
    left = math.fsum((a - b) ** 2 for a, b in zip(found, wanted, strict=True))
    return 1 - left / total if total > 0 and math.isfinite(left) else -math.inf
