"""No control token out of a user's text: what looks like one is guarded while a template renders.

Two characters that nobody used stand around every lookalike before rendering, and are found and
taken out after it. Templates change texts: they strip, split, escape and lower them. So the control
tokens that came out are compared with those of the same conversation with harmless texts.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from edgereason.records import Segment

# Characters without a meaning; two that nobody used become guards.
_PRIVATE: Final = range(0xF0000, 0xFFFFE)
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_DATA: Final = ("tool_calls",)  # of an assistant's turn: no marks of its own
# What can put a token together out of pieces that are none: there, all that a token begins with is
# taken out of the harmless texts.
_TAKES_APART: Final = re.compile(
    r"\|\s*(?:striptags|unique|reject|select|sort|slice|batch|random|urlize|xmlattr|wordwrap"
    r"|truncate|center|e|escape|forceescape)\b"
    r"|\.(?:translate|removeprefix|removesuffix|unescape|striptags)\(|::\s*-?[2-9]"
    r"|split(?=.*join)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Guards:
    """Two characters put around every lookalike before rendering, found and taken out after it."""

    lookalikes: re.Pattern[str]
    everywhere: re.Pattern[str]  # what is guarded in a text: (lookalike) or the start of one
    spoken: re.Pattern[str]  # the same for what the assistant said, where markers are let through
    left: str
    right: str
    near: re.Pattern[str]  # what could become one: in other letters, or backwards
    near_spoken: re.Pattern[str]
    cuts: re.Pattern[str]  # a lookalike between guards, or a guard, however a template spells them
    texts: tuple[str, ...]  # the lookalikes
    starts: tuple[str, ...]  # characters behind which a text is cut, whatever follows

    @classmethod
    def chosen(
        cls, template: str, tokens: Sequence[str], markers: Sequence[str], text: str
    ) -> Guards:
        left, right = itertools.islice(_unused(text), 2)
        return _guards(template, tuple(filter(None, tokens)), tuple(markers), left, right)

    def put_turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        spoken = turn["role"] == "assistant"
        return {
            key: value
            if key == "role" and value in _ROLES
            else self.put(value, spoken and key not in _DATA)
            for key, value in turn.items()
        }

    def put(self, value: Any, spoken: bool = False) -> Any:
        if isinstance(value, str):
            return (self.spoken if spoken else self.everywhere).sub(self._put_one, value)
        if isinstance(value, Mapping):
            return {self.put(key): self.put(item, spoken) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.put(item, spoken) for item in value]
        return value

    def _put_one(self, match: re.Match[str]) -> str:
        if match[1]:
            return self.left + match[0] + self.right
        return match[0] if len(match[0]) > 1 else match[0] + self.right

    def harmless_turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        spoken = turn["role"] == "assistant"
        return {
            key: value
            if key == "role" and value in _ROLES
            else self.harmless(value, spoken and key not in _DATA)
            for key, value in turn.items()
        }

    def harmless(self, value: Any, spoken: bool = False) -> Any:
        """The same of the same length, with nothing in it that a template could make a token of."""
        if isinstance(value, str):
            pattern = self.near_spoken if spoken else self.near
            return pattern.sub(_defused, value)
        if isinstance(value, Mapping):
            return {self.harmless(key): self.harmless(item, spoken) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.harmless(item, spoken) for item in value]
        return value

    def controls(self, segments: Sequence[Segment]) -> list[str]:
        """The control tokens and markers of a prompt, in order."""
        texts = (piece.text for piece in segments if piece.control)
        return [found for text in texts for found in self.lookalikes.findall(text)]

    def cut(self, text: str) -> Iterator[Segment]:
        """The segments between the guards.

        A template may have parted a pair (`split`, a slice): what touches a lone guard is taken for
        a lookalike, too, and a lone guard ends its segment, so that the halves of a lookalike
        cannot meet.
        """
        start = 0
        for match in self.cuts.finditer(text):
            yield Segment(text[start : match.start()])
            yield from self._as_text(match[1] or match[2] or "")
            start = match.end()
        yield Segment(text[start:])

    def _as_text(self, lookalike: str) -> Iterator[Segment]:
        """Cut after its first character, and after that of every shorter token inside."""
        inside = re.finditer(f"(?={self.lookalikes.pattern})", lookalike)
        cuts = [0, *(match.start() + 1 for match in inside), len(lookalike)]
        for begin, end in itertools.pairwise(cuts):
            yield Segment(lookalike[begin:end], control=False)


@lru_cache(maxsize=16)
def _guards(
    template: str, tokens: tuple[str, ...], markers: tuple[str, ...], left: str, right: str
) -> Guards:
    # Markers made of several control tokens (gpt-oss) are guarded by those, wherever they are.
    if any(token != mark and token in mark for mark in markers for token in tokens):
        markers = ()
    own = tuple(token for token in tokens if token not in markers)
    always, every = _any_of(own), _any_of((*tokens, *markers))
    # A template that takes words out could join two halves: it gets a guard after each start.
    firsts = tuple({text[0] for text in (*tokens, *markers) if not text[0].isalnum()})
    cut_after = firsts if "replace" in template else ()
    starts = _any_of(cut_after)
    pieces = _any_of((*firsts, "&") if _TAKES_APART.search(template) else ())
    one, other = _spelled(left), _spelled(right)
    return Guards(
        lookalikes=re.compile(every),
        everywhere=re.compile(f"({every})|(?:{starts})"),
        spoken=re.compile(f"({always})|(?:{_any_of(markers)})|(?:{starts})"),
        near=re.compile(f"{_both_ways((*tokens, *markers))}|{pieces}", re.IGNORECASE),
        near_spoken=re.compile(_both_ways(own), re.IGNORECASE),
        cuts=re.compile(f"{one}({every})(?:{other})?|({every}){other}|{one}|{other}"),
        left=left,
        right=right,
        texts=(*tokens, *markers),
        starts=tuple(dict.fromkeys(cut_after)),
    )


def _defused(match: re.Match[str]) -> str:
    """Words and slashes stay: templates look for flags such as `/think`, also inside `</think>`."""
    text = re.sub(r"[^\w/]", "x", match[0])
    return text if text != match[0] else "x" * len(text)


def _unused(text: str) -> Iterator[str]:
    """Characters that the texts have in no spelling."""
    folded = text.casefold()
    for char in map(chr, _PRIVATE):
        names = (char, f"{ord(char):08x}", json.dumps(char)[1:-1], quote(char).casefold())
        if not any(name in folded for name in names):
            yield char


def _spelled(char: str) -> str:
    """A pattern for a guard, also where a template wrote it as Python, JSON or a URL does."""
    backslash = r"\\+"
    as_json = json.dumps(char)[1:-1].replace("\\", backslash)
    ways = f"{backslash}U{ord(char):08x}|{as_json}|{quote(char)}"
    return f"(?:{char}|(?i:{ways}))"


def _both_ways(texts: Sequence[str]) -> str:
    return _any_of((*texts, *(text[::-1] for text in texts)))


@lru_cache(maxsize=64)
def _any_of(texts: tuple[str, ...]) -> str:
    """A pattern that finds any of the texts, the longest first; nothing where there are none."""
    known = sorted({text for text in texts if text})
    return _tree(known) if known else "(?!)"


def _tree(texts: list[str]) -> str:
    """Sorted texts as one pattern that looks at no character twice: some models have thousands."""
    prefix = _common_start(texts[0], texts[-1])
    rests = [text[len(prefix) :] for text in texts]
    longer = itertools.groupby(filter(None, rests), key=lambda rest: rest[0])
    branches = "|".join(_tree(list(group)) for _, group in longer)
    if not branches:
        return re.escape(prefix)
    return f"{re.escape(prefix)}(?:{branches}){'' if rests[0] else '?'}"


def _common_start(one: str, other: str) -> str:
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(char for char, _ in pairs)
