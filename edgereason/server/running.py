"""A request that runs: its text in pieces, what became of it, and what the answer says of that.

Whoever reads slowly stops nobody: unread text is joined in the outbox (`runtime/stream.py`).
Whoever goes away cancels the request; its place is free once the core has let go of it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from edgereason.records import Answer, Channel, Chunk, Request, StopReason
from edgereason.runtime.reasoner import Handle
from edgereason.server.fields import Given
from edgereason.server.metrics import Metrics
from edgereason.server.models import Model


@dataclass(slots=True, eq=False)
class Running:
    """One request on its way through the core."""

    model: Model
    asked_model: str  # the name that the client used
    given: Given
    request: Request
    handle: Handle
    route: str
    arrived: float  # time.monotonic()
    metrics: Metrics
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))
    channel: Channel | None = None  # of the last piece
    _seen: set[Channel] = field(default_factory=set)
    num_pieces: int = 0
    num_prompt: int = 0  # tokens
    dropped: str = ""  # why it was cancelled from outside
    verbatim: bool = False  # blanks at the ends of its text are part of it
    piece: Callable[[int], bytes] = lambda token: b""  # the bytes of a token

    @property
    def age_ms(self) -> float:
        return 1000 * (time.monotonic() - self.arrived)

    def cancel(self, why: str) -> None:
        self.dropped = self.dropped or why
        self.handle.cancel()

    async def pieces(self, ping_s: float = 0) -> AsyncIterator[Chunk | None]:
        """The text as it appears; None after each `ping_s` seconds of silence. Then raises what
        went wrong."""
        loop, more = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody reads on
                loop.call_soon_threadsafe(more.set)

        outbox, ends = self.handle.readable, _Ends()
        outbox.listen(wake)
        while not outbox.drained:
            more.clear()
            while (chunk := outbox.poll()) is not None:
                self._note(chunk)
                text = chunk.text if self.verbatim else ends.trim(chunk)
                if text or chunk.call:
                    yield replace(chunk, text=text)
            if not outbox.drained and not await _within(more, ping_s):
                yield None

    async def answer(self) -> Answer:
        """What it came to. Its text, if nobody has read it, is read here."""
        async for _ in self.pieces():
            pass
        return await asyncio.shield(asyncio.wrap_future(self.handle.future))

    def _note(self, chunk: Chunk) -> None:
        self.num_pieces += 1
        self.channel = chunk.channel
        if chunk.channel not in self._seen:
            is_first = not self._seen
            self._seen.add(chunk.channel)
            self.metrics.first_text(chunk.channel, self.age_ms, is_first=is_first)

    @property
    def stop_text(self) -> str | None:
        """The stop text that ended the answer."""
        results = [result for line in self.handle.chains for result in line]
        return next((r.mark for r in reversed(results) if r.mark in self.request.stop), None)

    def report(self, answer: Answer) -> dict[str, Any]:
        """What was asked, in force, used, and what ended it. The same in every dialect."""
        budget, given = answer.budget, self.given
        late_ms, due_ms = budget.deadline_ms.late_ms, given.get("deadline_ms")
        return {
            "strategy": answer.strategy,
            "ended_by": answer.finish.value,
            "thinking": {
                "asked": given.get("think_tokens"),
                "effort": given.get("effort"),
                "in_force": budget.think_tokens.effective,
                "used": budget.think_tokens.used,
                "ended_by": budget.think_tokens.ended_by,
            },
            "answer": {
                "asked_in_all": given.get("max_tokens"),
                "in_force": budget.answer_tokens.effective,
                "used": budget.answer_tokens.used,
                "ended_by": budget.answer_tokens.ended_by,
            },
            "deadline": {
                "asked_ms": due_ms,
                "used_ms": round(self.age_ms, 3),
                "met": None if due_ms is None else late_ms == 0,
                "late_ms": round(late_ms, 3),
            },
            "priority": self.request.priority,
            "cached_tokens": answer.usage.cached_tokens,
            "queue_ms": round(max(0.0, answer.timings.queue_ms), 3),
            "ignored": given.ignored,
        }


class _Ends:
    """Takes the blanks from both ends of each channel, as the finished answer has none: a stream
    says the same as an answer in one piece."""

    def __init__(self) -> None:
        self._held: dict[Channel, str] = {}  # blanks that may be the last; None yet: nothing said

    def trim(self, chunk: Chunk) -> str:
        held = self._held.get(chunk.channel)
        text = chunk.text.lstrip() if held is None else held + chunk.text
        shown = text.rstrip()
        if shown or held is not None:
            self._held[chunk.channel] = text[len(shown) :]
        return shown


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds or None)
    except asyncio.TimeoutError:
        return False
    return True


def was_cut(answer: Answer) -> bool:
    """The answer itself was cut, by whatever; thinking that was cut is no fault of the answer."""
    return answer.budget.answer_tokens.ended_by not in (
        StopReason.STOP.value,
        StopReason.STABLE.value,
    )


def num_completion(answer: Answer) -> int:
    return answer.usage.reasoning_tokens + answer.usage.answer_tokens


def timings(answer: Answer) -> dict[str, Any]:
    """As llama.cpp's server names them."""
    usage, times = answer.usage, answer.timings
    decode_ms = times.think_ms + times.answer_ms
    read, num = usage.prompt_tokens - usage.cached_tokens, num_completion(answer)
    return {
        "cache_n": usage.cached_tokens,
        "prompt_n": read,
        "prompt_ms": round(times.prefill_ms, 3),
        "prompt_per_token_ms": _ratio(times.prefill_ms, read),
        "prompt_per_second": _ratio(1000 * read, times.prefill_ms),
        "predicted_n": num,
        "predicted_ms": round(decode_ms, 3),
        "predicted_per_token_ms": _ratio(decode_ms, num),
        "predicted_per_second": _ratio(1000 * num, decode_ms),
    }


def _ratio(one: float, other: float) -> float:
    return round(one / other, 3) if other > 0 else 0.0
