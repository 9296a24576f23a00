"""What happened to a request, as events, and where they go.

    with JsonLines(path) as sink, Reasoner.open(model, trace=sink) as reasoner:
        reasoner.ask("What is 17 * 3?")     # request_start, phase_end of each phase, request_end

A sink is anything that takes an `Event`. It is called from several threads, for one request never
from two at once and in the order of what happened. The request waits for it; others do not. If it
raises, its request ends with that error, and the sink hears no more of it: a trace with holes would
be taken for whole. Texts are not part of events: neither the user's nor the model's.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from edgereason.errors import DiskError, UsageError
from edgereason.records import PhaseResult

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


class Tracer:
    """Tells a sink of one request, up to its end or the first error of the sink."""

    def __init__(self, sink: Sink | None, now_ms: Callable[[], float]) -> None:
        self._sink = sink
        self._now_ms = now_ms

    @property
    def is_on(self) -> bool:
        return self._sink is not None

    def tell(self, kind: Kind, request: int, **data: Any) -> None:
        sink = self._sink
        if sink is None:
            return
        if kind == "request_end":
            self._sink = None
        try:
            sink(Event(kind, request, self._now_ms(), data))
        except BaseException:
            self._sink = None
            raise

    def tell_phase(self, request: int, line: int, result: PhaseResult) -> None:
        """All figures of a phase, no texts. `line` is called `chain` in the event."""
        self.tell(
            "phase_end",
            request,
            chain=line,
            phase=result.name,
            reason=result.reason.value,
            tokens=result.num_tokens,
            reasoning_tokens=result.num_reasoning,
            latent_tokens=result.num_latent,
            prompt_tokens=result.num_prompt,
            cached_tokens=result.num_cached,
            cells=result.num_cells,
            queue_ms=result.queue_ms,
            prefill_ms=result.prefill_ms,
            decode_ms=result.decode_ms,
        )


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
        try:
            with self._lock:
                self._file.write(line + "\n")
                self._file.flush()
        except OSError as error:
            raise DiskError(f"cannot write the trace: {error.strerror}", "make room") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):  # each line was written, or that it was not was told
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
