"""A JSON list that gives each vertex a colour, no edge of `extra.edges` twice the same."""

from __future__ import annotations

import json
import re

from ..tasks.base import Item

_LIST = re.compile(r"\[[\s\d,]*\]")


def check(item: Item, text: str) -> bool:
    """The last list of the text counts."""
    lists = _LIST.findall(text)
    try:
        colours = json.loads(lists[-1]) if lists else []
    except ValueError:
        return False
    extra = item.extra
    return (
        len(colours) == extra["vertices"]
        and all(0 <= colour < extra["colours"] for colour in colours)
        and all(colours[a] != colours[b] for a, b in extra["edges"])
    )
