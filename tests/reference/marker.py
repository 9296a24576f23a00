"""Slow twin of `edgereason/marker.h`: after each byte looks at all text since the last mark."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .stop import ending, num_held

NONE, OPENED, SHUT, STOP = range(4)


class MarkerTracker:
    def __init__(
        self,
        open: Sequence[bytes],
        shut: Sequence[bytes],
        stop: Sequence[bytes],
        inside: bool,
        ends: Sequence[int] = (),
    ) -> None:
        own = [*ends, *[0] * (len(open) + len(shut) - len(ends))]
        opens = [(mark, OPENED, end) for mark, end in zip(open, own, strict=False)]
        shuts = [(mark, SHUT, end) for mark, end in zip(shut, own[len(open) :], strict=True)]
        # Per state, those that are looked for. Of equal texts the first is taken.
        self.marks = {
            True: [*shuts, *opens],
            False: [*opens, *((mark, STOP, 0) for mark in stop), *shuts],
        }
        self.may_repeat = True
        self.inside = inside
        self.answer = b""
        self.reasoning = b""
        self.text = b""  # since the last mark
        self.num_shown = 0  # bytes of it

    def feed(self, piece: bytes) -> int:
        event = NONE
        for at in range(len(piece)):
            self.text += piece[at : at + 1]
            marks = self.marks[self.inside]
            found = ending(self.text, [mark for mark, _, _ in marks])
            if found is None:
                continue
            mark, action, end = marks[found]
            self._show(len(self.text) - len(mark))
            own = not end or (at == len(piece) - 1 and len(piece) == end)
            if action != STOP and not (own and self._counts(mark, action, end)):
                self._show(len(self.text))
                self.may_repeat = self.may_repeat and self.inside
                self._start_anew()
                continue
            self._start_anew()
            if action == STOP:
                return STOP
            if self.inside != (action == OPENED):
                self.inside = action == OPENED
                self.may_repeat = True
                event = action
            elif not self.inside:
                self.may_repeat = False
        self._show(len(self.text) - self.num_held_of_text())
        return event

    def _counts(self, mark: bytes, action: int, end: int) -> bool:
        before = self.reasoning if self.inside else self.answer
        *earlier, line = before.split(b"\n")
        fence = b""
        for each in (*earlier, line):
            start = each.strip(b" \t\r")[:3]
            if start in (b"```", b"~~~"):
                fence = start if not fence else b"" if fence == start else fence
        begins = not line.strip(b" \t\r") and not fence
        if action == OPENED:
            return begins or 0 < end < len(mark)
        quotes = "\"|'|\u201c|\u2018|\u00ab".encode()
        quoted = line.count(b"`") % 2 == 1 or re.search(b"(?:" + quotes + b")\\Z", line) or fence
        return self.inside or begins or (self.may_repeat and not quoted)

    def num_held_of_text(self) -> int:
        return num_held(self.text, [mark for mark, _, _ in self.marks[self.inside]])

    @property
    def num_held(self) -> int:
        return len(self.text) - self.num_shown

    def force_shut(self) -> None:
        if self.inside:
            self.flush()
            self.inside = False
            self.may_repeat = True

    def flush(self) -> None:
        self._show(len(self.text))
        self._start_anew()

    def _show(self, until: int) -> None:
        shown = self.text[self.num_shown : until]
        self.num_shown = max(self.num_shown, until)
        if self.inside:
            self.reasoning += shown
        else:
            self.answer += shown

    def _start_anew(self) -> None:
        self.text = b""
        self.num_shown = 0
