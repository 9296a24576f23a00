"""Grammars of calls that are asked for: what they allow is read back as a call that fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.prompt.tool_detection import tool_format
from edgereason.prompt.tool_grammar import call_grammar
from edgereason.prompt.tool_reader import CallReader
from edgereason.prompt.tools import Style, ToolFormat, opening_of
from edgereason.records import ToolCall, Tools
from edgereason.runtime.grammars import Grammars
from support.scripted_tools import CLOCK, WEATHER
from support.tool_templates import HERMES

pytest.importorskip("llguidance")

BOTH: Final = (WEATHER, CLOCK)
NAMED: Final = ToolFormat(Style.NAMED, open="<function=", after_name=">", close="</function>")


@pytest.fixture(scope="module")
def grammars() -> Iterator[Any]:
    from edgereason import _core

    engine = _core.LlamaEngine(model_file(open_bundle(resolve("nano"))), context=64, max_seqs=1)
    return Grammars(engine)


def allowed(grammars: Any, form: ToolFormat, tools: Tools, text: str) -> bool:
    """Whether the grammar takes all of `text`, and may end behind it."""
    from edgereason import _core

    grammar = call_grammar(form, tools, ())
    assert grammar is not None
    guide = _core.Guide(grammars.get(grammar).core, 10_000)
    for token in grammars._engine.tokenize(text, parse_control=False):
        guide.prepare()
        if not guide.accept(token, 10_000):
            return False
    return not guide.ending


def read(form: ToolFormat, tools: Tools, text: str) -> list[Any]:
    reader = CallReader(form, tools, opening=opening_of(form, tools))
    return [*reader.feed(text), *reader.finish()]


@pytest.mark.parametrize("form", [tool_format(HERMES), NAMED], ids=["object", "named"])
@pytest.mark.parametrize("name", ["weather", ""])
def test_arguments_fit_the_schema_and_the_name_is_known(
    grammars: Any, form: ToolFormat, name: str
) -> None:
    tools = Tools(BOTH, required=True, name=name)
    lead = (
        form.behind_name[len(form.behind_name.rstrip()) :] if name else f"weather{form.behind_name}"
    )
    tail = "}" if form.style is Style.OBJECT else ""
    good = lead + '{"city": "Oslo"}' + tail
    assert allowed(grammars, form, tools, good)
    assert allowed(grammars, form, tools, good + form.close.rstrip())
    (call,) = read(form, tools, good)
    assert (call.name, call.arguments) == ("weather", {"city": "Oslo"})
    for wrong in ('{"city": 5}', "{}", '{"city": "Oslo", "days": "two"}'):
        assert not allowed(grammars, form, tools, lead + wrong + tail)
    if not name:
        nobody = good.replace("weather", "nobody")
        assert not allowed(grammars, form, tools, nobody)


def test_several_calls_where_they_may_be_several(grammars: Any) -> None:
    form = tool_format(HERMES)
    two = (
        'weather", "arguments": {"city": "Oslo"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
    )
    assert allowed(grammars, form, Tools(BOTH, required=True), two)
    assert not allowed(grammars, form, Tools(BOTH, required=True, parallel=False), two)
    calls = read(form, Tools(BOTH, required=True), two)
    assert [call.name for call in calls if isinstance(call, ToolCall)] == ["weather", "clock"]


def test_no_grammar_where_nothing_is_asked_for_or_nothing_can_be_held(grammars: Any) -> None:
    tools = Tools(BOTH, required=True)
    assert call_grammar(tool_format(HERMES), Tools(BOTH), ()) is None
    assert call_grammar(None, tools, ()) is None
    assert call_grammar(ToolFormat(Style.PYTHON, after_name="("), tools, ()) is None


def test_what_a_grammar_cannot_say_of_a_schema_is_left_out(grammars: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "not": {"const": 3}}}}
    tools = Tools(({"name": "f", "description": "", "parameters": schema},), required=True)
    assert allowed(grammars, tool_format(HERMES), tools, ' {"n": 3}}')
    assert json.loads(json.dumps(schema)) == schema
