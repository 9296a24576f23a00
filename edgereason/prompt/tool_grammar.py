"""What a call that is asked for must look like, as a grammar: the name of a function that there is,
and arguments that fit its schema.

    opening_of(form, tools)               # put into the model's mouth: '<tool_call>\n{"name": "'
    call_grammar(form, tools, control)    # what follows: 'clock", "arguments": {...}}'

Only where the template writes arguments as JSON. What a schema says and a grammar cannot is left
out, as llguidance's `lenient` has it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from edgereason.grammars import Grammar
from edgereason.prompt.tools import Style, ToolFormat
from edgereason.records import Tools

_OF_JSON: Final = (Style.OBJECT, Style.NAMED, Style.CHANNEL)


def call_grammar(
    form: ToolFormat | None, tools: Tools | None, control: Sequence[str]
) -> Grammar | None:
    """What stands behind `opening_of`; None where that is nothing, or arguments are no JSON.
    `control`: texts that a grammar cannot spell, since they are tokens of their own.
    """
    if form is None or tools is None or form.style not in _OF_JSON or not tools.asked:
        return None
    names = [tools.name] if tools.name else list(tools.names)
    after, tail = form.behind_name, _literal(_tail(form))
    rules = [f"args{i}: %json {_arguments(tools, name)}" for i, name in enumerate(names)]
    calls = (f"{_literal(name + after)} args{i} {tail}" for i, name in enumerate(names))
    rules.append(f"call: {' | '.join(calls)}")
    first = "call"
    if len(names) == 1:  # the opening holds its name, and what follows that up to a blank
        first = f"{_literal(after[len(after.rstrip()) :])} args0 {tail}"
    return Grammar.lark("\n".join((*rules, f"start: {first} {_rest(form, tools, control)}")))


def _rest(form: ToolFormat, tools: Tools, control: Sequence[str]) -> str:
    """Further calls, and the marks that end one and all of them."""
    again = form.close + form.between + form.open + form.before_name
    close, ends = form.close.rstrip(), form.section_end.rstrip()
    if form.style is Style.CHANNEL or any(mark in again + ends for mark in control if mark):
        return ""
    more = f"({_literal(again)} call)*" if again and tools.parallel and not tools.name else ""
    last = f"({_literal(ends)})?" if ends else ""
    return f"{more} ({_literal(close)} {last})?" if close else f"{more} {last}"


def _literal(text: str) -> str:
    return json.dumps(text) if text else ""


def _tail(form: ToolFormat) -> str:
    """What closes the object around the arguments."""
    if form.style is not Style.OBJECT:
        return ""
    before = form.before_name + form.after_name
    return "}" * (before.count("{") - before.count("}"))


def _arguments(tools: Tools, name: str) -> str:
    function = next(each for each in tools.functions if each["name"] == name)
    schema: Any = function.get("parameters") or {}
    return Grammar.json({**schema, "type": "object", "x-guidance": {"lenient": True}}).text
