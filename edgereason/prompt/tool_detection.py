"""Finds how a chat template writes calls of tools: renders an answer that calls one, and one that
calls two, and looks at what stands around the names and the arguments.

No list of models: what a template writes is what counts. gpt-oss alone is known by its channels,
since its template writes a header that the model itself writes in another order.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from edgereason.errors import BundleError, UsageError
from edgereason.prompt.template import literals_of, render_text
from edgereason.prompt.tool_reader import CallReader
from edgereason.prompt.tools import (
    ANY_ID,
    CHANNELS,
    TOLD,
    Marks,
    Style,
    ToolFormat,
    formed_id,
    specs_of,
)
from edgereason.records import ToolCall, Tools

_QUESTION: Final = "Which place lies north?"
_ANSWER: Final = "That one does"
_RESULT: Final = "north_r9"
_NAME: Final = "look_up_k7"
_KEYS: Final = ("a_place_q", "b_count_w", "c_unit_z")  # some templates sort them
_CALLS: Final = (
    ToolCall(_NAME, dict(zip(_KEYS, ("north_v1", 7301, "south_v2"), strict=True)), "call00001"),
    ToolCall(_NAME, dict(zip(_KEYS, ("north_v3", 7303, "south_v4"), strict=True)), "call00002"),
)
_SPEC: Final = {
    "name": _NAME,
    "description": "Looks up a place.",
    "parameters": {
        "type": "object",
        "properties": {
            "a_place_q": {"type": "string", "description": "its name"},
            "b_count_w": {"type": "integer", "description": "how many"},
            "c_unit_z": {"type": "string", "description": "of what"},
        },
        "required": list(_KEYS),
    },
}
_ID_FORMS: Final = ("functions.{name}:{index}", "{short}")  # of Kimi, and of Mistral

_IDS: Final = tuple(
    formed_id(form, call, index) for form in _ID_FORMS for index, call in enumerate(_CALLS)
)


@lru_cache(maxsize=16)
def tool_format(template: str, bos_token: str = "", eos_token: str = "") -> ToolFormat:
    """How calls are written in this template's conversations; `TOLD` where it knows no tools."""
    return _Look(template, bos_token, eos_token).found() or TOLD


@dataclass(frozen=True, slots=True)
class _Element:
    """One call in a rendered text: `text[begin:end]`, without what stands around it."""

    begin: int
    end: int
    form: ToolFormat


class _Look:
    """One look at one template."""

    def __init__(self, template: str, bos_token: str, eos_token: str) -> None:
        self.template = template
        texts = (("bos_token", bos_token), ("eos_token", eos_token))
        self.names = {name: text for name, text in texts if text}

    def found(self) -> ToolFormat | None:
        if "tool" not in self.template:
            return None
        if "<|channel|>commentary" in literals_of(self.template):
            return CHANNELS
        for id_form in _ID_FORMS:
            for as_text in (False, True):
                for content in ("", None):
                    form = self._with(id_form, as_text, content)
                    if form is not None:
                        return form
        return None

    def _with(self, id_form: str, as_text: bool, content: str | None) -> ToolFormat | None:
        one = self._said(_CALLS[:1], id_form, as_text, content)
        first = None if one is None else _element(one, 0)
        if one is None or first is None:
            return None
        named_by_id = one[first.begin : first.end].startswith(f"functions.{_NAME}:")
        form = replace(
            first.form,
            as_text=as_text,
            no_content=content is None,
            id_form=id_form if id_form == "{short}" or named_by_id else "",
            found="what the template writes",
        )
        before, after = one[: first.begin], one[first.end :]
        two = self._said(_CALLS, id_form, as_text, content)
        second = None if two is None else _element(two, first.end)
        middle = None
        if two is not None and second is not None:
            after, middle = two[second.end :], two[first.end : second.begin]
        form = replace(form, **_around(before, after, middle))
        # What cannot be read back is not believed.
        texts = [(one, 1)] + ([(two, 2)] if two is not None and middle is not None else [])
        return form if all(_reads_back(form, text, num) for text, num in texts) else None

    def _said(
        self, calls: Sequence[ToolCall], id_form: str, as_text: bool, content: str | None
    ) -> str | None:
        """What an assistant that calls says, up to the end of its turn."""
        ids = [formed_id(id_form, call, index) for index, call in enumerate(calls)]
        said = [_call(call, id, as_text) for call, id in zip(calls, ids, strict=True)]
        asked = {"role": "user", "content": _QUESTION}
        turn = {"role": "assistant", "content": content, "tool_calls": said}
        results = [
            {"role": "tool", "name": _NAME, "tool_call_id": id, "content": _RESULT} for id in ids
        ]
        text = self._render([asked, turn, *results])
        plain = self._render([asked, {"role": "assistant", "content": _ANSWER}])
        if text is None or plain is None or _ANSWER not in plain:
            return None
        lead, _, end = plain.partition(_ANSWER)
        at = _whole_tags(text, len(_common_start(text, lead)))
        said_text = text[at:].partition(_RESULT)[0]
        end = end.strip()
        return said_text.partition(end)[0] if end and end in said_text else said_text

    def _render(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        data = {
            "messages": messages,
            "tools": specs_of([_SPEC]),
            "add_generation_prompt": False,
            **self.names,
        }
        try:
            return render_text(self.template, data)
        except (UsageError, BundleError):
            return None


def _reads_back(form: ToolFormat, text: str, num_calls: int) -> bool:
    if form.style is not Style.OBJECT and not form.begins:
        return False
    reader = CallReader(form, Tools((_SPEC,)))
    pieces = [*reader.feed(text), *reader.finish()]
    calls = [piece.arguments for piece in pieces if isinstance(piece, ToolCall)]
    rest = "".join(piece for piece in pieces if isinstance(piece, str))
    return calls == [call.arguments for call in _CALLS[:num_calls]] and not rest.strip()


def _call(call: ToolCall, id: str, as_text: bool) -> dict[str, Any]:
    arguments = json.dumps(call.arguments) if as_text else call.arguments
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


# --- one call -------------------------------------------------------------------------------------


def _element(text: str, start: int) -> _Element | None:
    """The first call behind `start`, in whichever style."""
    call = next((each for each in _CALLS if each.arguments["a_place_q"] in text[start:]), None)
    if call is None:
        return None
    for look in (_object, _named, _python, _tagged):
        found = look(text, start, call)
        if found is not None:
            return found
    return None


def _objects(text: str, start: int) -> Iterator[tuple[int, int, Any]]:
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", text[start:]):
        begin = start + match.start()
        try:
            value, end = decoder.raw_decode(text, begin)
        except ValueError:
            continue
        yield begin, end, value


def _object(text: str, start: int, call: ToolCall) -> _Element | None:
    for begin, end, value in _objects(text, start):
        inner = value.get("function", value) if isinstance(value, dict) else value
        inner = inner if isinstance(inner, dict) else value
        names = [key for key, item in inner.items() if item == _NAME]
        keys = [key for key, item in inner.items() if item == call.arguments]
        if not names or not keys:
            continue
        before, _, rest = text[begin:end].partition(_NAME)
        after = rest[: rest.find("{")]
        form = ToolFormat(Style.OBJECT, before_name=before, after_name=after)
        return _Element(begin, end, replace(form, name_key=names[0], arguments_key=keys[0]))
    return None


def _named(text: str, start: int, call: ToolCall) -> _Element | None:
    for begin, end, value in _objects(text, start):
        name = text.rfind(_NAME, start, begin)
        if value != call.arguments or name < 0:
            continue
        after = text[name + len(_NAME) : begin]
        first = text.rfind("functions.", start, name)
        by_id = first >= 0 and first + len("functions.") == name and re.match(r":\d", after)
        for id in _IDS:
            after = after.replace(id, ANY_ID)
        form = ToolFormat(Style.NAMED, after_name=after, numbered=bool(by_id))
        if by_id:
            return _Element(first, end, replace(form, before_name="functions."))
        return _Element(name, end, form)
    return None


def _python(text: str, start: int, call: ToolCall) -> _Element | None:
    pairs = r",\s*".join(rf"{key}=['\"]?{value}['\"]?" for key, value in call.arguments.items())
    match = re.compile(rf"{_NAME}\({pairs}\)").search(text, start)
    if match is None:
        return None
    return _Element(match.start(), match.end(), ToolFormat(Style.PYTHON, after_name="("))


def _tagged(text: str, start: int, call: ToolCall) -> _Element | None:
    places = [text.find(_NAME, start)]
    words = [word for pair in call.arguments.items() for word in pair]
    for word in map(str, words):
        places.append(text.find(word, places[-1] + 1))
    if -1 in places:
        return None
    ends = [at + len(str(word)) for at, word in zip(places, (_NAME, *words), strict=True)]
    gaps = [text[end:at] for end, at in zip(ends, places[1:], strict=False)]
    if any(len(gap) > 80 for gap in gaps):
        return None  # that is prose
    after_name, text_open, text_gap, data_open, data_gap, _ = gaps
    key_open = _from_tag(_common_end(after_name, text_gap, data_gap))
    tail = text[ends[-1] :]
    text_close = _to_tag(_common_start(text_gap, tail))
    comma = text_gap[len(text_close) : len(text_gap) - len(key_open)]
    data_close = data_gap[: len(data_gap) - len(comma) - len(key_open)]
    marks = Marks(key_open, text_open, text_close, data_open, data_close, comma)
    after_name = after_name[: len(after_name) - len(key_open)]
    form = ToolFormat(Style.TAGGED, after_name=after_name, marks=marks)
    return _Element(places[0], ends[-1] + len(text_close), form)


# --- what stands around calls ---------------------------------------------------------------------


def _around(before: str, after: str, middle: str | None) -> dict[str, Any]:
    """`before` the first call, `after` the last, `middle` between two; None: one alone."""
    if middle is None:
        return {"open": before, "close": after}
    opened = _from_tag(_common_end(before, middle))
    rest = middle[: len(middle) - len(opened)]
    close = _to_tag(_common_start(rest, after))
    if not opened and not close.strip():
        close = ""
    return {
        "section": before[: len(before) - len(opened)],
        "open": opened,
        "close": close,
        "between": rest[len(close) :],
        "section_end": after[len(close) :].rstrip(),
    }


def _common_end(*texts: str) -> str:
    return _common_start(*(text[::-1] for text in texts))[::-1]


def _common_start(*texts: str) -> str:
    same = itertools.takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False))
    return "".join(chars[0] for chars in same)


def _from_tag(text: str) -> str:
    """Without half a tag before its first one: `>\\n<parameter=` is `<parameter=`."""
    found = re.search(r"[<\[]", text)
    return text[found.start() :] if found else text


def _to_tag(text: str) -> str:
    """Without half a tag behind its last one: `</parameter>\\n<` is `</parameter>\\n`."""
    found = re.search(r"[<\[][^>\]]*$", text)
    return text[: found.start()] if found else text


def _whole_tags(text: str, at: int) -> int:
    """`at`, or where the tag begins that it lies in."""
    found = re.search(r"<[^<>\s]*$", text[:at])
    inside = found is not None and re.match(r"[^<>\s]*>", text[at:]) is not None
    return found.start() if found is not None and inside else at
