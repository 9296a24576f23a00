"""What tests of the server ask, and how they read streams."""

from __future__ import annotations

import json
from typing import Any, Final

QUESTION: Final = "What is 17 * 3?"
TURNS: Final = [{"role": "user", "content": QUESTION}]
THOUGHT: Final = (
    "Three times ten is thirty, and three times seven is twenty one. "
    "Thirty plus twenty one makes fifty one."
)


def asked(**more: Any) -> dict[str, Any]:
    """A body of chat for the scripted model."""
    return {"model": "scripted", "messages": TURNS, **more}


def events(text: str) -> list[Any]:
    """The payloads of an event stream; its framing is checked on the way."""
    assert text.endswith("\n\n")
    found = []
    for frame in text.removesuffix("\n\n").split("\n\n"):
        lines = frame.split("\n")
        if lines[0].startswith(":"):
            continue
        assert lines[-1].startswith("data: "), frame
        data = lines[-1].removeprefix("data: ")
        found.append(data if data == "[DONE]" else json.loads(data))
    return found
