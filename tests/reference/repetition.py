"""Slow twin of `edgereason/loop.h`: measures every stretch from its end, each time."""

from __future__ import annotations

from collections.abc import Sequence


def stretch(tokens: Sequence[int], period: int) -> int:
    """How many of the last tokens repeat with this period; `period` or less: they do not."""
    length = period
    while length < len(tokens) and tokens[-1 - length] == tokens[-1 - length + period]:
        length += 1
    return length


def is_loop(tokens: Sequence[int], max_period: int, repeats: int, min_tokens: int) -> bool:
    return any(
        stretch(tokens, period) >= max(repeats * period, min_tokens, period + 1)
        for period in range(1, min(max_period, len(tokens) - 1) + 1)
    )
