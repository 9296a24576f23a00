"""One call of a tool, as text, by the style of the template.

Each function reads a call at `text[at:]` and gives it with the place behind it. It raises
`MoreNeededError` while the text may go on to be one, and `MalformedError` once it cannot be one.
`final`: nothing follows, so that a mark that ends a call may be missing.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from edgereason.prompt.tools import ANY_ID, Marks, Style, ToolFormat
from edgereason.records import ToolCall, Tools


class MoreNeededError(Exception):
    """It is not all there yet."""


class MalformedError(Exception):
    """It is no call."""


Read = tuple[list[ToolCall], int]


def skip_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _object(text: str, at: int, form: ToolFormat, tools: Tools, final: bool) -> Read:
    at = skip_blanks(text, at)
    value, end = _json(text, at)
    items = value if isinstance(value, list) else [value]
    calls = [_of_object(item, form, tools) for item in items]
    if not calls:
        raise MalformedError
    return calls, _closed(text, end, form.close, final)


def _of_object(item: Any, form: ToolFormat, tools: Tools) -> ToolCall:
    if isinstance(item, dict) and isinstance(item.get("function"), dict):
        item = item["function"]
    if not isinstance(item, dict):
        raise MalformedError
    arguments = item.get(form.arguments_key, item.get("arguments", item.get("parameters", {})))
    return _call(item.get(form.name_key), arguments, tools)


def _named(text: str, at: int, form: ToolFormat, tools: Tools, final: bool) -> Read:
    at = _expect(text, skip_blanks(text, at), form.before_name)
    name, at = _name(text, at, tools)
    if form.numbered:
        found = re.compile(r":\d+").match(text, at)
        if found is None:
            raise MoreNeededError if not text[at:].strip(":") else MalformedError
        if found.end() == len(text):
            raise MoreNeededError
        at = found.end()
    mark = re.sub(r"^:\d+", "", form.after_name) if form.numbered else form.after_name
    at = _after_name(text, skip_blanks(text, at), mark.strip())
    value, end = _json(text, skip_blanks(text, at))
    return [_call(name, value, tools)], _closed(text, end, form.close, final)


def _after_name(text: str, at: int, mark: str) -> int:
    """Behind `mark`, with whatever id the model has made up."""
    before, made_up, behind = mark.partition(ANY_ID)
    at = _expect(text, at, before)
    if not made_up:
        return at
    found = _ID.match(text, at)
    at = found.end() if found else at
    if at == len(text):
        raise MoreNeededError
    return _expect(text, at, behind)


_ID: Final = re.compile(r"[\w.:-]{0,80}")


def _tagged(text: str, at: int, form: ToolFormat, tools: Tools, final: bool) -> Read:
    assert form.marks is not None  # of this style
    name, at = _name(text, skip_blanks(text, at), tools)
    closed = _loose(form.close).search(text, at) if form.close.strip() else None
    if closed is None and not final:
        raise MoreNeededError
    block = text[at : closed.start() if closed else len(text)]
    types = _types(tools, name)
    found = re.compile(rf"\s*{_loose(form.after_name).pattern}\s*").match(block)
    if found is None:
        raise MalformedError
    arguments, rest = {}, block[found.end() :]
    item = _item(form.marks)
    while rest.strip():
        match = item.match(rest)
        if match is None:
            raise MalformedError
        key = match["key"].strip()
        if match["text"] is not None:
            arguments[key] = _value(match["text"], types.get(key), form.marks)
        else:
            quote = form.marks.text_open.removeprefix(form.marks.data_open)
            arguments[key] = _data(match["data"], quote)
        rest = rest[match.end() :]
    return [_call(name, arguments, tools)], closed.end() if closed else len(text)


def _item(marks: Marks) -> re.Pattern[str]:
    """One argument, with the comma before it."""
    comma, key = _loose(marks.comma).pattern, _loose(marks.key_open).pattern
    follows = rf"(?=\s*(?:{comma}\s*{key}\s*[\w.-]+|\Z))"
    opened = re.escape(marks.text_open.rstrip())
    texts = rf"{opened}{_blank(marks.text_open)}(?P<text>.*?)"
    closed = rf"{_blank(marks.text_close, before=True)}{_loose(marks.text_close).pattern}"
    data = (
        rf"{_loose(marks.data_open).pattern}\s*(?P<data>.*?)\s*{_loose(marks.data_close).pattern}"
    )
    ways = (
        f"(?:{texts}{closed}|{data})" if _differ(marks) else f"(?:{texts}{closed}|(?P<data>(?!)))"
    )
    return re.compile(rf"\s*(?:{comma})?\s*{key}\s*(?P<key>[^<>]+?)\s*{ways}{follows}", re.DOTALL)


def _differ(marks: Marks) -> bool:
    return marks.text_open != marks.data_open


def _blank(mark: str, *, before: bool = False) -> str:
    """The line break by which a mark is set off from a value, which is not part of it."""
    edge = mark[:1] if before else mark[-1:]
    return r"\n?" if edge == "\n" else ""


def _value(said: str, kind: Any, marks: Marks) -> Any:
    """A value as its schema has it; where both kinds are marked, it is a text."""
    kinds = kind if isinstance(kind, list) else [kind]
    if _differ(marks) or "string" in kinds:
        return said
    return _data(said)


def _data(said: str, quote: str = "") -> Any:
    """JSON, or as Python writes it; what is neither is text. `quote`: what stands around texts in
    it, where keys are bare.
    """
    for text in (said, _as_json(said, quote)):
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(said.strip())
    return said


def _as_json(said: str, quote: str) -> str:
    if not quote or quote not in said:
        return said
    pieces = said.split(quote)
    pieces[1::2] = [json.dumps(text) for text in pieces[1::2]]
    pieces[::2] = [re.sub(r"([{,]\s*)([\w.-]+)(\s*:)", r'\1"\2"\3', text) for text in pieces[::2]]
    return "".join(pieces)


def _types(tools: Tools, name: str) -> Mapping[str, Any]:
    function = next(each for each in tools.functions if each["name"] == name)
    schema = function.get("parameters")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return {}
    return {key: p.get("type") for key, p in properties.items() if isinstance(p, Mapping)}


def _python(text: str, at: int, form: ToolFormat, tools: Tools, final: bool) -> Read:
    begin = skip_blanks(text, at)
    name, at = _name(text, begin, tools)
    end = _balanced(text, _expect(text, skip_blanks(text, at), "(") - 1, "()[]{}", "'\"")
    try:
        call = ast.parse(text[begin:end], mode="eval").body
        assert isinstance(call, ast.Call)
        arguments = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise MalformedError from None
    if call.args or None in (each.arg for each in call.keywords):
        raise MalformedError
    return [_call(name, arguments, tools)], _closed(text, end, form.close, final)


def channel_message(text: str, tools: Tools, final: bool) -> tuple[ToolCall | None, int]:
    """A message of gpt-oss at the beginning of `text`: a call, or (None) only its header, behind
    which text follows.
    """
    header = _HEADER.match(text)
    if header is None:
        if "<|message|>" in text or len(text) > _LONGEST_HEADER:
            raise MalformedError
        raise MoreNeededError
    name = header["before"] or header["behind"]
    if name is None:
        return None, header.end()
    value, end = _json(text, skip_blanks(text, header.end()))
    return _call(name, value, tools), _closed(text, end, "<|call|>", final)


_LONGEST_HEADER: Final = 300
_HEADER: Final = re.compile(
    r"(?:<\|start\|>assistant)?\s*(?:to=functions\.(?P<before>[\w.-]+))?\s*<\|channel\|>\w+\s*"
    r"(?:to=functions\.(?P<behind>[\w.-]+))?\s*(?:<\|constrain\|>)?\w*\s*<\|message\|>"
)

# --- parts ----------------------------------------------------------------------------------------


def _call(name: Any, arguments: Any, tools: Tools) -> ToolCall:
    if isinstance(arguments, str):  # some models write JSON in JSON
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise MalformedError from None
    if name not in tools.names or not isinstance(arguments, dict) or not _is_unicode(arguments):
        raise MalformedError
    return ToolCall(name, arguments)


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _expect(text: str, at: int, mark: str) -> int:
    if text.startswith(mark, at):
        return at + len(mark)
    raise MoreNeededError if mark.startswith(text[at:]) else MalformedError


def _closed(text: str, at: int, close: str, final: bool) -> int:
    """Behind the mark that ends a call."""
    marks = close.split()
    for i, mark in enumerate(marks):
        place = skip_blanks(text, at)
        try:
            at = _expect(text, place, mark)
        except MoreNeededError:
            if final:
                return len(text)
            raise
        except MalformedError:
            if i == 0:
                raise
            return at  # the rest of it was left out
    return at


def _name(text: str, at: int, tools: Tools) -> tuple[str, int]:
    """A function's name. One may begin another: it is known where it ends."""
    rest = text[at:]
    if any(name.startswith(rest) for name in tools.names):
        raise MoreNeededError
    found = max((name for name in tools.names if rest.startswith(name)), key=len, default="")
    if not found or re.match(r"[\w-]", rest[len(found) :]):
        raise MalformedError
    return found, at + len(found)


def _json(text: str, at: int) -> tuple[Any, int]:
    """An object or a list of JSON."""
    if at == len(text):
        raise MoreNeededError
    if text[at] not in "{[":
        raise MalformedError
    end = _balanced(text, at, "[]{}", '"')
    try:
        return json.loads(text[at:end]), end
    except (ValueError, RecursionError):
        raise MalformedError from None


def _balanced(text: str, at: int, brackets: str, quotes: str) -> int:
    """Behind the bracket that ends what the one at `at` begins."""
    depth, quote = 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in quotes:
            quote = char
        elif char in brackets:
            depth += 1 if brackets.index(char) % 2 == 0 else -1
            if depth == 0:
                return at + 1
        at += 1
    raise MoreNeededError


def _loose(mark: str) -> re.Pattern[str]:
    """A mark whose blanks may be any, or none."""
    return re.compile(r"\s*".join(map(re.escape, mark.split())))


ELEMENTS: Final[Mapping[Style, Callable[[str, int, ToolFormat, Tools, bool], Read]]] = {
    Style.OBJECT: _object,
    Style.NAMED: _named,
    Style.TAGGED: _tagged,
    Style.PYTHON: _python,
    Style.CHANNEL: _object,  # its messages are read by `channel_message`
}
