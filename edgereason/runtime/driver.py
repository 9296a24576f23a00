"""Drives strategies: hands their phases to the core and the results back, for all requests of an
open model.

One thread waits for events of the core. A request is a tree of lines: the root line runs the
strategy, and each `Fork` adds one line per child. Each line is one sequence of the core. Knows
strategies only as generators.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from edgereason.errors import EngineError
from edgereason.prompt.lowering import CorePhase, Tokenizer, chain_of, lower
from edgereason.records import Answer, Channel, Chunk, Phase, PhaseResult, Request, StopReason
from edgereason.runtime.report import final_answer, line_answer
from edgereason.runtime.trace import Event, Kind, Sink
from edgereason.strategies.base import Fork, Steps

if TYPE_CHECKING:
    from edgereason._core import Scheduler

_CHANNELS = tuple(Channel)
_REASONS = tuple(StopReason)
_TAKE_MS = 200.0


@dataclass(eq=False)
class Line:
    """One chain of thought: a generator and the sequence of the core that runs its phases."""

    job: Job
    steps: Steps
    id: int = 0
    parent: Line | None = None
    index: int = 0  # among the parent's children
    chain: list[Phase] = field(default_factory=list)  # phases that the core still runs
    results: list[PhaseResult] = field(default_factory=list)
    children: list[Line] = field(default_factory=list)
    fork: Fork | None = None
    answers: list[Answer | None] = field(default_factory=list)
    done: bool = False
    busy: bool = False  # the core runs a chain of it
    shown: dict[Channel, int] = field(default_factory=dict)  # bytes of the running phase shown


@dataclass(eq=False)
class Job:
    """A request on its way. `future` gets the answer, `chunks` its text in pieces, then None."""

    request: Request
    strategy: str
    model: str
    arrival_ms: float
    deadline_ms: float | None  # on the core's clock
    streams: bool
    slots: tuple[int, ...] = ()  # of the prefix, in front of every prompt
    future: Future[Answer] = field(default_factory=Future)
    chunks: SimpleQueue[Chunk | None] = field(default_factory=SimpleQueue)
    lines: list[Line] = field(default_factory=list)
    cancelled: bool = False
    has_answered: bool = False  # a piece of the answer was streamed
    thinking: Phase | None = None  # whose thoughts were streamed last, and their last byte
    shown: bytes = b""
    draft: Answer | None = None  # what the strategy returned, while cancelled children still report
    on_chunk: Callable[[Chunk | None], None] | None = None

    def emit(self, chunk: Chunk | None) -> None:
        if self.on_chunk is not None:
            self.on_chunk(chunk)
        else:
            self.chunks.put(chunk)


class Driver:
    """Owns the thread that waits for the core. All state of jobs is guarded by one lock."""

    def __init__(self, core: Scheduler, tokenizer: Tokenizer, sink: Sink | None = None) -> None:
        self._core = core
        self._sink = sink
        self._tokenizer = tokenizer
        self._lock = threading.RLock()
        self._lines: dict[int, Line] = {}
        self._closed = False
        self._starting: list[tuple[int, list[CorePhase]]] = []
        self._thread = threading.Thread(target=self._loop, name="edgereason-driver", daemon=True)
        self._thread.start()

    def submit(self, job: Job, steps: Steps) -> None:
        """Starts a job. What is wrong with its first phase is raised here, before any token."""
        with self._lock:
            if self._closed:
                raise EngineError("this model is closed", "open it again with Reasoner.open")
            job.future.set_running_or_notify_cancel()  # from here on only `cancel` ends it early
            line = self._open(job, steps)
            self._trace(
                "request_start",
                job,
                strategy=job.strategy,
                priority=job.request.priority,
                arrival_ms=job.arrival_ms,
                deadline_ms=job.deadline_ms,
            )
            try:
                self._advance(line, None)
                self._start()
            except BaseException as error:
                self._starting.clear()
                self._close(line)
                self._trace("request_end", job, error=type(error).__name__)
                raise

    def cancel(self, job: Job) -> None:
        with self._lock:
            job.cancelled = True
            for line in job.lines:
                if not line.done:
                    self._core.cancel(line.id)

    def stop_thinking(self, job: Job) -> None:
        with self._lock:
            for line in job.lines:
                if not line.done:
                    self._core.stop_thinking(line.id)

    def close(self) -> None:
        """Cancels what runs and ends the thread. The core is stopped by the caller."""
        with self._lock:
            self._closed = True
            jobs = {id(line.job): line.job for line in self._lines.values()}.values()
            for job in jobs:
                self._fail(job, EngineError("the model was closed while this request ran"))
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the thread --------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._closed:
            for id_, kind, detail, value in self._core.take(_TAKE_MS):
                with self._lock:
                    line = self._lines.get(id_)
                    if line is not None:
                        self._handle(line, kind, detail, value)

    def _handle(self, line: Line, kind: str, detail: Any, value: Any) -> None:
        try:
            if kind == "text":
                self._on_text(line, _CHANNELS[detail], value)
            elif kind == "phase":
                self._on_phase(line, last=detail, fields=value)
            else:
                self._fail(line.job, EngineError(f"the engine failed: {value}"))
            self._start()
        except Exception as error:  # a broken strategy must not take the other requests with it
            self._starting.clear()
            self._fail(line.job, error)

    def _on_text(self, line: Line, channel: Channel, text: bytes) -> None:
        line.shown[channel] = line.shown.get(channel, 0) + len(text)
        self._emit(line, line.chain[0], channel, text)

    def _on_phase(self, line: Line, *, last: bool, fields: dict[str, Any]) -> None:
        phase = line.chain.pop(0)
        # Text that was held back, or found the ring full, is shown when its phase ends.
        reasoning = fields["text"] if phase.channel is Channel.REASONING else fields["reasoning"]
        answer = fields["text"] if phase.channel is Channel.ANSWER else b""
        for channel, text in ((Channel.REASONING, reasoning), (Channel.ANSWER, answer)):
            self._emit(line, phase, channel, text[line.shown.get(channel, 0) :])
        line.shown.clear()
        line.results.append(_phase_result(phase, fields))
        self._trace(
            "phase_end", line.job, chain=line.job.lines.index(line), **_figures(line.results[-1])
        )
        if last:
            self._on_chain_end(line)

    def _on_chain_end(self, line: Line) -> None:
        line.busy = False
        cut_short, line.chain = line.chain, []
        result = line.results[-1]
        if line.done:  # abandoned by its parent: only its figures were awaited
            self._close(line)
            self._complete(line.job)
        elif line.job.cancelled:
            self._return(line, Answer(_best_so_far(line.results)))
        elif cut_short:
            # No time or room was left for the rest of the chain, which had no say.
            self._advance(line, replace(result, name=cut_short[-1].name, text=""))
        else:
            self._advance(line, result)

    def _emit(self, line: Line, phase: Phase, channel: Channel, text: bytes) -> None:
        """Streams text of the request's own chain; not a draft, which may still be thrown away."""
        job = line.job
        if channel is Channel.ANSWER and not job.has_answered:
            text = text.lstrip()  # what an answer begins with, or a turn that became a summary
        if text and job.streams and line.parent is None and not line.done and phase.name != "draft":
            job.has_answered |= channel is Channel.ANSWER
            if channel is Channel.REASONING:
                # Thoughts of several phases are lines of their own, as in the answer's `reasoning`.
                is_next = job.thinking is not None and job.thinking is not phase
                if is_next and b"\n" not in job.shown + text[:1]:
                    text = b"\n" + text
                job.thinking, job.shown = phase, text[-1:]
            job.emit(Chunk(channel, text.decode(errors="replace")))

    # -- lines -------------------------------------------------------------------------------------

    def _open(self, job: Job, steps: Steps, parent: Line | None = None, index: int = 0) -> Line:
        line = Line(job, steps, parent=parent, index=index)
        line.id = self._core.open(
            priority=job.request.priority,
            arrival_ms=job.arrival_ms,
            deadline_ms=float("inf") if job.deadline_ms is None else job.deadline_ms,
            think_budget=job.request.budget.think_tokens,
            stream=job.streams and parent is None,
        )
        self._lines[line.id] = line
        job.lines.append(line)
        return line

    def _advance(self, line: Line, value: Any) -> None:
        """Sends `value` into the strategy and starts what it yields."""
        try:
            step = line.steps.send(value)
        except StopIteration as stop:
            self._return(line, stop.value)
            return
        if isinstance(step, Phase):
            line.chain = chain_of(step)
            line.busy = True
            self._starting.append((line.id, lower(step, self._tokenizer, line.job.slots)))
        else:
            self._fork(line, step)

    def _start(self) -> None:
        """Hands over what `_advance` has prepared: children of a fork start in the same step."""
        if self._starting:
            runs, self._starting = self._starting, []
            self._core.run_all(runs)

    def _fork(self, line: Line, fork: Fork) -> None:
        line.fork = fork
        line.answers = [None] * len(fork.children)
        line.children = [
            self._open(line.job, steps, line, index) for index, steps in enumerate(fork.children)
        ]
        for child in line.children:
            self._advance(child, None)

    def _return(self, line: Line, answer: Answer) -> None:
        """The strategy of `line` is over."""
        line.done = True
        line.steps.close()
        answer = line_answer(answer, line.results)
        parent = line.parent
        if parent is None:
            self._close(line)
            line.job.draft = answer
            self._complete(line.job)
            return
        if parent.done or parent.fork is None:
            self._close(line)
            return
        # A child keeps its KV until all are over. Cells that came free at a moment of Python's
        # would be used by the others, and where a token lies in the KV moves its logits.
        parent.answers[line.index] = answer
        over = all(child.done for child in parent.children)
        if not over and not line.job.cancelled and parent.fork.enough(tuple(parent.answers)):
            over = True
            for child in parent.children:
                if not child.done:
                    self._abandon(child)
        if over:
            parent.fork = None
            for child in parent.children:
                if not child.busy:
                    self._close(child)
            if line.job.cancelled:
                self._return(parent, next((a for a in parent.answers if a is not None), Answer("")))
            else:
                self._advance(parent, tuple(parent.answers))

    def _abandon(self, line: Line) -> None:
        """Cancels a child whose answer is no longer needed; its figures are still counted."""
        line.done = True
        line.steps.close()
        for child in line.children:
            if child.done:
                self._close(child)
            else:
                self._abandon(child)
        if line.busy:
            self._core.cancel(line.id)
        else:
            self._close(line)

    def _close(self, line: Line) -> None:
        park = line.job.request.keep and line.parent is None
        self._core.close(line.id, park=park)
        self._lines.pop(line.id, None)

    def _complete(self, job: Job) -> None:
        """Hands the answer out once no line of the job runs any more."""
        if job.draft is None or any(line.busy for line in job.lines) or job.future.done():
            return
        results = [result for line in job.lines for result in line.results]
        answer = final_answer(
            job.draft,
            results,
            request=job.request,
            num_root=len(job.lines[0].results),
            used_ms=self._core.now_ms() - job.arrival_ms,
            think_used=max(_thinking(line.results) for line in job.lines),
        )
        if job.cancelled:
            answer = replace(answer, finish=StopReason.CANCELLED)
        if job.streams and answer.answer and not job.has_answered:
            # A draft that was kept, the winner of a vote: it comes in one piece.
            job.emit(Chunk(Channel.ANSWER, answer.answer))
        self._trace(
            "request_end",
            job,
            finish=answer.finish.value,
            reasoning_tokens=answer.usage.reasoning_tokens,
            answer_tokens=answer.usage.answer_tokens,
            total_ms=answer.timings.total_ms,
            late_ms=answer.budget.deadline_ms.late_ms,
        )
        job.future.set_result(replace(answer, strategy=job.strategy, model=job.model))
        job.emit(None)

    def _fail(self, job: Job, error: Exception) -> None:
        for line in job.lines:
            if not line.done:
                line.done = True
                with suppress(RuntimeError, ValueError):
                    line.steps.close()
            if line.id in self._lines:
                line.busy = False
                self._close(line)
        if not job.future.done():
            self._trace("request_end", job, error=type(error).__name__)
            job.future.set_exception(error)
        job.emit(None)

    def _trace(self, kind: Kind, job: Job, **data: Any) -> None:
        if self._sink is not None:
            self._sink(Event(kind, job.lines[0].id, self._core.now_ms(), data))


def _figures(result: PhaseResult) -> dict[str, Any]:
    """What a trace says of a phase: all but texts and tokens."""
    return {
        "phase": result.name,
        "reason": result.reason.value,
        "tokens": result.num_tokens,
        "reasoning_tokens": result.num_reasoning,
        "latent_tokens": result.num_latent,
        "prompt_tokens": result.num_prompt,
        "cached_tokens": result.num_cached,
        "cells": result.num_cells,
        "queue_ms": result.queue_ms,
        "prefill_ms": result.prefill_ms,
        "decode_ms": result.decode_ms,
    }


def _phase_result(phase: Phase, fields: dict[str, Any]) -> PhaseResult:
    texts = {
        key: None if fields[key] is None else fields[key].decode(errors="replace")
        for key in ("text", "reasoning", "probe")
    }
    reason = _REASONS[fields["reason"]]
    marks = phase.shut if phase.channel is Channel.REASONING else phase.stop
    mark = marks[fields["mark"]] if fields["mark"] >= 0 else ""
    known = {**fields, **texts, "reason": reason, "mark": mark}
    return PhaseResult(name=phase.name, channel=phase.channel, **known)


def _best_so_far(results: list[PhaseResult]) -> str:
    """What a chain that is cancelled leaves: its answer as far as it got, else its draft."""
    texts = (r.text for r in reversed(results) if r.name in ("answer", "draft"))
    return next(filter(str.strip, texts), "")


def _thinking(results: list[PhaseResult]) -> int:
    return sum(result.num_reasoning for result in results)
