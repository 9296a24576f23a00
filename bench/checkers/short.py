"""Equal as text, to the letter, but for space, quotes and a full stop around it."""

from __future__ import annotations

from edgereason.values import extract_answer

from ..tasks.base import Item


def check(item: Item, text: str) -> bool:
    """The whole text, its final answer and its last line are read; case counts."""
    lines = [line for line in text.splitlines() if line.strip()]
    read = (text, extract_answer(text), *lines[-1:])
    wanted = " ".join(item.answer.split())
    return any(wanted in (" ".join(each.split()), _bare(each)) for each in read)


def _bare(text: str) -> str:
    return " ".join(text.strip().strip("`*\"'").removesuffix(".").split())
