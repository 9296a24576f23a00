r"""Answers as values, so that "$18.00", "18" and "\boxed{18}" are one vote and not three.

`extract_answer` finds the final answer in a text, `normalize` turns it into a `Value` that compares
equal to every other way of writing the same. Units, currency and percent signs are dropped: voters
answer one question, and differ in them by habit. Knows no model and no strategy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, Final

_MAX_TEXT: Final = 4000
_MAX_NUMBER: Final = 200  # characters
_MAX_EXPONENT: Final = 400  # 10**999999999 would take all memory


class Kind(Enum):
    NUMBER = "number"
    CHOICE = "choice"
    TRUTH = "truth"
    LIST = "list"
    OBJECT = "object"  # JSON
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Value:
    """What an answer means. Equal values are the same answer; hashable, to be counted."""

    kind: Kind
    key: Fraction | bool | str | tuple[Value, ...]

    @property
    def is_empty(self) -> bool:
        return self.key == ""


_FINAL: Final = re.compile(r"(?i)####\s*|final\s+answer\W*?\s*(?:is\b\s*)?[:\s]\s*")
_ANSWER: Final = re.compile(r"(?i)\banswer\s*(?:is\b\s*:?|:)\s*")
_BRACES: Final = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")

_DIGITS: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_SIGN: Final = r"(?:[-+] ?[$€£¥₹]? ?|[$€£¥₹] ?[-+]?)?"
_PLAIN: Final = rf"{_SIGN}(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_POWER: Final = r"(?:[eE]| ?(?:[x*·\u00d7]|\\times|\\cdot) ?10 ?(?:\^|\*\*) ?)"
_SCIENTIFIC: Final = rf"{_PLAIN}(?:{_POWER}\{{?\(?(?P<exponent>[-+]?\d+)\)?\}}?)?"
_UNIT: Final = r" ?[%°]? ?(?:[^\W\d_]+(?:(?:[/^·.-]| )[^\W\d_]+|\^?[23²³]\b){0,3})?"
_NUMBER: Final = re.compile(rf"(?P<whole>{_SCIENTIFIC}){_UNIT}")
_RATIO: Final = re.compile(
    rf"(?:(?P<mixed>[-+]?\d+) )?(?P<top>{_PLAIN}) ?/ ?(?P<bottom>{_PLAIN}){_UNIT}"
)
_ANYWHERE: Final = re.compile(rf"(?<![\w.])[-+]?[$€£¥₹]?{_DIGITS}(?:\.\d+)?(?:\s*/\s*\d+)?(?!\w)")

_CHOICE: Final = re.compile(r"\(?([A-Ja-j])\)?[.):]?|(?:\(([A-J])\)|([A-J])[.):])\s.*", re.DOTALL)
_OPTION: Final = re.compile(r"(?i)(?:option|choice|answer)\s+(?=\(?[A-J]\b)")
_TRUTH: Final = re.compile(r"(?i)(yes|true|no|false)(?:[,.;:!].*)?", re.DOTALL)
_BRACKETS: Final = {"[": "]", "(": ")", "{": "}"}
_LEFT_SIDE: Final = re.compile(r"[A-Za-z]\w{0,15}\s*=\s*(?=\S)")
_WRAPPED: Final = (("**", "**"), ("$", "$"), ("`", "`"), ('"', '"'), ("'", "'"), ("\\(", "\\)"))
_LATEX: Final = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right|displaystyle)\b\s*|\\[,!;: ]|~"), ""),
    (re.compile(r"\^\s*\{?\\circ\}?"), "°"),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
    (re.compile(r"[\u2212\u2013]"), "-"),  # minus sign, en dash
    (re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}\b)"), ","),  # spaces between thousands
    (re.compile(r"\s+"), " "),
)


def normalize(text: str) -> Value:
    """The value of one answer. Text that is nothing else is compared without case and spacing."""
    found = _object(text)
    if found is not None:
        return Value(Kind.OBJECT, json.dumps(found, sort_keys=True))
    bare = _unwrapped(text[:_MAX_TEXT])
    number = _number(bare)
    if number is not None:
        return Value(Kind.NUMBER, number)
    choice = _CHOICE.fullmatch(_OPTION.sub("", bare, count=1))
    if choice:
        return Value(Kind.CHOICE, next(filter(None, choice.groups())).upper())
    truth = _TRUTH.fullmatch(bare)
    if truth:
        return Value(Kind.TRUTH, truth[1].lower() in ("yes", "true"))
    items = _items(bare)
    if items:
        return Value(Kind.LIST, tuple(map(normalize, items)))
    return Value(Kind.TEXT, " ".join(bare.casefold().split()))


def extract_answer(text: str, *, numeric: bool = False) -> str:
    r"""The final answer inside a longer text, else the text itself.

    A JSON object is its own answer. Else looked for in this order, the last of a kind wins:
    \boxed{}, "Final answer:" or "####", "the answer is"; then a first line that is a value by
    itself, and with `numeric` the last number.
    """
    if _object(text) is not None:
        return text.strip()
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    for cue in (_FINAL, _ANSWER):
        found = _after(text, cue)
        if found:
            return _after(found, _ANSWER) or found  # "Final answer: the answer is 9"
    first = _one_value(next((line for line in text.splitlines() if line.strip()), ""))
    if first and normalize(first).kind is not Kind.TEXT:
        return first
    if numeric:
        numbers = _ANYWHERE.findall(text)
        if numbers:
            return str(numbers[-1])
    return text.strip()


def value_of(text: str) -> Value:
    """What an answer says. A sentence is read for its number where it has one."""
    value = normalize(extract_answer(text))
    return value if value.kind is not Kind.TEXT else normalize(extract_answer(text, numeric=True))


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, with 1.0 as 1; None: it is something else."""
    if not text.lstrip().startswith("{") or not text.rstrip().endswith("}"):
        return None
    try:
        found = json.loads(text, parse_float=lambda digits: _whole(float(digits)))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _whole(number: float) -> float | int:
    return int(number) if number.is_integer() else number


def _last_boxed(text: str) -> str | None:
    r"""What stands in the last \boxed{} that has both braces and is not empty."""
    last, start = None, -1
    open_braces: list[int] = []  # where the text of a box begins, -1 for other braces
    for match in _BRACES.finditer(text):
        if match[0] != "}":
            open_braces.append(match.end() if match[0] != "{" else -1)
        elif open_braces:
            begin = open_braces.pop()
            inside = text[begin : match.start()].strip() if begin > start else ""
            if inside:
                last, start = inside, begin
    return last


def _after(text: str, cue: re.Pattern[str]) -> str:
    """What follows the last cue that anything follows: one line, and of a number one sentence."""
    for match in reversed(list(cue.finditer(text))):
        rest = text[match.end() :].strip(" \t*:")
        line = next((part for part in rest.splitlines() if part.strip(" *:")), "")
        if line:
            return _one_value(line)
    return ""


def _one_value(line: str) -> str:
    """A line, or its first sentence where that is a number: "18. For 9 and 9 are 18." """
    sentence = re.split(r"[.;](?:\s|$)", line, maxsplit=1)[0].strip()
    return sentence if _number(_unwrapped(sentence)) is not None else line.strip()


def _unwrapped(text: str) -> str:
    """Without LaTeX, quotes, emphasis, `x =` and a full stop around it."""
    text = text.strip()
    for _ in range(8):  # each round takes one layer off
        before = text
        boxed = _last_boxed(text) if text.startswith(("\\boxed", "\\fbox")) else None
        text = (boxed if boxed is not None else text).removeprefix("####").strip()
        for left, right in _WRAPPED:
            if text.startswith(left) and text.endswith(right) and len(text) > len(left + right):
                text = text[len(left) : len(text) - len(right)].strip()
        text = _LEFT_SIDE.sub("", text.rstrip(".!").strip(), count=1)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
        if text == before:
            break
    return text


def _number(text: str) -> Fraction | None:
    if len(text) > _MAX_NUMBER:
        return None
    ratio = _RATIO.fullmatch(text)
    if ratio:
        top, bottom = _fraction(ratio["top"]), _fraction(ratio["bottom"])
        if top is None or not bottom:
            return None
        whole = _fraction(ratio["mixed"]) if ratio["mixed"] else Fraction(0)
        if whole is None:
            return None
        part = top / bottom
        return whole - part if (ratio["mixed"] or "").startswith("-") else whole + part
    plain = _NUMBER.fullmatch(text)
    return _fraction(plain["whole"], plain["exponent"]) if plain else None


def _fraction(text: str, exponent: str | None = None) -> Fraction | None:
    """`text` may still hold its exponent's characters: only what stands before them is read."""
    match = re.match(_PLAIN, text)
    digits = re.sub(r"[\s,$€£¥₹]", "", match[0] if match else text)
    power = int(exponent) if exponent else 0
    if abs(power) > _MAX_EXPONENT:
        return None
    return Fraction(digits.rstrip(".") or "0") * Fraction(10) ** power


def _items(text: str) -> list[str]:
    """The parts of a list: in brackets, or numbers set apart by `, ` or `and`."""
    if len(text) > 2 and _BRACKETS.get(text[0]) == text[-1]:
        parts = list(_split(text[1:-1]))
        return parts if len(parts) > 1 or text[0] == "[" else []
    parts = [part for part in re.split(r",\s+(?:and\s+)?|\s+and\s+", text) if part]
    return parts if len(parts) > 1 and all(_number(p) is not None for p in parts) else []


def _split(text: str) -> Iterator[str]:
    """Splits at commas outside brackets."""
    depth, start = 0, 0
    for at, char in enumerate(text):
        depth += (char in "[({") - (char in "])}")
        if char == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()
