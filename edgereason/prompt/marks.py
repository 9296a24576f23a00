"""Marks of thoughts as texts: what looks like one, and which a model wrote into its answers.

Knows neither templates nor models.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TAG: Final = r"(?:<[^<>\s/]{1,40}>|\[[A-Z_]{1,30}\]|◁[^▷\s/]{1,30}▷)"
END_TAG: Final = r"(?:<(?:/|\|)[^<>\s]{1,40}>|\[/[A-Z_]{1,30}\]|◁/[^▷\s]{1,30}▷)"
ABOUT_THOUGHTS: Final = re.compile("think|thought|reason", re.IGNORECASE)
ANSWERS: Final = ("answer", "output", "response", "solution", "result")

_OPENED: Final = re.compile(rf"\s*({TAG})(\s*)")
_ENDED: Final = re.compile(END_TAG)
_ANSWER: Final = re.compile(rf"\s*<({'|'.join(ANSWERS)})>\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands around a thought, and around the answer behind it where that has marks, too.

    Attributes:
        lead: what is written right behind `open`.
    """

    open: str = ""
    shut: str = ""
    lead: str = ""
    answer: str = ""
    answer_end: str = ""


def end_of(opened: str) -> str:
    """The tag that ends what `opened` begins, as tags are mostly paired; "" for tokens."""
    return "" if opened[1:2] == "|" else f"{opened[0]}/{opened[1:]}"


def marks_in(text: str) -> Marks | None:
    """The marks of one answer, from its first token on. None: it has none. `shut` is "" where the
    thought was not over yet.
    """
    opened = _OPENED.match(text)
    if opened is not None and ABOUT_THOUGHTS.search(opened[1]):
        begin, lead, start = opened[1], opened[2], opened.end()
        pair = end_of(begin)
        at = text.find(pair, start) if pair else -1
        ended = (at, at + len(pair)) if at >= 0 else _end_after(text, start)
    else:
        # Of a block that nobody opened, only the end is written.
        ended = _end_after(text, 0)
        if ended is None or text[ended[0] + 1] != "/" or not text[: ended[0]].strip():
            return None
        begin = text[ended[0]] + text[ended[0] + 2 : ended[1]]
        lead = ""
    if ended is None:
        return Marks(begin, "", lead)
    shut = text[ended[0] : ended[1]]
    section = _ANSWER.match(text, ended[1])
    if section is None:
        return Marks(begin, shut, lead)
    return Marks(begin, shut, lead, section[0], f"</{section[1]}>")


def common_marks(texts: Sequence[str]) -> tuple[Marks, int]:
    """The marks of several answers, and how many of them have these. Without any: no marks, 0."""
    found = [marks for text in texts if (marks := marks_in(text)) is not None]
    if not found:
        return Marks(), 0
    begin = Counter(marks.open for marks in found).most_common(1)[0][0]
    same = [marks for marks in found if marks.open == begin]
    ended = [marks for marks in same if marks.shut]
    if not ended:
        return Marks(begin, end_of(begin), same[0].lead), len(same)
    likeliest = Counter(ended).most_common(1)[0][0]
    return likeliest, len(same)


def _end_after(text: str, start: int) -> tuple[int, int] | None:
    for match in _ENDED.finditer(text, start):
        if ABOUT_THOUGHTS.search(match[0]):
            return match.span()
    return None
