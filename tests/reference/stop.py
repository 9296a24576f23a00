"""Slow twin of `edgereason/stop.h`: looks at the whole text again after every byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


def num_held(text: bytes, patterns: Sequence[bytes]) -> int:
    """How many of the last bytes are a proper prefix of a pattern: the longest such."""
    starts = [p[:num] for p in patterns for num in range(1, len(p))]
    return max((len(start) for start in starts if text.endswith(start)), default=0)


def ending(text: bytes, patterns: Sequence[bytes]) -> int | None:
    """Index of the longest pattern that the text ends with, the first of equals."""
    found = [i for i, pattern in enumerate(patterns) if text.endswith(pattern)]
    return max(found, key=lambda i: len(patterns[i]), default=None)


class TextMatcher:
    def __init__(self, patterns: Sequence[bytes]) -> None:
        self.patterns = patterns
        self.text = b""  # since the last match

    def feed(self, piece: bytes) -> tuple[int, int, int]:
        for at in range(len(piece)):
            self.text += piece[at : at + 1]
            pattern = ending(self.text, self.patterns)
            if pattern is not None:
                self.text = b""
                return pattern, len(piece) - at - 1, len(self.patterns[pattern])
        return -1, 0, 0

    @property
    def num_held(self) -> int:
        return num_held(self.text, self.patterns)


@cache
def _starts_of_characters() -> frozenset[bytes]:
    characters = [chr(code).encode() for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    return frozenset(c[:num] for c in characters for num in range(1, len(c)))


def num_unfinished_utf8(text: bytes) -> int:
    lengths = [num for num in (1, 2, 3) if text[-num:] in _starts_of_characters()]
    return max((num for num in lengths if num <= len(text)), default=0)
