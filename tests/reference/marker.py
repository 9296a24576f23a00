"""Slow twin of `edgereason/marker.h`: after each byte looks at all text since the last mark."""

from __future__ import annotations

from collections.abc import Sequence

from .stop import ending, num_held

NONE, OPENED, SHUT, STOP = range(4)


class MarkerTracker:
    def __init__(
        self, open: Sequence[bytes], shut: Sequence[bytes], stop: Sequence[bytes], inside: bool
    ) -> None:
        # Per state: the marks that count, and what each does. Of equal texts the first counts.
        self.marks = {
            True: [*((m, SHUT) for m in shut), *((m, NONE) for m in open)],
            False: [
                *((m, OPENED) for m in open),
                *((m, STOP) for m in stop),
                *((m, NONE) for m in shut),
            ],
        }
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
            found = ending(self.text, [mark for mark, _ in marks])
            if found is None:
                continue
            mark, action = marks[found]
            self._show(len(self.text) - len(mark))
            self._start_anew()
            if action == STOP:
                return STOP
            if action != NONE:
                self.inside = action == OPENED
                event = action
        self._show(len(self.text) - self.num_held_of_text())
        return event

    def num_held_of_text(self) -> int:
        return num_held(self.text, [mark for mark, _ in self.marks[self.inside]])

    @property
    def num_held(self) -> int:
        return len(self.text) - self.num_shown

    def force_shut(self) -> None:
        if self.inside:
            self.flush()
            self.inside = False

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
