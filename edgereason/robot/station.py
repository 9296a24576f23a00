"""A model that a robot can rely on: deadlines by the asker's clock, opened anew if it fails.

    with Station(lambda: Reasoner.open("smollm2-135m")) as station:
        running = station.submit(request, age_ms=12.0)      # asked 12 ms ago: the deadline counts
        running.progress()                                  # text so far, best answer, time left
        outcome = running.outcome()                         # never raises

Nodes of ROS 2 and loops over sockets are thin: what they have in common is here. Knows no messages
and no executor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Final

from edgereason.errors import EdgereasonError, EngineError, UsageError
from edgereason.records import Answer, Channel, Energy, Request, StopReason
from edgereason.runtime.reasoner import Handle, Reasoner
from edgereason.runtime.report import best_so_far


class State(Enum):
    """Whether questions can be asked."""

    CLOSED = "closed"
    READY = "ready"
    FAILED = "failed"  # the engine is broken; questions are turned down at once
    STALLED = "stalled"  # it makes no step, though there is work; the same
    OPENING = "opening"  # after a failure


_OPEN: Final = (State.READY, State.STALLED)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a request has said so far.

    Attributes:
        best: what the answer would be if it had to be given now: what is written of it, else the
            last draft or probe; "" where there is none.
        left_ms: until its deadline; None where it has none.
        changed: there is new text since the last time.
    """

    reasoning: str
    answer: str
    best: str
    left_ms: float | None
    changed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. Exactly one of `answer` and `error` is there.

    Attributes:
        late_ms: after its deadline, counted from when it was asked, not from when it arrived.
    """

    answer: Answer | None = None
    error: EdgereasonError | None = None
    late_ms: float = 0.0


@dataclass(slots=True)
class Health:
    """What a station has seen since it was started. Every request is in one of the last five."""

    state: State = State.CLOSED
    reason: str = ""  # of a failure, or a stall
    num_restarts: int = 0
    num_asked: int = 0
    num_running: int = 0
    num_answered: int = 0
    num_cancelled: int = 0
    num_refused: int = 0  # they could not have been in time, or there were too many
    num_failed: int = 0
    num_late: int = 0  # of the answered
    most_late_ms: float = 0.0
    energy: Energy | None = None  # of the last answer; None: there is no meter

    @property
    def late_share(self) -> float:
        return self.num_late / self.num_answered if self.num_answered else 0.0


class Running:
    """A request on its way. `progress` is for one reader."""

    def __init__(self, handle: Handle, due: float | None, ended: Callable[[Outcome], None]) -> None:
        self._handle = handle
        self._due = due  # time.monotonic()
        self._texts = {Channel.REASONING: "", Channel.ANSWER: ""}
        self._outcome: Future[Outcome] = Future()
        self._ended = ended
        handle.future.add_done_callback(self._done)

    def _done(self, future: Future[Answer]) -> None:
        error = future.exception()
        if isinstance(error, EdgereasonError):
            outcome = Outcome(error=error)
        elif error is not None:
            outcome = Outcome(error=EngineError(f"{type(error).__name__}: {error}"))
        else:
            late_ms = 0.0 if self._due is None else 1000 * (time.monotonic() - self._due)
            outcome = Outcome(answer=future.result(), late_ms=max(0.0, late_ms))
        self._ended(outcome)
        self._outcome.set_result(outcome)

    def progress(self) -> Progress:
        """Without waiting."""
        changed, outbox = False, self._handle.readable
        while (chunk := outbox.poll()) is not None:
            self._texts[chunk.channel] += chunk.text
            changed = True
        left_ms = None if self._due is None else max(0.0, 1000 * (self._due - time.monotonic()))
        answer = self._texts[Channel.ANSWER]
        best = answer.strip() or self._draft()
        return Progress(self._texts[Channel.REASONING], answer, best, left_ms, changed)

    def _draft(self) -> str:
        """The newest draft, or probe, of any line of thought."""
        for results in reversed(self._handle.chains):
            probe = next((result.probe for result in reversed(results) if result.probe), "")
            if draft := best_so_far(results).strip() or probe:
                return draft
        return ""

    def cancel(self) -> None:
        self._handle.cancel()

    def stop_thinking(self) -> None:
        self._handle.stop_thinking()

    def outcome(self, timeout: float | None = None) -> Outcome:
        """Waits for it; `timeout` in seconds, then `TimeoutError`."""
        return self._outcome.result(timeout)

    @property
    def outcome_is_there(self) -> bool:
        return self._outcome.done()

    def add_done_callback(self, call: Callable[[Outcome], None]) -> None:
        """`call` runs on a thread of the runtime, or here where it is over. It must not block."""
        self._outcome.add_done_callback(lambda future: call(future.result()))


class Station:
    """One model, opened by `open_model`, that is opened again when its engine has failed.

    Args:
        stall_s: a model that has made no step for so long, though something was asked, is stalled.
            More than its longest step takes: that of a prompt nobody waits behind is not cut.
    """

    def __init__(self, open_model: Callable[[], Reasoner], stall_s: float = 30.0) -> None:
        if stall_s <= 0:
            raise UsageError(f"stall_s must be more than 0, got {stall_s:g}")
        self._open_model = open_model
        self._stall_s = stall_s
        self._num_steps = 0
        self._moved_at = 0.0  # time.monotonic(): its last step, or with nothing to do
        self._lock = threading.Lock()  # of the next two
        self._reasoner: Reasoner | None = None
        self._health = Health()
        self._opener: threading.Thread | None = None

    @property
    def health(self) -> Health:
        """As it is now; a copy."""
        with self._lock:
            return replace(self._health)

    @property
    def reasoner(self) -> Reasoner | None:
        """For its figures; None where none is open."""
        return self._reasoner

    def start(self) -> None:
        """Opens the model, and asks it something: the first question would wait, seconds on a busy
        machine, for the process that renders templates. Raises what `open_model` raises.
        """
        reasoner = self._opened()
        with self._lock:
            self._reasoner, self._health = reasoner, Health(State.READY)

    def _opened(self) -> Reasoner:
        reasoner = self._open_model()
        try:
            reasoner.ask("Hello.", strategy="no-think", answer_budget=1)
        except BaseException:
            reasoner.close()
            raise
        return reasoner

    def stop(self) -> None:
        """Ends what runs and closes the model. Started anew, it counts from zero."""
        with self._lock:
            reasoner, self._reasoner = self._reasoner, None
            self._health.state = State.CLOSED
            opener = self._opener
        if opener is not None:
            opener.join()
        if reasoner is not None:
            reasoner.close()

    def submit(self, request: Request, age_ms: float = 0.0) -> Running:
        """Starts a request that was asked `age_ms` milliseconds ago: its deadline counts from then.

        Raises `EdgereasonError` at once where it cannot be answered: its deadline is over, the
        model is not open, the request makes no sense.
        """
        due = None
        deadline_ms = request.budget.deadline_ms
        try:
            reasoner = self._ready()
            if deadline_ms is not None:
                left_ms = deadline_ms - max(0.0, age_ms)
                if left_ms <= 0:
                    raise EdgereasonError(
                        f"the deadline of {deadline_ms:g} ms was over when the question arrived, "
                        f"{age_ms:.0f} ms after it was asked",
                        "compare the clocks of both machines, or ask with more time",
                    )
                due = time.monotonic() + left_ms / 1000
                request = replace(request, budget=replace(request.budget, deadline_ms=left_ms))
            handle = reasoner.submit_soon(request, stream=True)
        except EdgereasonError:
            self._refused()
            raise
        with self._lock:
            health = self._health
            health.num_asked += 1
            health.num_running += 1
        return Running(handle, due, partial(self._ended, health))

    def _ready(self) -> Reasoner:
        with self._lock:
            if self._reasoner is None or self._health.state is not State.READY:
                why = f": {self._health.reason}" if self._health.reason else ""
                raise EngineError(f"the model is {self._health.state.value}{why}")
            return self._reasoner

    def _refused(self) -> None:
        with self._lock:
            self._health.num_asked += 1
            self._health.num_refused += 1

    def _ended(self, health: Health, outcome: Outcome) -> None:
        with self._lock:
            health.num_running -= 1
            if outcome.answer is None:
                health.num_failed += 1
                if isinstance(outcome.error, EngineError) and health.state in _OPEN:
                    health.state, health.reason = State.FAILED, str(outcome.error)
            elif outcome.answer.finish is StopReason.CANCELLED:
                health.num_cancelled += 1
            elif outcome.answer.finish is StopReason.REFUSED:
                health.num_refused += 1
            else:
                health.num_answered += 1
                health.energy = outcome.answer.energy
                health.num_late += outcome.late_ms > 0
                health.most_late_ms = max(health.most_late_ms, outcome.late_ms)

    def watch(self) -> State:
        """To be called now and then. A model that has failed is opened anew, on a thread of its
        own; one that is stalled turns questions down until it makes a step.
        """
        self._look()
        with self._lock:
            if self._health.state is State.FAILED:
                self._health.state = State.OPENING
                self._opener = threading.Thread(target=self._reopen, name="edgereason-reopen")
                self._opener.start()
            return self._health.state

    def _look(self) -> None:
        reasoner = self._reasoner
        if reasoner is None or reasoner.closed:
            return
        num_steps, now = reasoner.stats()["num_steps"], time.monotonic()
        with self._lock:
            health = self._health
            if num_steps != self._num_steps or health.num_running == 0:
                self._num_steps, self._moved_at = num_steps, now
                if health.state is State.STALLED:
                    health.state, health.reason = State.READY, ""
            elif now - self._moved_at > self._stall_s and health.state in _OPEN:
                health.state = State.STALLED
                health.reason = f"no step for {now - self._moved_at:.0f} s"

    def _reopen(self) -> None:
        with self._lock:
            broken, self._reasoner = self._reasoner, None
        if broken is not None:
            broken.close()
        try:
            reasoner = self._opened()
        except EdgereasonError as error:
            with self._lock:
                if self._health.state is State.OPENING:
                    self._health.state, self._health.reason = State.FAILED, str(error)
            return
        with self._lock:
            if self._health.state is State.OPENING:
                self._reasoner, self._health.state = reasoner, State.READY
                self._health.reason = ""
                self._health.num_restarts += 1
                return
        reasoner.close()  # stopped meanwhile

    def __enter__(self) -> Station:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
