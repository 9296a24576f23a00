"""An expression of + - * / that uses each of `extra.numbers` once and equals `extra.target`."""

from __future__ import annotations

import re

from edgereason.values import extract_answer

from ..tasks.base import Item
from ._arithmetic import Formula, candidates

_SIGNS = str.maketrans(
    {"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u00b7": "*", "x": "*"}
)


def check(item: Item, text: str) -> bool:
    """The final answer, else the lines from the last: the first that is an expression counts."""
    wanted = sorted(item.extra["numbers"])
    for line in candidates(text, extract_answer(text)):
        plain = re.sub(r"\\(?:times|cdot)\b", "*", line).translate(_SIGNS)
        try:
            value, used = Formula.read(plain).exact()
        except ValueError:
            continue
        if len(used) > 1:  # "= 41" alone is what was asked for, not an expression
            return sorted(used) == wanted and value == item.extra["target"]
    return False
