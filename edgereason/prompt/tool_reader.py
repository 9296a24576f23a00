"""Reads calls of tools out of what a model says, piece by piece.

    reader = CallReader(form, tools)
    reader.feed("I look. <tool_call>\\n{\\"na")     # ["I look. "]
    reader.feed('me": "f", "arguments": {}}\\n</tool_call>')   # [ToolCall("f", {})]
    reader.finish()

A call comes out once all of it is there, so that what a stream says does not depend on how it was
cut. What is no call after all (no JSON, no such function) is text, and none of it is lost.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from edgereason.prompt.tool_elements import (
    ELEMENTS,
    MalformedError,
    MoreNeededError,
    channel_message,
    skip_blanks,
)
from edgereason.prompt.tools import Style, ToolFormat
from edgereason.records import ToolCall, Tools

Piece = str | ToolCall

_ENDS: Final = ("<|call|>", "<|end|>", "<|return|>")  # of a message of gpt-oss


class _State(Enum):
    BEGIN = "nothing was read"
    TEXT = "between texts"
    CALL = "at the beginning of a call"
    AFTER = "behind a call, before another or text"
    DONE = "nothing more is wanted"


class CallReader:
    """For one answer. `opening`: what the answer was begun with by force, which its text does not
    hold. `stem` makes the ids of calls: the same texts with the same stem give the same ids.
    """

    def __init__(
        self, form: ToolFormat, tools: Tools, *, opening: str = "", stem: str = "call_"
    ) -> None:
        self._form, self._tools = form, tools
        self._opening, self._stem = opening, stem
        self._element = ELEMENTS[form.style]
        self._marks = (*form.begins, *(_ENDS if form.style is Style.CHANNEL else ()))
        self._buffer = ""
        self._state = _State.BEGIN
        self._num_calls = 0

    def feed(self, text: str) -> list[Piece]:
        """What is certain by now; texts are never empty."""
        self._buffer += text
        return self._read(final=False)

    def finish(self) -> list[Piece]:
        """The rest: nothing follows."""
        return self._read(final=True)

    def _read(self, *, final: bool) -> list[Piece]:
        pieces: list[Piece] = []
        steps = {
            _State.BEGIN: self._begin,
            _State.TEXT: self._text,
            _State.CALL: self._call,
            _State.AFTER: self._after,
        }
        while self._state is not _State.DONE:
            if not steps[self._state](pieces, final):
                return [piece for piece in pieces if piece != ""]
        self._buffer = ""
        return [piece for piece in pieces if piece != ""]

    # -- each reads what it can; False: it needs more ----------------------------------------------

    def _begin(self, pieces: list[Piece], final: bool) -> bool:
        said = self._buffer.lstrip()
        may_open = any(mark.startswith(said[: len(mark)]) for mark in self._form.begins)
        if may_open and not final and not self._form.begins_in(said):
            return False
        if self._opening and said and not self._form.begins_in(said):
            self._buffer = self._opening + self._buffer
            said = self._buffer.lstrip()
        bare = not self._form.begins
        if bare and not said and not final:
            return False
        self._state = _State.CALL if bare and said[:1] in ("{", "[") else _State.TEXT
        return final or bool(said)  # blanks alone are a text as well, once nothing follows

    def _text(self, pieces: list[Piece], final: bool) -> bool:
        found = [(at, mark) for mark in self._marks if (at := self._buffer.find(mark)) >= 0]
        if found:
            at, mark = min(found, key=lambda each: (each[0], -len(each[1])))
            pieces.append(self._buffer[:at])
            self._buffer = self._buffer[at:]
            if mark in _ENDS:
                self._buffer = self._buffer[len(mark) :]
            else:
                self._state = _State.CALL
            return True
        held = 0 if final else max(map(self._held, self._marks), default=0)
        cut = len(self._buffer) - held
        pieces.append(self._buffer[:cut])
        self._buffer = self._buffer[cut:]
        return False

    def _held(self, mark: str) -> int:
        """How many characters at the end may be the beginning of `mark`."""
        longest = min(len(mark) - 1, len(self._buffer))
        return next((n for n in range(longest, 0, -1) if self._buffer.endswith(mark[:n])), 0)

    def _call(self, pieces: list[Piece], final: bool) -> bool:
        """At a section, a mark, or (bare) the call itself."""
        if self._form.style is Style.CHANNEL:
            return self._channel(pieces, final)
        at = skip_blanks(self._buffer, 0)
        section, opened = self._form.begins_at(self._buffer, at)
        try:
            at = skip_blanks(self._buffer, at + len(section))
            if self._form.is_list and self._buffer.startswith("[", at):
                at = skip_blanks(self._buffer, at + 1)
            if section and opened and not self._buffer.startswith(opened, at):
                if not final and opened.startswith(self._buffer[at:]):
                    return False
                raise MalformedError
            return self._take(pieces, at + len(opened), final)
        except MoreNeededError:
            return self._give_up(pieces, final)
        except MalformedError:
            return self._give_up(pieces, True)

    def _take(self, pieces: list[Piece], at: int, final: bool) -> bool:
        calls, end = self._element(self._buffer, at, self._form, self._tools, final)
        self._emit(pieces, calls)
        self._buffer = self._buffer[end:]
        if self._state is not _State.DONE:
            self._state = _State.AFTER
        return True

    def _emit(self, pieces: list[Piece], calls: list[ToolCall]) -> None:
        for call in calls:
            pieces.append(ToolCall(call.name, call.arguments, f"{self._stem}{self._num_calls}"))
            self._num_calls += 1
            if not self._tools.parallel:
                self._state = _State.DONE
                return

    def _give_up(self, pieces: list[Piece], final: bool) -> bool:
        """It was no call: its first characters are text, and the rest is read as such."""
        if not final:
            return False
        mark = max((m for m in self._marks if self._buffer.startswith(m)), key=len, default="")
        num = len(mark) or len(self._buffer)
        pieces.append(self._buffer[:num])
        self._buffer = self._buffer[num:]
        self._state = _State.TEXT
        return True

    def _channel(self, pieces: list[Piece], final: bool) -> bool:
        try:
            call, end = channel_message(self._buffer, self._tools, final)
        except MoreNeededError:
            return self._give_up(pieces, final)
        except MalformedError:
            return self._give_up(pieces, True)
        self._buffer = self._buffer[end:]
        self._state = _State.TEXT
        if call is not None:
            self._emit(pieces, [call])
        return True

    def _after(self, pieces: list[Piece], final: bool) -> bool:
        """The end of a section, another call, or text."""
        at = skip_blanks(self._buffer, 0)
        rest, end = self._buffer[at:], self._form.section_end.strip()
        if end and rest.startswith(end):
            self._buffer = rest[len(end) :]
        elif not final and self._may_go_on(rest, end):
            return False
        elif found := self._follows(rest):
            return self._next_call(pieces, at + found.end(), final)
        self._state = _State.TEXT
        return True

    def _follows(self, rest: str) -> re.Match[str] | None:
        """What stands between two calls, and opens the second."""
        comma, opened = self._form.between.strip(), self._form.open.strip()
        if not (comma or opened or self._form.section):
            return None
        return re.compile(re.escape(comma) + r"\s*" + re.escape(opened)).match(rest)

    def _may_go_on(self, rest: str, end: str) -> bool:
        """It may become one of the marks that are expected here."""
        comma = self._form.between.strip()
        marks = (end, comma, self._form.open.strip())
        begun = any(len(rest) < len(mark) and mark.startswith(rest) for mark in marks)
        after_comma = bool(comma) and rest.startswith(comma) and not rest[len(comma) :].strip()
        return not rest or begun or after_comma

    def _next_call(self, pieces: list[Piece], begin: int, final: bool) -> bool:
        """`begin`: where the call itself begins."""
        try:
            return self._take(pieces, begin, final)
        except MoreNeededError:
            if not final:
                return False
        except MalformedError:
            pass
        pieces.append(self._buffer[:begin])
        self._buffer = self._buffer[begin:]
        self._state = _State.TEXT
        return True
