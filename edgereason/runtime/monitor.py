"""A hook that sees thoughts as they are written, and may stop them.

    def monitor(thoughts: str) -> str:      # "" to go on, else why the request must end
        return "it looks for the password" if "password" in thoughts else ""

    with Reasoner.open("smollm2-135m", monitor=monitor) as reasoner: ...

It is called with all that one line of thought has written so far, for one request never twice at
once. The model goes on meanwhile, whatever the hook takes; the answer is handed out once the hook
has seen every thought. What it stops ends as `cancelled`, without an answer, and its note says why.
If it raises, the request ends with that error.

No guarantee: harm may hide behind thoughts that sound harmless, and monitors often miss it (Thought
Crime). Text that was streamed before stays shown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

Monitor = Callable[[str], str]

STOPPED: Final = "stopped by the monitor: "


class Watch:
    """The thoughts of one request. `add` is called by the driver's thread, `look` on the request's
    lane."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._lock = threading.Lock()
        self._thoughts: dict[int, bytes] = {}
        self._unseen: set[int] = set()
        self.reason = ""  # why it was stopped

    def add(self, line: int, text: bytes) -> bool:
        """True: somebody must `look`."""
        with self._lock:
            was_seen = not self._unseen
            self._thoughts[line] = self._thoughts.get(line, b"") + text
            self._unseen.add(line)
            return was_seen

    def look(self) -> bool:
        """Shows the hook what is new. True: the request must end."""
        while not self.reason:
            with self._lock:
                if not self._unseen:
                    return False
                text = self._thoughts[self._unseen.pop()]
            self.reason = self._monitor(text.decode(errors="replace"))
        return True


__all__ = ["STOPPED", "Monitor", "Watch"]
