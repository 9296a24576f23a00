"""Yes or no; true and false are the same."""

from __future__ import annotations

import re

from edgereason.values import Kind, extract_answer, normalize

from ..tasks.base import Item

_WORD = re.compile(r"(?i)\b(yes|no|true|false)\b")


def ask(item: Item) -> str:
    told = re.search(r"(?i)yes or no|true or false", item.question)
    return item.question if told else f"{item.question}\n\nAnswer yes or no."


def check(item: Item, text: str) -> bool:
    """A text that says both without a final answer says nothing."""
    told = _truth(text)
    return told is not None and told == _truth(item.answer)


def _truth(text: str) -> bool | None:
    final = extract_answer(text)
    value = normalize(final)
    if value.kind is Kind.TRUTH:
        return bool(value.key)
    words = {word.lower() in ("yes", "true") for word in _WORD.findall(final)}
    return words.pop() if len(words) == 1 else None
