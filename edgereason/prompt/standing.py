"""Where a prompt leaves the model: before a thought, inside one, or behind it.

Read off the text that is really sent, since what a template writes depends on its messages: on
flags in a system message, on whose message comes last, on variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from edgereason.records import Segment


class Standing(Enum):
    BEFORE = "before a thought"  # the model may open one, or answer
    INSIDE = "inside a thought"
    BEHIND = "behind a thought"  # it was closed, or the answer was opened


def trusted_text(segments: Sequence[Segment]) -> str:
    """A prompt's text without what users wrote that looks like a mark."""
    return "".join(piece.text if piece.control else "\0" for piece in segments)


def standing(text: str, opens: Sequence[str], shuts: Sequence[str], answer: str = "") -> Standing:
    """`answer` opens the answer where a family has a text for it."""
    text = text.rstrip()
    if answer and text.endswith(answer.strip()):
        return Standing.BEHIND
    if text.endswith(tuple(shut.rstrip() for shut in shuts)):
        return Standing.BEHIND
    if text.endswith(tuple(mark.rstrip() for mark in opens)):
        return Standing.INSIDE
    # An empty block, and the start of the message that answers. The end of a block alone proves
    # nothing here: some families end every message by it.
    before = text[: len(text) - overlap(text, answer)].rstrip()
    for mark in opens:
        for shut in shuts:
            if before != text and before.endswith(mark + shut):
                return Standing.BEHIND
    return Standing.BEFORE


def overlap(text: str, following: str) -> int:
    """How many characters of `following` stand at the end of `text` already."""
    longest = min(len(text), len(following))
    return next((n for n in range(longest, 0, -1) if text.endswith(following[:n])), 0)
