"""What happened to a request, as events, and where they go.

    with JsonLines(path) as sink, Reasoner.open(model, trace=sink) as reasoner:
        reasoner.ask("What is 17 * 3?")     # request_start, phase_end of each phase, request_end

A sink is anything that takes an `Event`; it is called from the driver's threads and must not block
for long. Texts are not part of events: neither the user's nor the model's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from edgereason.errors import UsageError

Kind = Literal["request_start", "phase_end", "request_end"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `at_ms` is the time of the runtime's clock, `request` a number of
    the open model's.
    """

    kind: Kind
    request: int
    at_ms: float
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        head = {"event": self.kind, "request": self.request, "at_ms": round(self.at_ms, 3)}
        return {**self.data, **head}


Sink = Callable[[Event], None]


class JsonLines:
    """Appends one JSON object a line to a file. Safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write a trace to {path}: {error.strerror}") from None
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        line = json.dumps(event.to_dict(), ensure_ascii=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
