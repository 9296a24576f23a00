"""Drives the requests of an open model: hands their phases to the core, and the results back.

    driver = Driver(core, tokenizer, lengths, sink, grammars=grammars, owner=reasoner)
    ticket = driver.ticket(request, ...)
    driver.start(ticket, begin)     # `begin` makes the strategy's generator; raises what it raises
    ticket.outbox.future.result()

The way of a request:

1. `start` runs the strategy up to its first phase, on the caller's thread. `start_soon` does so on
   the request's lane: see `workers.py`.
2. The core runs the phase, and those that follow by themselves. The driver's one thread takes the
   events of all requests: text goes into the request's outbox (`stream.py`), results to its line.
3. When the chain has ended, the lane sends the last result into the strategy (`lines.py`), which
   yields the next phase or returns the answer.
4. The answer resolves the future.

What is not ours (strategies, templates, sinks, callbacks) never runs on the driver's thread, and
never while a lock is held. What it raises ends its own request.

A driver ends when it is closed, or when its owner is gone and the last request has ended, or with
the program (`lifetime.py`).
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgereason.errors import EdgereasonError, EngineError, MemoryLimitError
from edgereason.planning import energy
from edgereason.prompt.lowering import Tokenizer
from edgereason.records import Channel, Phase, PhaseResult, Request, StopReason
from edgereason.runtime import lifetime
from edgereason.runtime.backlog import DEFAULT_MOST, Backlog
from edgereason.runtime.grammars import Grammars
from edgereason.runtime.kv_store import KvStore
from edgereason.runtime.lengths import AnswerLengths
from edgereason.runtime.lines import Line, Ticket, Tree
from edgereason.runtime.monitor import Monitor, Watch
from edgereason.runtime.stream import CallbackOutbox, OnChunk, Outbox
from edgereason.runtime.trace import Sink, Tracer
from edgereason.runtime.workers import Lane, Workers, contained
from edgereason.strategies.base import Steps

if TYPE_CHECKING:
    from edgereason._core import Scheduler

_TAKE_MS = 200.0
_SAVE_AFTER_S = 30.0  # of quiet, before what is parked is written to disk


class Driver:
    """Owns the thread that waits for the core. `_lock` guards `_tickets`, `_backlog` and
    `_closed`.
    """

    def __init__(
        self,
        core: Scheduler,
        tokenizer: Tokenizer,
        lengths: AnswerLengths,
        sink: Sink | None = None,
        most_requests: int = DEFAULT_MOST,
        *,
        grammars: Grammars,
        monitor: Monitor | None = None,
        owner: object,
        store: KvStore | None = None,
    ) -> None:
        self._backlog = Backlog(most_requests)
        self._core = core
        self._owner = weakref.ref(owner)
        self.left_behind = False  # this is the child of a fork, and the threads are in the parent
        self._sink = sink
        self._monitor = monitor
        self._lengths = lengths
        self._workers = Workers("edgereason-worker")
        self._lines: dict[int, Line] = {}  # those that the core knows; one key at a time is touched
        self._store = store
        self._tree = Tree(
            core,
            tokenizer,
            lengths.kind,
            self._lines,
            _weak(self._settle),
            grammars=grammars,
            fetch=None if store is None else _weak(self._fetch),
        )
        self._unsaved_since = math.inf  # when KV was parked that is on no disk; monotonic seconds
        self._lock = threading.Lock()
        self._ending = threading.Lock()  # one thread stops the core, others wait for that
        self._tickets: set[Ticket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="edgereason-driver", daemon=True)
        self._thread.start()
        energy.watch()
        lifetime.opened(self)

    # -- any thread --------------------------------------------------------------------------------

    def ticket(
        self,
        request: Request,
        *,
        model: str,
        arrival_ms: float,
        streams: bool = False,
        on_chunk: OnChunk | None = None,
    ) -> Ticket:
        lane = Lane(self._workers)
        if on_chunk is None:
            outbox = Outbox(streams=streams)
        else:
            fail = _weak(self._fail_soon)
            outbox = CallbackOutbox(
                on_chunk, Lane(self._workers), lambda error: fail(ticket, error)
            )
        deadline_ms = request.budget.deadline_ms
        ticket = Ticket(
            request=request,
            strategy=request.strategy.replace("_", "-"),
            model=model,
            arrival_ms=arrival_ms,
            due_ms=None if deadline_ms is None else arrival_ms + deadline_ms,
            outbox=outbox,
            lane=lane,
            tracer=Tracer(self._sink, _weak(self._now_ms)),
            is_alone=_weak(self._is_alone),
            meter=energy.meter(),
            watch=Watch(self._monitor) if self._monitor else None,
        )
        return ticket

    def start(self, ticket: Ticket, begin: Callable[[], Steps]) -> None:
        """Starts a request. What is wrong with its first phase is raised here, before any token."""
        self._admit(ticket)
        with ticket.lane.held():
            try:
                self._tree.begin(ticket, begin())
            except BaseException as error:
                if self._settle(ticket):
                    self._clean_up(ticket, error)
                raise

    def start_soon(self, ticket: Ticket, begin: Callable[[], Steps]) -> None:
        """The same without waiting; what is wrong with the first phase ends the request."""
        self._admit(ticket)
        self._on_lane(ticket, lambda: self._tree.begin(ticket, begin()))

    def cancel(self, ticket: Ticket) -> None:
        self.check_here()
        with ticket.lock:
            ticket.cancelled = True
            for line in ticket.open_lines:
                self._core.cancel(line.id)

    def stop_thinking(self, ticket: Ticket) -> None:
        self.check_here()
        with ticket.lock:
            ticket.interrupted = True
            for line in ticket.open_lines:
                self._core.stop_thinking(line.id)

    def close(self) -> None:
        """Ends what runs, with an error, the thread and the core."""
        if self.left_behind:
            return
        with self._lock:
            tickets = [] if self._closed else list(self._tickets)
            self._closed = True
        for ticket in tickets:
            error = EngineError("the model was closed while this request ran")
            if self._settle(ticket):
                # A strategy or a callback may take long, or hang: nobody waits for that.
                ticket.lane.add(partial(self._clean_up, ticket, error))
                self._workers.run(partial(ticket.outbox.abort, error))
        if threading.current_thread() is not self._thread:
            self._thread.join()
        with self._ending:
            self._save()
            self._workers.close()
            self._core.stop()
            self._lengths.save()
        lifetime.ended(self)

    @property
    def closed(self) -> bool:
        return self._closed

    def check_here(self) -> None:
        """Raises where nobody would ever answer."""
        if self.left_behind:
            raise EngineError(
                "this model was opened before the process was forked, and runs in the parent only",
                "open it in the child, or start children with multiprocessing's `spawn`",
            )

    def _admit(self, ticket: Ticket) -> None:
        self.check_here()
        with self._lock:
            if self._closed:
                raise EngineError("this model is closed", "open it again with Reasoner.open")
            self._backlog.enter(self._core.now_ms())
            self._tickets.add(ticket)
        if ticket.meter is not None:
            ticket.meter.start()

    # -- the driver's thread -----------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._closed:
            self._take()
            if time.monotonic() - self._unsaved_since > _SAVE_AFTER_S and not self._tickets:
                self._unsaved_since = math.inf
                self._workers.run(self._save)
            if self._owner() is None and not self._tickets:
                self.close()  # nobody is left who could ask

    def _take(self) -> None:
        for id_, kind, detail, value in self._core.take(_TAKE_MS):
            line = self._lines.get(id_)
            if line is not None:
                contained(self._handle, line, kind, detail, value)

    def _is_alone(self) -> bool:
        """No more than one request is on its way."""
        return len(self._tickets) <= 1

    def _fetch(self, tokens: Sequence[int]) -> None:
        if self._store is not None:
            self._store.fetch(tokens, alone=self._is_alone())

    def _save(self) -> None:
        if self._store is not None:
            contained(self._store.save)

    def _handle(self, line: Line, kind: str, detail: Any, value: Any) -> None:
        try:
            if kind == "text":
                self._on_text(line, Channel(detail), value)
            elif kind == "phase":
                self._on_phase(line, last=detail, fields=value)
            else:
                self._fail_soon(line.ticket, _failure(detail, value))
        except BaseException as error:
            self._fail_soon(line.ticket, error)

    def _on_text(self, line: Line, channel: Channel, text: bytes) -> None:
        line.shown[channel] = line.shown.get(channel, 0) + len(text)
        self._show(line, line.chain[0], channel, text)

    def _show(self, line: Line, phase: Phase, channel: Channel, text: bytes) -> None:
        ticket = line.ticket
        if line.streams:  # of all lines of a request one at most
            ticket.shaper.put(phase, channel, text)
        if (
            ticket.watch
            and channel is Channel.REASONING
            and text
            and ticket.watch.add(line.id, text)
        ):
            self._on_lane(ticket, partial(self._watched, ticket))

    def _watched(self, ticket: Ticket) -> None:
        if ticket.watch and ticket.watch.look():
            self.cancel(ticket)

    def _on_phase(self, line: Line, *, last: bool, fields: dict[str, Any]) -> None:
        ticket = line.ticket
        phase = line.chain.pop(0)
        if line.streams or ticket.watch:
            # Text that was held back, or found the ring full, is shown when its phase ends.
            own, other = fields["text"], fields["reasoning"]
            thoughts, answer = (own, b"") if phase.channel is Channel.REASONING else (other, own)
            for channel, text in ((Channel.REASONING, thoughts), (Channel.ANSWER, answer)):
                self._show(line, phase, channel, text[line.shown.get(channel, 0) :])
        line.shown.clear()
        result = _phase_result(phase, fields)
        line.results.append(result)
        if last or ticket.tracer.is_on:
            self._on_lane(ticket, partial(self._phase_ended, line, result, last))

    # -- the lane of a ticket ----------------------------------------------------------------------

    def _on_lane(self, ticket: Ticket, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                if not ticket.ended:
                    work()
            except BaseException as error:
                self._fail(ticket, error)

        ticket.lane.add(guarded)

    def _phase_ended(self, line: Line, result: PhaseResult, last: bool) -> None:
        ticket = line.ticket
        ticket.tracer.tell_phase(ticket.lines[0].id, ticket.lines.index(line), result)
        if last:
            self._tree.chain_ended(line)

    def _now_ms(self) -> float:
        return self._core.now_ms()

    def _fail_soon(self, ticket: Ticket, error: BaseException) -> None:
        """For threads that must not wait for the lane."""
        ticket.lane.add(partial(self._fail, ticket, error))

    def _fail(self, ticket: Ticket, error: BaseException) -> None:
        if self._settle(ticket):
            self._clean_up(ticket, error)
            ticket.outbox.end(error)

    def _settle(self, ticket: Ticket) -> bool:
        """Ends a ticket and frees what it has in the core. False: it was ended before."""
        with ticket.lock:
            if ticket.ended:
                return False
            ticket.ended = True
            if ticket.meter is not None:
                ticket.meter.stop()  # where no answer came of it
            for line in ticket.lines:
                if self._lines.pop(line.id, None) is not None:
                    self._core.close(line.id, park=line.is_parked)
        with self._lock:
            if ticket.request.keep:
                self._unsaved_since = time.monotonic()
            self._tickets.discard(ticket)
            self._backlog.leave(self._core.now_ms())
        return True

    def _clean_up(self, ticket: Ticket, error: BaseException) -> None:
        """After a failure: ends the generators, and the trace. Further errors are only logged."""
        for line in ticket.open_lines:
            line.done = True
            contained(line.steps.close)
        if ticket.lines:
            request, name = ticket.lines[0].id, type(error).__name__
            contained(lambda: ticket.tracer.tell("request_end", request, error=name))


def _weak(method: Callable[..., Any]) -> Callable[..., Any]:
    """A call of it for what the driver holds, or a request does: a strong one would hold the model
    after its last user is gone, until the garbage collector comes by. None once that is so."""
    weak = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        found = weak()
        return None if found is None else found(*arguments)

    return call


def _failure(kind: str, message: str) -> EdgereasonError:
    if kind == "memory":
        return MemoryLimitError(message, "ask for fewer tokens, or open a smaller context")
    return EngineError(message, "the model is damaged" if kind == "numbers" else "")


def _phase_result(phase: Phase, fields: dict[str, Any]) -> PhaseResult:
    texts = {
        key: None if fields[key] is None else fields[key].decode(errors="replace")
        for key in ("text", "reasoning", "probe")
    }
    reason = StopReason(fields["reason"])
    thinks = phase.channel is Channel.REASONING
    marks = (*phase.shut, *phase.call) if thinks else phase.stop
    mark = marks[fields["mark"]] if fields["mark"] >= 0 else ""
    known = {**fields, **texts, "reason": reason, "mark": mark}
    return PhaseResult(name=phase.name, role=phase.role, budget=phase.budget, **known)
