"""What a request gives to its caller: its text in pieces as it appears, then its answer.

    outbox = Outbox(streams=True)
    outbox.put(Channel.ANSWER, "fifty")     # never waits, whoever reads or does not
    outbox.end(answer)                      # or an error: resolves the future
    outbox.get()                            # Chunk, Chunk, ..., then None

There are three ways to read: `get` waits for the next piece, `poll` and `listen` are for an event
loop, and `on_chunk` is called for each piece, on a lane of its own. Knows no model and no strategy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from io import StringIO
from typing import Any, Final

from edgereason.prompt.tool_reader import CallReader, Piece
from edgereason.records import Answer, Channel, Chunk, Phase, Role, ToolCall
from edgereason.runtime.workers import Lane, contained

OnChunk = Callable[[Chunk | None], None]

_MOST_PIECES: Final = 256  # unread; what comes then is added to the last piece of its channel


class Promise(Future[Answer]):
    """A future whose callbacks cannot harm the thread that resolves it, nor each other."""

    def add_done_callback(self, fn: Callable[[Future[Answer]], Any]) -> None:
        super().add_done_callback(lambda future: contained(fn, future))

    def resolve(self, outcome: Answer | BaseException) -> None:
        if isinstance(outcome, StopIteration):  # asyncio's futures refuse it, and nobody would hear
            outcome, cause = RuntimeError("a callback raised StopIteration"), outcome
            outcome.__cause__ = cause
        if isinstance(outcome, Answer):
            self.set_result(outcome)
        else:
            self.set_exception(outcome)


class Outbox:
    """Text on its way out, and the future of the answer.

    A reader who is slow, or never comes, stops nobody: once many pieces are unread, further text
    is added to the last one. So nothing is lost, and an outbox is never larger than its text.

    The order is: all pieces, then the future is resolved, then None. Without `on_chunk` the pieces
    need not have been read by then.
    """

    def __init__(self, *, streams: bool = False) -> None:
        self.streams = streams
        self.future = Promise()
        self.future.set_running_or_notify_cancel()  # it cannot be cancelled, the request can
        self._ready = threading.Condition()
        self._pieces: deque[tuple[Channel, StringIO, ToolCall | None]] = deque()
        self._ended = False
        self._wake: Callable[[], None] | None = None  # called after each change

    # -- the side of the runtime -------------------------------------------------------------------

    def put(self, channel: Channel, text: str) -> None:
        with self._ready:
            if self._ended:
                return
            if len(self._pieces) < _MOST_PIECES or not self._goes_on(channel):
                self._pieces.append((channel, StringIO(), None))
            self._pieces[-1][1].write(text)
            self._ready.notify()
        self._tell()

    def put_call(self, call: ToolCall) -> None:
        with self._ready:
            if self._ended:
                return
            self._pieces.append((Channel.ANSWER, StringIO(), call))
            self._ready.notify()
        self._tell()

    def _goes_on(self, channel: Channel) -> bool:
        last, _, call = self._pieces[-1]
        return last is channel and call is None

    def end(self, outcome: Answer | BaseException) -> None:
        """No text follows. Callbacks of the future run here, on the caller's thread."""
        self._close()
        self.future.resolve(outcome)

    def abort(self, error: BaseException) -> None:
        """Ends at once, whatever its reader does: the model is being closed."""
        self.end(error)

    def _close(self) -> None:
        with self._ready:
            self._ended = True
            self._ready.notify_all()
        self._tell()

    def _tell(self) -> None:
        if self._wake is not None:
            self._wake()

    # -- the side of the reader --------------------------------------------------------------------

    def get(self) -> Chunk | None:
        """Waits for the next piece; None after the last."""
        with self._ready:
            while not self._pieces and not self._ended:
                self._ready.wait()
            return self._next()

    def poll(self) -> Chunk | None:
        """The next piece that is there. None: there is none now, or none any more (`drained`)."""
        with self._ready:
            return self._next()

    @property
    def drained(self) -> bool:
        with self._ready:
            return self._ended and not self._pieces

    def listen(self, wake: Callable[[], None]) -> None:
        """`wake` is called whenever there may be more. It must neither block nor raise."""
        self._wake = wake
        wake()

    def _next(self) -> Chunk | None:
        if not self._pieces:
            return None
        channel, text, call = self._pieces.popleft()
        return Chunk(channel, text.getvalue(), call)


class CallbackOutbox(Outbox):
    """An outbox that is read by `on_chunk`, one piece after another.

    Should `on_chunk` raise, it gets no further text, and the request ends with that error. The last
    call, with None, comes after the future is resolved: what it raises can only be logged.
    """

    def __init__(
        self, on_chunk: OnChunk, lane: Lane, on_error: Callable[[BaseException], None]
    ) -> None:
        super().__init__(streams=True)
        self._on_chunk = on_chunk
        self._lane = lane
        self._on_error = on_error
        self._scheduled = False
        self._error: BaseException | None = None
        self.listen(self._schedule)

    def end(self, outcome: Answer | BaseException) -> None:
        self._close()
        self._lane.add(lambda: self._finish(outcome))

    def abort(self, error: BaseException) -> None:
        with self._ready:
            self._pieces.clear()
        self._close()
        self.future.resolve(error)
        self._lane.add(lambda: self._on_chunk(None))

    def _schedule(self) -> None:
        with self._ready:
            if self._scheduled or not self._pieces:
                return
            self._scheduled = True
        self._lane.add(self._deliver)

    def _deliver(self) -> None:
        while True:
            with self._ready:
                chunk = self._next()
                if chunk is None:
                    self._scheduled = False
                    return
            if self._error is None:
                self._call(chunk)

    def _call(self, chunk: Chunk) -> None:
        try:
            self._on_chunk(chunk)
        except BaseException as error:
            self._error = error
            self._on_error(error)

    def _finish(self, outcome: Answer | BaseException) -> None:
        self.future.resolve(outcome if self._error is None else self._error)
        contained(self._on_chunk, None)


class Shaper:
    """Makes the text of phases into what a reader sees: no blanks around the answer, thoughts of
    several phases as lines of their own without blanks around them, and no draft. All pieces of a
    channel together are what the answer says in the end.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()  # of the next two, which the lane changes as well
        self.has_answered = False  # a piece of the answer was streamed
        self._hushed = False  # what is still being written will not be the answer
        self._thinking: Phase | None = None  # whose thoughts were streamed last
        self._blanks = {channel: "" for channel in Channel}  # held until more text follows
        self._begun: set[Channel] = set()
        self._reader: CallReader | None = None  # of calls, in what the model says
        self._verbatim = False

    def reads(self, reader: CallReader | None, *, verbatim: bool) -> None:
        """Before any text. `verbatim`: blanks around an answer are part of it."""
        self._reader, self._verbatim = reader, verbatim

    def put(self, phase: Phase, channel: Channel, text: bytes) -> None:
        if not self._outbox.streams or phase.role is Role.DRAFT:
            return
        said = text.decode(errors="replace")
        if channel is Channel.ANSWER and not self.has_answered and not self._verbatim:
            said = said.lstrip()  # what an answer begins with, or a turn that became a summary
        if not said or not self._may_show(channel):
            return
        if channel is Channel.ANSWER:
            self._say(said)
            return
        if self._thinking is not phase:
            said = said.lstrip()
            if not said:
                return
            self._blanks[channel] = "\n"  # between the thoughts of two phases
            self._thinking = phase
        self._show(channel, said)

    def _say(self, text: str) -> None:
        self._show_all([text] if self._reader is None else self._reader.feed(text))

    def _show_all(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                self._show(Channel.ANSWER, piece)
            else:
                self._outbox.put_call(piece)

    def _show(self, channel: Channel, text: str) -> None:
        """Blanks at its end wait for what follows: where nothing does, they are not shown."""
        if self._verbatim and channel is Channel.ANSWER:
            self._outbox.put(channel, text)
            return
        shown = text.rstrip()
        if not shown:
            self._blanks[channel] += text
            return
        before = self._blanks[channel] if channel in self._begun else ""
        self._begun.add(channel)
        self._blanks[channel] = text[len(shown) :]
        self._outbox.put(channel, before + shown)

    def _may_show(self, channel: Channel) -> bool:
        with self._lock:
            if not self._hushed and channel is Channel.ANSWER:
                self.has_answered = True
            return not self._hushed

    def hush(self) -> bool:
        """Shows nothing more of what is being written; another answer comes in one piece. False:
        the answer has begun to appear, and goes on.
        """
        with self._lock:
            self._hushed = not self.has_answered
            return self._hushed

    def put_answer(self, answer: str) -> None:
        """What was not streamed comes in one piece: a draft that was kept, the winner of a vote.
        Nothing follows."""
        if not self._outbox.streams:
            return
        if answer and not self.has_answered:
            self._say(answer)
        if self._reader is not None:
            self._show_all(self._reader.finish())
