"""Tables of fields: a field of a dialect is declared once, with what it means and what it may be.

    TABLE = {
        "max_tokens": Means("max_tokens", whole(1)),
        "max_completion_tokens": Means("max_tokens", whole(1)),   # two names, one meaning
        "user": HARMLESS,                                         # taken, and listed as ignored
        "logprobs": Only((False,), "log-probabilities are not given"),
        "thinking": {"budget_tokens": Means("think_tokens", whole(-1))},
    }
    given = read(body, TABLE)
    given.get("max_tokens")

Two names of one meaning that disagree are an error that names both. A null counts as not given.
Knows no dialect and no model.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgereason.server.errors import ApiError

Check = Callable[[Any, str], Any]
"""From a value, and the name of its field for messages, to what it means."""


@dataclass(frozen=True, slots=True)
class Means:
    """A field that is honoured. `to`: what it means, or how its value decides that."""

    to: str | Callable[[Any], str]
    check: Check


@dataclass(frozen=True, slots=True)
class Harmless:
    """A field that changes nothing here. The answer lists it."""


@dataclass(frozen=True, slots=True)
class Only:
    """A field that would change the output. Values that ask for what is done anyway are taken."""

    values: tuple[Any, ...]
    why: str


HARMLESS: Final = Harmless()

OTHERS: Final = "*"
"""In a table: all names that it does not have."""

Entry = Means | Harmless | Only
Table = Mapping[str, "Entry | Mapping[str, Any]"]


@dataclass(slots=True)
class Given:
    """What a request says: meaning -> (name of the field, value)."""

    body: Mapping[str, Any] = field(default_factory=dict)  # as it was sent
    values: dict[str, tuple[str, Any]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def get(self, meaning: str, default: Any = None) -> Any:
        return self.values[meaning][1] if meaning in self.values else default

    def name(self, meaning: str) -> str:
        return self.values[meaning][0] if meaning in self.values else meaning

    def put(self, meaning: str, name: str, value: Any) -> None:
        other, known = self.values.get(meaning, (name, value))
        if known != value:
            raise disagree(other, known, name, value)
        self.values[meaning] = (name, value)


def disagree(name: str, value: Any, other: str, another: Any) -> ApiError:
    return ApiError(
        400,
        f"{name} says {shown(value)} and {other} says {shown(another)} (send one of them)",
        param=f"{name}, {other}",
        code="conflicting_parameters",
    )


def shown(value: Any) -> str:
    """A value in a message: short, whatever was sent."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def read(body: Any, table: Table, *, reject_unknown: bool = False) -> Given:
    """What the body of a request means. Unknown names are listed as ignored, or refused."""
    if not isinstance(body, dict):
        raise ApiError(400, f"the body must be a JSON object, got {shown(body)}")
    if isinstance(body.get("extra_body"), dict):
        raise ApiError(
            400,
            "extra_body is an argument of the openai package, not a field "
            "(put its fields into the body itself)",
            param="extra_body",
            code="unknown_parameter",
        )
    given = Given(body)
    _read(body, table, "", given, reject_unknown)
    return given


def _read(
    body: Mapping[str, Any], table: Table, where: str, given: Given, reject_unknown: bool
) -> None:
    for key, value in body.items():
        name, entry = where + key, table.get(key, table.get(OTHERS))
        if value is None:
            continue
        if entry is None:
            _unknown(name, key, table, given, reject_unknown)
        elif isinstance(entry, Means):
            checked = entry.check(value, name)
            meaning = entry.to if isinstance(entry.to, str) else entry.to(checked)
            given.put(meaning, name, checked)
        elif isinstance(entry, Harmless):
            given.ignored.append(name)
        elif isinstance(entry, Only):
            if not any(value == one and type(value) is type(one) for one in entry.values):
                raise unsupported(name, value, entry.why)
        elif isinstance(value, dict):
            _read(value, entry, f"{name}.", given, reject_unknown)
        else:
            raise bad(name, "an object", value)


def _unknown(name: str, key: str, table: Table, given: Given, reject: bool) -> None:
    """A name that is nearly one of ours is a slip of the pen, and would change the output."""
    near = difflib.get_close_matches(key, table, n=1, cutoff=0.85)
    if reject or near:
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ApiError(
            400, f"unknown field {shown(name)}{hint}", param=name[:80], code="unknown_parameter"
        )
    given.ignored.append(name[:80])


def unsupported(name: str, value: Any, why: str) -> ApiError:
    return ApiError(
        400,
        f"{name}={shown(value)} is not supported: {why}",
        param=name,
        code="unsupported_parameter",
    )


def bad(name: str, what: str, value: Any) -> ApiError:
    return ApiError(
        400, f"{name} must be {what}, got {shown(value)}", param=name, code="invalid_value"
    )


# --- checks ---------------------------------------------------------------------------------------


def whole(least: int, most: int = 2**31 - 1) -> Check:
    def check(value: Any, name: str) -> int:
        if type(value) is not int or not least <= value <= most:
            raise bad(name, f"a whole number from {least} to {most}", value)
        return value

    return check


def number(least: float, most: float = math.inf) -> Check:
    def check(value: Any, name: str) -> float:
        wrong = isinstance(value, bool) or not isinstance(value, (int, float))
        if wrong or not math.isfinite(value) or not least <= value <= most:
            limits = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
            raise bad(name, f"a number, {limits}", value)
        return float(value)

    return check


def boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise bad(name, "true or false", value)
    return value


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise bad(name, "text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ApiError(400, f"{name} holds half of a character", param=name) from None
    return value


def one_of(*names: str) -> Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in names:
            raise bad(name, f"one of {', '.join(names)}", value)
        return value

    return check


def texts(value: Any, name: str) -> tuple[str, ...]:
    """One text, or a list of them, such as stop texts. None may be empty."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(one, str) and one for one in items):
        raise bad(name, "a text that is not empty, or a list of them", value)
    if len(items) > 64:
        raise bad(name, "at most 64 texts", f"{len(items)} texts")
    return tuple(text(one, name) for one in items)


def table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad(name, "an object", value)
    return value


def without(entries: Table, names: Iterable[str]) -> dict[str, Any]:
    """A table for a dialect that lacks, or reads otherwise, some of the names."""
    left_out = set(names)
    return {name: entry for name, entry in entries.items() if name not in left_out}
