"""How a chat template writes calls of tools, as plain data: what stands around them, and where the
name and the arguments are.

    found = tool_format(template)              # by rendering some: `tool_detection.py`
    found.opening("get_weather")    # '<tool_call>\\n{"name": "get_weather", "arguments":'
    for piece in CallReader(found, tools).feed(text): ...   # texts and calls: `tool_reader.py`

Knows no engine and no dialect of a server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from edgereason.records import Message, ToolCall, Tools


class Style(Enum):
    OBJECT = "one JSON object with name and arguments"
    NAMED = "the name, then a JSON object of arguments"
    TAGGED = "the name, then each argument between marks"
    PYTHON = "a call as Python writes it"
    CHANNEL = "a message in a channel of its own, to the function"  # gpt-oss


ANY_ID: Final = "\0"


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands around the arguments of `Style.TAGGED`: `key_open` KEY `text_open` VALUE
    `text_close` of a text, `data_open` VALUE `data_close` of anything else, `comma` between two.
    """

    key_open: str
    text_open: str
    text_close: str
    data_open: str
    data_close: str
    comma: str


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """All texts are as the template writes them.

    Attributes:
        section, section_end: before the first call and after the last.
        open, close: around each call.
        between: between two.
        before_name, after_name: around the name, inside a call; arguments follow. `ANY_ID` stands
            for an id that the model makes up.
        name_key, arguments_key: of `Style.OBJECT`.
        marks: of `Style.TAGGED`.
        numbered: digits in `after_name` count the calls, and may be others.
        as_text: the template takes arguments as JSON text instead of an object.
        id_form: how it wants ids, `{name}`, `{index}` and `{short}` filled in; "": as they are.
        no_content: an answer that only calls has no content, not an empty one.
        told: it knows no tools: they are told in the system message.
        found: how this is known.
    """

    style: Style
    section: str = ""
    section_end: str = ""
    open: str = ""
    close: str = ""
    between: str = ""
    before_name: str = ""
    after_name: str = ""
    name_key: str = "name"
    arguments_key: str = "arguments"
    marks: Marks | None = None
    numbered: bool = False
    as_text: bool = False
    id_form: str = ""
    no_content: bool = False
    told: bool = False
    found: str = ""

    @property
    def begins(self) -> tuple[str, ...]:
        """Texts by which a call begins; none where it begins the answer and nothing marks it."""
        if self.style is Style.CHANNEL:
            return _CHANNEL_MARKS
        section = self.section.rstrip()
        texts = (section[:-1].strip() if self.is_list else section.strip(), self.open.strip())
        return tuple(dict.fromkeys(text for text in texts if text))

    @property
    def is_list(self) -> bool:
        """The calls stand in one pair of brackets, parted by commas."""
        brackets = (self.section.rstrip()[-1:], self.section_end.lstrip()[:1])
        return not self.open and brackets == ("[", "]")

    def begins_in(self, text: str) -> bool:
        return any(text.startswith(mark) for mark in self.begins)

    def begins_at(self, text: str, at: int) -> tuple[str, str]:
        """The section mark that stands at `at`, "" where none does, and the mark of a call that is
        to follow it.
        """
        opened = self.open.strip()
        section = next((mark for mark in self.begins if mark != opened), "")
        return (section if text.startswith(section, at) else ""), opened

    @property
    def shuts(self) -> tuple[str, ...]:
        """Those of them that end a thought in which they are written."""
        return tuple(text for text in self.begins if len(text) > 2)[:1] if self.marked else ()

    @property
    def marked(self) -> bool:
        return self.style is not Style.CHANNEL and bool(self.begins)

    def opening(self, name: str = "") -> str:
        """What a call begins with, up to its arguments; without a name, up to the name."""
        before = f"{self.section}{self.open}{self.before_name}"
        text = f"{before}{name}{self.behind_name}" if name else before
        return text.strip()

    @property
    def behind_name(self) -> str:
        """Between a name and its arguments, with an id made up."""
        return self.after_name.replace(ANY_ID, "000000001")

    def answer_lead(self, answer: str) -> str:
        """What is forced before an answer that may be a call, where `answer` is without tools."""
        return _CHANNEL_LEAD if self.style is Style.CHANNEL and answer else answer


_CHANNEL_LEAD: Final = "<|start|>assistant"
_CHANNEL_MARKS: Final = ("<|start|>assistant", "<|channel|>", "to=functions.")

CHANNELS: Final = ToolFormat(
    Style.CHANNEL,
    open="<|channel|>commentary to=functions.",
    after_name=" <|constrain|>json<|message|>",
    close="<|call|>",
    found="OpenAI's description of the harmony format",
)
"""gpt-oss; its template writes the header otherwise than the model does."""

TOLD: Final = ToolFormat(
    Style.OBJECT,
    open="<tool_call>\n",
    close="\n</tool_call>",
    between="\n",
    before_name='{"name": "',
    after_name='", "arguments": ',
    told=True,
    found="the template knows no tools: they are told in the system message",
)
"""As Hermes and Qwen write it, for templates that know no tools."""

_TOLD: Final = """\
# Tools

You may call one or more functions to answer. They are, one a line:
{functions}

To call one, write its name and its arguments as one JSON object between these tags, and nothing \
after it:
<tool_call>
{{"name": <name>, "arguments": <object>}}
</tool_call>
What it comes to is told between <tool_response> and </tool_response>."""


def told_messages(
    messages: Sequence[Message], functions: Sequence[Mapping[str, Any]]
) -> tuple[Message, ...]:
    """A conversation with tools as one of plain texts, for a template that knows none."""
    turns = [_plain(message) for message in messages]
    merged: list[Message] = []
    for turn in turns:
        if merged and turn.role == merged[-1].role == "user":
            text = f"{merged[-1].content}\n{turn.content}"
            merged[-1] = replace(merged[-1], content=text)
        else:
            merged.append(turn)
    if functions:
        lines = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
        told = _TOLD.format(functions=lines)
        if merged and merged[0].role == "system":
            merged[0] = replace(merged[0], content=f"{merged[0].content}\n\n{told}")
        else:
            merged.insert(0, Message("system", told))
    return tuple(merged)


def _plain(message: Message) -> Message:
    if message.role == "tool" and message.call_id:
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if not message.calls:
        return message
    calls = [
        json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
        for call in message.calls
    ]
    said = [message.content, *(f"<tool_call>\n{call}\n</tool_call>" for call in calls)]
    return replace(message, content="\n".join(filter(None, said)), calls=())


def as_turns(messages: Sequence[Message], form: ToolFormat | None) -> list[dict[str, Any]]:
    """Messages as chat templates read them. `form` may be None where nothing is called."""
    turns, named, ids = [], {}, {}
    num_calls = 0
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.reasoning is not None:  # most templates read `reasoning_content`
            thoughts = message.reasoning
            turn = {"thinking": thoughts, "reasoning": thoughts, **turn}
            turn["reasoning_content"] = thoughts
        if message.calls and form is not None:
            turn["content"] = message.content or (None if form.no_content else "")
            turn["tool_calls"] = []
            for call in message.calls:
                named[call.id] = call.name
                ids[call.id] = formed_id(form.id_form, call, num_calls)
                turn["tool_calls"].append(_call_turn(call, ids[call.id], as_text=form.as_text))
                num_calls += 1
        if message.role == "tool" and message.call_id:
            turn["tool_call_id"] = ids.get(message.call_id, message.call_id)
            turn["name"] = named.get(message.call_id, "")
        turns.append(turn)
    return turns


def _call_turn(call: ToolCall, id: str, *, as_text: bool) -> dict[str, Any]:
    arguments: Any = dict(call.arguments)
    if as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def formed_id(form: str, call: ToolCall, index: int) -> str:
    short = hashlib.sha256(call.id.encode()).hexdigest()[:9]
    return form.format(name=call.name, index=index, short=short) if form else call.id


def specs_of(functions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Functions as chat templates read them."""
    return [{"type": "function", "function": dict(function)} for function in functions]


def opening_of(form: ToolFormat | None, tools: Tools | None) -> str:
    """What an answer is begun with so that it calls: up to the name where the model has a choice of
    functions, else up to the arguments. "" where it may do as it likes.
    """
    if form is None or tools is None or not tools.asked:
        return ""
    only = tools.names[0] if len(tools.names) == 1 else ""
    return form.opening(tools.name or only)
