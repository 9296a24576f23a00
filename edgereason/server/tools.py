"""Tools as clients send them, and calls as they are told: what the dialects share.

    given.get("tools")                     # as the dialect has them
    tools_of(given)                        # records.Tools, or None where none may be called
    arguments_text(call)                   # '{"city": "Rome"}'

Tools that are no functions (a provider's web search) cannot be called here: they are left out, and
listed as ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edgereason.records import Message, ToolCall, Tools
from edgereason.server.errors import ApiError
from edgereason.server.fields import Given, bad, shown, text, unsupported

_MODES: Final = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
_MOST: Final = 512


def list_of_tools(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise bad(name, "a list of objects", value)
    if len(value) > _MOST:
        raise bad(name, f"at most {_MOST} tools", f"{len(value)} tools")
    return value


def tool_choice(value: Any, name: str) -> tuple[str, str]:
    """How tools are chosen, and the name of the one that must be called."""
    if isinstance(value, str) and value in _MODES:
        return _MODES[value], ""
    if isinstance(value, dict):
        kind, inner = value.get("type"), value.get("function", value)
        chosen = inner.get("name") if isinstance(inner, dict) else None
        if kind in ("function", "tool") and isinstance(chosen, str):
            return "required", text(chosen, f"{name}.name")
        if kind in _MODES:
            return _MODES[kind], ""
    raise unsupported(name, value, "auto, none, required, or the name of one function")


def tools_of(given: Given) -> Tools | None:
    """What may be called. Notes what is left out."""
    mode, name = given.get("tool_choice", ("auto", ""))
    items = given.get("tools") or ()
    where = given.name("tools")
    functions = [] if mode == "none" else list(_functions(items, where, given))
    if mode == "none" and items:
        given.ignored.append(where)
    if not functions:
        if mode == "required":
            raise ApiError(
                400,
                f"{given.name('tool_choice')} asks for a call, and {where} has no function",
                param=given.name("tool_choice"),
            )
        return None
    names = [function["name"] for function in functions]
    if name and name not in names:
        raise ApiError(
            400,
            f"{given.name('tool_choice')} names {shown(name)}, which is none of {where}: "
            f"{', '.join(names)}",
            param=given.name("tool_choice"),
        )
    if len(set(names)) < len(names):
        raise ApiError(400, f"two functions of {where} have one name", param=where)
    parallel = given.get("parallel_calls", not given.get("one_call", False))
    return Tools(tuple(functions), required=mode == "required", name=name, parallel=parallel)


def _functions(
    items: Sequence[Mapping[str, Any]], where: str, given: Given
) -> Iterator[dict[str, Any]]:
    for i, item in enumerate(items):
        kind = item.get("type", "function")
        if kind == "namespace" and isinstance(item.get("tools"), list):
            yield from _functions(item["tools"], f"{where}[{i}].tools", given)
        elif kind not in ("function", "custom") or "format" in item:
            given.ignored.append(f"{where}[{i}] ({shown(kind)})")
        else:
            yield _function(item, f"{where}[{i}]")


def _function(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    inner = item.get("function", item)
    if not isinstance(inner, Mapping):
        raise bad(f"{where}.function", "an object", inner)
    name = inner.get("name")
    if not isinstance(name, str) or not name or len(name) > 128 or not _is_plain(name):
        raise bad(f"{where}.name", "letters, digits, _, - and ., at most 128 of them", name)
    schema = inner.get("parameters") or inner.get("input_schema") or {"type": "object"}
    if not isinstance(schema, dict):
        raise bad(f"{where}.parameters", "a JSON schema", schema)
    description = text(inner.get("description") or "", f"{where}.description")
    return {"name": name, "description": description, "parameters": schema}


def _is_plain(name: str) -> bool:
    return all(char.isalnum() or char in "_-." for char in name)


# --- calls that were made -------------------------------------------------------------------------


def read_calls(value: Any, where: str) -> tuple[ToolCall, ...]:
    """Calls in an assistant's message. Arguments are JSON text, or an object."""
    if not isinstance(value, list):
        raise bad(where, "a list of calls", value)
    return tuple(read_call(item, f"{where}[{i}]", i) for i, item in enumerate(value))


def read_call(item: Any, where: str, index: int = 0) -> ToolCall:
    inner = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise bad(where, "a call with the name of a function", item)
    id = item.get("call_id") or item.get("id") or f"call_{index}"
    arguments = inner.get("arguments", inner.get("input"))
    return ToolCall(
        text(inner["name"], f"{where}.name"), _arguments(arguments, where), text(id, f"{where}.id")
    )


def _arguments(value: Any, where: str) -> dict[str, Any]:
    """A call that was cut off comes back like that in every later turn: its text is kept."""
    if isinstance(value, dict):
        return value
    if value is None or value == "":
        return {}
    said = text(value, f"{where}.arguments")
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"arguments": said}


def paired(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Results that do not say which call they answer get the first that has no result yet."""
    made: list[Message] = []
    open_ids: list[str] = []
    for turn in turns:
        if turn.calls:
            open_ids = [call.id for call in turn.calls]
        if turn.role == "tool":
            id = turn.call_id or (open_ids[0] if open_ids else "")
            open_ids = [each for each in open_ids if each != id]
            made.append(replace(turn, call_id=id))
        else:
            made.append(turn)
    return tuple(made)


def arguments_text(call: ToolCall) -> str:
    return json.dumps(dict(call.arguments), ensure_ascii=False)
