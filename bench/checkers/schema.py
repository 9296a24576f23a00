"""One JSON value that is valid under `extra.schema`, formats such as dates included."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from edgereason.errors import UnsupportedError

from ..tasks.base import Item

_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


def ready() -> None:
    _package()


def check(item: Item, text: str) -> bool:
    """The whole text, or its only fenced block, is the value."""
    jsonschema = _package()
    blocks = _FENCE.findall(text)
    try:
        value = json.loads(blocks[0] if len(blocks) == 1 else text)
    except (ValueError, RecursionError):
        return False
    schema = item.extra["schema"]
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        valid: bool = kind(schema, format_checker=kind.FORMAT_CHECKER).is_valid(value)
    except RecursionError:
        return False
    return valid


def _package() -> Any:
    try:
        import jsonschema
    except ImportError:
        raise UnsupportedError(
            "tasks with JSON schemas need jsonschema, which is not installed",
            "pip install 'edgereason[bench]'",
        ) from None
    return jsonschema
