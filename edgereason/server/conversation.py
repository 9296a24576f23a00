"""Messages of a client as messages of ours: the forms that dialects share.

Contents are texts, or lists of text parts. What was thought before comes back under several names.
Images and sounds are refused by name: to leave them out would change the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from edgereason.records import Message
from edgereason.server.errors import ApiError
from edgereason.server.fields import bad, disagree, text, unsupported
from edgereason.server.tools import paired, read_calls

_ROLES: Final = {"system": "system", "developer": "system", "user": "user"}
_RESULTS: Final = ("tool", "function")
_KNOWN: Final = (*_ROLES, "assistant", *_RESULTS)
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")
_MOST: Final = 10_000

TextOf = Callable[[Any, str], str]


def read_messages(
    value: Any, name: str = "messages", *, part_types: Sequence[str] = ("text",)
) -> tuple[Message, ...]:
    """A list of `{role, content}`. The last one may be an answer that was begun: see `apart`."""
    if not isinstance(value, list) or not value:
        raise bad(name, "a list with at least one message", value)
    if len(value) > _MOST:
        raise bad(name, f"at most {_MOST} messages", f"{len(value)} messages")
    turns = tuple(_message(item, f"{name}[{i}]", part_types) for i, item in enumerate(value))
    last = turns[-1]
    begun = last.role == "assistant" and last.content.strip() and not last.calls
    if last.role not in ("user", "tool") and not begun:
        raise ApiError(
            400,
            f"the last of {name} must be the user's, a tool's, or a text that the assistant has "
            f"begun, got one of the {last.role}",
            param=f"{name}[{len(turns) - 1}].role",
            code="unsupported_parameter",
        )
    if begun and len(turns) > 1 and turns[-2].role == "assistant":
        raise bad(
            f"{name}[{len(turns) - 1}].role",
            "user or tool behind one of the assistant",
            "assistant",
        )
    return paired(turns)


def apart(turns: tuple[Message, ...]) -> tuple[tuple[Message, ...], str]:
    """A conversation, and the beginning of the answer where it ends with that."""
    if turns[-1].role == "assistant":
        return turns[:-1], turns[-1].content
    return turns, ""


def _message(item: Any, where: str, part_types: Sequence[str]) -> Message:
    if not isinstance(item, dict):
        raise bad(where, "an object with role and content", item)
    role = item.get("role")
    for key in ("function_call", "images", "audio"):
        if item.get(key):
            raise unsupported(f"{where}.{key}", item[key], "this server has texts only")
    if role == "assistant":
        content = read_content(item.get("content") or "", f"{where}.content", part_types)
        calls = read_calls(item.get("tool_calls") or [], f"{where}.tool_calls")
        return Message("assistant", content, _thoughts(item, where), calls)
    if role in _RESULTS:
        id = text(item.get("tool_call_id") or "", f"{where}.tool_call_id")
        content = read_content(item.get("content") or "", f"{where}.content", part_types)
        return Message("tool", content, call_id=id)
    if not isinstance(role, str) or role not in _ROLES:
        raise bad(f"{where}.role", f"one of {', '.join(_KNOWN)}", role)
    return Message(_ROLES[role], read_content(item.get("content"), f"{where}.content", part_types))


def _thoughts(item: dict[str, Any], where: str) -> str | None:
    found: tuple[str, str] | None = None
    for key in _THOUGHTS:
        if item.get(key) is None:
            continue
        value = text(item[key], f"{where}.{key}")
        if found is not None and found[1] != value:
            raise disagree(f"{where}.{found[0]}", found[1], f"{where}.{key}", value)
        found = (key, value)
    return found[1] if found else None


def read_content(value: Any, name: str, part_types: Sequence[str] = ("text",)) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(value, str):
        return text(value, name)
    if not isinstance(value, list):
        raise bad(name, "a text or a list of parts", value)
    return "".join(_part(part, f"{name}[{i}]", part_types) for i, part in enumerate(value))


def _part(part: Any, where: str, part_types: Sequence[str]) -> str:
    if not isinstance(part, dict):
        raise bad(where, "an object", part)
    kind = part.get("type")
    if kind not in part_types:
        raise unsupported(f"{where}.type", kind, f"parts are of type {' or '.join(part_types)}")
    return text(part.get("text"), f"{where}.text")
