"""Small damage to files, the same for the same random numbers: bytes, and JSON node by node."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

NUMBERS: Final = (
    0,
    1,
    2,
    7,
    31,
    127,
    255,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 0.0, 1e308, 1e-308, -0.5),
    *(
        "",
        "a",
        "0",
        "\x00",
        "\x1b[2J",
        "\U0001f600",
        "../../x",
        "/etc/passwd",
        "{{ 7 * 7 }}",
        "9" * 400,
    ),
    *([], {}, [[]], [None], {"": {}}, [1, "a", None], [[1, 2], [3]], "x" * 70_000),
)


def bytes_of(raw: bytes, draw: random.Random, most: int = 0) -> bytes:
    """Damages a few places; `most`: only among the first so many bytes."""
    data = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        end = min(len(data), most or len(data))
        at = draw.randrange(end) if end else 0
        draw.choice(_BYTE_WAYS)(data, at, draw)
    return bytes(data)


def _flip(data: bytearray, at: int, draw: random.Random) -> None:
    data[at : at + 1] = bytes([(data[at] if at < len(data) else 0) ^ (1 << draw.randrange(8))])


def _put(data: bytearray, at: int, draw: random.Random) -> None:
    data[at : at + 1] = bytes([draw.randrange(256)])


def _number(data: bytearray, at: int, draw: random.Random) -> None:
    kind = draw.choice("BHIQ")
    width = struct.calcsize("<" + kind)
    value = draw.choice(NUMBERS) % (1 << 8 * width)
    data[at : at + width] = struct.pack("<" + kind, value)[: len(data) - at]


def _cut(data: bytearray, at: int, draw: random.Random) -> None:
    del data[at:]


def _remove(data: bytearray, at: int, draw: random.Random) -> None:
    del data[at : at + draw.choice((1, 4, 8, 64))]


def _repeat(data: bytearray, at: int, draw: random.Random) -> None:
    part = data[at : at + draw.choice((1, 4, 8, 64))]
    data[at:at] = part * draw.choice((1, 2, 16))


_BYTE_WAYS: Final[tuple[Callable[[bytearray, int, random.Random], None], ...]] = (
    *(_flip, _flip, _put, _put, _number, _number, _number, _cut, _remove, _repeat),
)


# What templates are made of, and what makes them large or slow.
_PIECES: Final = (
    *("{{ ", " }}", "{% ", " %}", "{%- endif %}", "{%- endfor %}", "{#", "'", "(", ")", "[", "-1]"),
    *("messages", "message.content", "loop.index0", "add_generation_prompt", "tools", "bos_token"),
    *(" | tojson", " | trim", " | indent(99)", " | replace('a', 'aaaa')", " | batch(3) | list"),
    *(" * 1000000", " ~ ", " ** 99", "range(1000000)", "'x'.center(9**9)", ".expandtabs(9999)"),
    *("{% for i in range(9999) %}", "{% set x = messages %}", "{% macro f(x) %}", "{{ f(f) }}"),
    *(
        ".__class__",
        "|attr('__init__')",
        "namespace(a=1)",
        "raise_exception('no')",
        "self",
        "cycler",
    ),
)


def template_of(raw: bytes, draw: random.Random) -> bytes:
    """Damages a few bytes, or puts in pieces of templates, some in the place of others."""
    if draw.random() < 0.3:
        return bytes_of(raw, draw)
    text = raw.decode(errors="replace")
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(text) + 1)
        gone = draw.choice((0, 0, 0, 1, 5, 40))
        other = draw.randrange(len(text) + 1)
        piece = draw.choice((*_PIECES, text[other : other + 40]))
        text = text[:at] + piece + text[at + gone :]
    return text.encode()


def json_of(raw: bytes, draw: random.Random) -> bytes:
    """Puts other values in place of some, or takes them out; now and then damages the text."""
    if draw.random() < 0.15:
        return bytes_of(raw, draw)
    data = json.loads(raw)
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            break
        where, key = draw.choice(places)
        way = draw.random()
        if way < 0.15:
            del where[key]
        elif way < 0.3:  # a value from somewhere else in the file
            other, its = draw.choice(places)
            where[key] = json.loads(json.dumps(other[its])) if _has(other, its) else None
        else:
            where[key] = deepcopy(draw.choice(VALUES))  # else the next change is made in VALUES
    text = json.dumps(data)
    if draw.random() < 0.05:
        text = text.replace('"a"', '"\\ud800"', 1)
    return text.encode()


def _has(where: Any, key: Any) -> bool:
    return key in where if isinstance(where, dict) else key < len(where)


def _places(data: Any) -> Any:
    """Every container with each of its keys. Of long ones (vocabularies) a few are enough."""
    if isinstance(data, (dict, list)):
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        for key in keys[:24]:
            yield data, key
            yield from _places(data[key])
