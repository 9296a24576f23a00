"""What an effort means in thinking tokens: fixed figures, less where the context is short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgereason.config import unknown
from edgereason.records import UNLIMITED

_LEVELS: Final[Mapping[str, tuple[int, float]]] = {  # tokens, and the largest share of the context
    "none": (0, 0.0),
    "minimal": (128, 1 / 64),
    "low": (512, 1 / 16),
    "medium": (2048, 1 / 8),
    "high": (8192, 1 / 4),
    "xhigh": (16384, 1 / 2),
    "max": (UNLIMITED, 1.0),
}


def think_tokens(effort: str, context: int) -> int:
    """The thinking budget of an effort. `context` in tokens, 0 where it is unknown."""
    if effort not in _LEVELS:
        raise unknown("no effort called", effort, _LEVELS)
    tokens, share = _LEVELS[effort]
    if tokens <= 0 or context <= 0:
        return tokens
    return max(1, min(tokens, int(context * share)))


def table(context: int) -> dict[str, int]:
    """All efforts with their budgets, least first."""
    return {effort: think_tokens(effort, context) for effort in _LEVELS}
