"""How many requests may be on their way at once, and when to come back where that is too many.

    backlog.enter(now_ms)   # raises BusyError
    backlog.leave(now_ms)

Knows no request. When to come back follows from how fast requests ended lately.
"""

from __future__ import annotations

from typing import Final

from edgereason.errors import BusyError, UsageError

DEFAULT_MOST: Final = 1024
_RATE: Final = 0.2  # share of the way the mean goes with one request that ends
_UNKNOWN_MS: Final = 1000.0  # between two ends, before any was seen


class Backlog:
    """The caller guards it."""

    def __init__(self, most: int = DEFAULT_MOST) -> None:
        if most < 1:
            raise UsageError(f"most_requests must be 1 or more, got {most}")
        self._most = most
        self._num = 0
        self._gap_ms = _UNKNOWN_MS  # between two ends, while requests are on their way
        self._since_ms = 0.0  # the last end, or when there was something to do again

    def enter(self, now_ms: float) -> None:
        if self._num >= self._most:
            raise BusyError(f"{self._num} requests are on their way already", self._gap_ms)
        if self._num == 0:
            self._since_ms = now_ms
        self._num += 1

    def leave(self, now_ms: float) -> None:
        self._num -= 1
        self._gap_ms += _RATE * (now_ms - self._since_ms - self._gap_ms)
        self._since_ms = now_ms
