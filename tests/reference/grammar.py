"""Slow twin of a grammar whose texts can all be listed: masks and endings by looking at each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Values = Mapping[str, Sequence[Any]]
"""Keys, and the values that each may have."""


def schema_of(values: Values, optional: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"enum": list(options)} for key, options in values.items()},
        "required": [key for key in values if key not in optional],
        "additionalProperties": False,
    }


def texts_of(values: Values, optional: Sequence[str] = ()) -> list[str]:
    """All texts of that schema, as they are laid out."""
    return [json.dumps(each, ensure_ascii=False) for each in _objects(values, optional)]


def _objects(values: Values, optional: Sequence[str]) -> Iterator[dict[str, Any]]:
    missing = [[True, False] if key in optional else [False] for key in values]
    for left_out in itertools.product(*missing):
        keys = [key for key, out in zip(values, left_out, strict=True) if not out]
        for chosen in itertools.product(*(values[key] for key in keys)):
            yield dict(zip(keys, chosen, strict=True))


def allowed(
    texts: Sequence[str], so_far: bytes, pieces: Sequence[bytes], ends: Sequence[bool]
) -> set[int]:
    """The tokens behind which one of the texts can still follow; ends where one is complete."""
    encoded = [text.encode() for text in texts]
    found = set()
    for token, (piece, is_end) in enumerate(zip(pieces, ends, strict=True)):
        if is_end:
            fits = so_far in encoded
        else:
            fits = bool(piece) and any(text.startswith(so_far + piece) for text in encoded)
        if fits:
            found.add(token)
    return found
