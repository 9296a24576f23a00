"""Equal as numbers, however they are written; or between `extra.lower` and `extra.upper`."""

from __future__ import annotations

from edgereason.values import Kind, extract_answer, normalize

from ..tasks.base import Item


def check(item: Item, text: str) -> bool:
    found = normalize(extract_answer(text, numeric=True))
    if "lower" in item.extra and "upper" in item.extra:
        number = found.key
        if found.kind is not Kind.NUMBER or isinstance(number, (str, tuple)):
            return False
        low, high = sorted((float(item.extra["lower"]), float(item.extra["upper"])))
        return low <= float(number) <= high
    return not found.is_empty and found == normalize(extract_answer(item.answer, numeric=True))
