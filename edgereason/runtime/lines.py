"""A request on its way: a ticket, and its tree of lines of thought.

    ticket                      what was asked, who waits for it
      line 0   the strategy     its generator, and the sequence of the core that runs its phases
        line 1   a child        one for each child of a `Fork`
        line 2   a child

A line is either in the core, which runs the chain of phases it was given, or in Python, where its
strategy decides what comes next. What happens in Python happens on the ticket's lane, one thing
after another, so that the tree needs no lock. Knows strategies only as generators.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgereason.errors import EngineError
from edgereason.planning.energy import Meter
from edgereason.prompt.lowering import CorePhase, Tokenizer, chain_of, lower
from edgereason.prompt.tool_reader import CallReader
from edgereason.prompt.tools import ToolFormat, opening_of
from edgereason.records import (
    Answer,
    ChainReport,
    Channel,
    Phase,
    PhaseResult,
    Request,
    StopReason,
)
from edgereason.runtime.database import run_query
from edgereason.runtime.grammars import Grammars
from edgereason.runtime.monitor import STOPPED, Watch
from edgereason.runtime.prefixes import LoadedPrefix
from edgereason.runtime.report import (
    best_so_far,
    chain_report,
    energy_of,
    final_answer,
    line_answer,
    with_calls,
)
from edgereason.runtime.sandbox import run_program
from edgereason.runtime.stream import Outbox, Shaper
from edgereason.runtime.trace import Tracer
from edgereason.runtime.workers import Lane
from edgereason.strategies.base import Call, Fork, Query, Returned, Steps

if TYPE_CHECKING:
    from edgereason._core import Scheduler


@dataclass(eq=False)
class Line:
    """One line of thought. While it is `busy` the driver's thread alone changes `chain`, `results`
    and `shown`, otherwise the ticket's lane.
    """

    ticket: Ticket
    steps: Steps
    id: int = 0
    parent: Line | None = None
    index: int = 0  # among the parent's children
    chain: list[Phase] = field(default_factory=list)  # phases that the core still runs
    results: list[PhaseResult] = field(default_factory=list)
    children: list[Line] = field(default_factory=list)
    fork: Fork | None = None
    answers: list[Answer | None] = field(default_factory=list)
    done: bool = False  # its strategy is over
    streams: bool = False  # its text is the request's, shown as it appears
    busy: bool = False  # the core runs a chain of it, or the lane has yet to hear how that ended
    reads: bool = False  # a prompt of its own, and not only what its parent had read
    shown: dict[Channel, int] = field(default_factory=dict)  # bytes of the running phase shown
    answer: Answer | None = None  # what it came to; None: it was given up

    @property
    def is_parked(self) -> bool:
        """At its end its KV is kept, for a later request whose prompt begins like it. Of several
        children the first is enough.
        """
        is_first = self.parent is None or (self.reads and self.index == 0)
        return self.ticket.request.keep and is_first


@dataclass(eq=False)
class Ticket:
    """A request on its way. `lock` guards the three flags and the list of lines. It is held for a
    moment only, never while a strategy or a callback runs. A signal handler may cancel in the
    middle of that moment, hence an RLock.
    """

    request: Request
    strategy: str
    model: str
    arrival_ms: float
    due_ms: float | None  # when the answer must be there, on the core's clock
    outbox: Outbox
    lane: Lane
    tracer: Tracer
    is_alone: Callable[[], bool] = lambda: True  # no other request is on its way
    watch: Watch | None = None  # of a model that is opened with a monitor
    prefix: LoadedPrefix | None = None  # what every prompt stands behind
    shortest: str = ""  # of its grammar: the answer where none could be begun
    context_key: int = 0  # of the adapters that are in force
    lock: threading.RLock = field(default_factory=threading.RLock)
    lines: list[Line] = field(default_factory=list)
    cancelled: bool = False
    interrupted: bool = False  # stop_thinking was called
    ended: bool = False  # its outcome is settled
    silenced: bool = False  # the conversation switched off the thinking that was asked for
    meter: Meter | None = None  # None: the machine has none
    answer: Answer | None = None  # the strategy's, while lines that it gave up still report
    starting: list[tuple[Line, list[CorePhase]]] = field(default_factory=list)
    form: ToolFormat | None = None  # how calls of functions are read out of the answer
    verbatim: bool = False  # blanks at the ends of the answer are part of it
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    shaper: Shaper = field(init=False)

    def __post_init__(self) -> None:
        self.shaper = Shaper(self.outbox)

    def reads(self, form: ToolFormat | None, *, verbatim: bool) -> None:
        """How the text of its answer is read, before any."""
        self.form, self.verbatim = form, verbatim
        self.shaper.reads(self.reader(), verbatim=verbatim)

    def reader(self) -> CallReader | None:
        """What reads calls, the same ones each time; None where there are no tools."""
        tools = self.request.tools
        if self.form is None or tools is None:
            return None
        stem = f"call_{self.id[:16]}"
        return CallReader(self.form, tools, opening=opening_of(self.form, tools), stem=stem)

    def silence(self) -> None:
        self.silenced = True

    @property
    def open_lines(self) -> Iterator[Line]:
        return (line for line in self.lines if not line.done)


class Tree:
    """Moves tickets on. Every method runs on the ticket's lane, and lets errors of strategies
    through. `settle` ends a ticket once, whoever comes first; False: it was ended before.
    """

    def __init__(
        self,
        core: Scheduler,
        tokenizer: Tokenizer,
        kind_of: Callable[[str, str], int],
        lines: dict[int, Line],
        settle: Callable[[Ticket], bool],
        *,
        grammars: Grammars,
        fetch: Callable[[Sequence[int]], object] | None = None,
    ) -> None:
        self._core = core
        self._tokenizer = tokenizer
        self._kind_of = kind_of  # strategy, phase -> a number for answers of like length
        self._grammars = grammars
        self._lines = lines  # those that the core knows
        self._settle = settle
        self._fetch = fetch  # of KV on disk, for a prompt that is about to be read

    def begin(self, ticket: Ticket, steps: Steps) -> None:
        line = self._open(ticket, steps)
        ticket.tracer.tell(
            "request_start",
            line.id,
            strategy=ticket.strategy,
            priority=ticket.request.priority,
            arrival_ms=ticket.arrival_ms,
            deadline_ms=ticket.due_ms,
        )
        self._advance(line, None)
        self._start(ticket)

    def chain_ended(self, line: Line) -> None:
        """The core has run the chain of `line`, or gave it up."""
        line.busy = False
        cut_short, line.chain = line.chain, []
        result = line.results[-1]
        if line.done:  # abandoned by its parent: only its figures were awaited
            self._close(line)
            self._complete(line.ticket)
        elif line.ticket.cancelled:
            self._return(line, Answer(best_so_far(line.results)))
        elif result.reason is StopReason.REFUSED:
            self._return(line, Answer("", finish=StopReason.REFUSED))
        elif cut_short:
            # No time or room was left for the rest of the chain, which had no say.
            last = cut_short[-1]
            self._advance(line, replace(result, name=last.name, role=last.role, text=""))
        else:
            self._advance(line, result)
        self._start(line.ticket)

    # -- one line ----------------------------------------------------------------------------------

    def _open(
        self, ticket: Ticket, steps: Steps, parent: Line | None = None, index: int = 0
    ) -> Line:
        is_shown = parent is None or (
            parent.streams and parent.fork is not None and parent.fork.shown == index
        )
        line = Line(ticket, steps, parent=parent, index=index, streams=is_shown)
        with ticket.lock:
            if ticket.ended:
                raise EngineError("the model was closed while this request began")
            line.id = self._core.open(
                priority=ticket.request.priority,
                arrival_ms=ticket.arrival_ms,
                deadline_ms=float("inf") if ticket.due_ms is None else ticket.due_ms,
                think_budget=ticket.request.budget.think_tokens,
                stream=(ticket.outbox.streams and line.streams) or ticket.watch is not None,
                prefix=ticket.prefix.id if ticket.prefix else 0,
                context_key=ticket.context_key,
            )
            self._lines[line.id] = line
            ticket.lines.append(line)
            if ticket.interrupted:
                self._core.stop_thinking(line.id)
        return line

    def _advance(self, line: Line, value: Any) -> None:
        """Sends `value` into the strategy and prepares what it yields."""
        try:
            step = line.steps.send(value)
            while isinstance(step, Call | Query):
                step = line.steps.send(self._called(line.ticket, step))
        except StopIteration as stop:
            self._return(line, stop.value)
            return
        if isinstance(step, Phase):
            line.chain = chain_of(step)
            phases = lower(step, self._tokenizer)
            for phase, lowered in zip(line.chain, phases, strict=True):
                kind = phase.name if phase.grammar is None else f"{phase.name} in a form"
                lowered.kind = self._kind_of(line.ticket.strategy, kind)
                if phase.grammar is not None:
                    lowered.grammar = self._grammars.get(phase.grammar).core
            first = phases[0]
            line.reads = line.reads or first.fresh is not None
            plain = line.ticket.prefix is None and not line.ticket.context_key
            from_disk = self._fetch if plain else None
            if from_disk is not None and first.fresh and not first.score_prompt:
                from_disk(first.fresh)
            line.ticket.starting.append((line, phases))
        else:
            self._fork(line, step)

    def _called(self, ticket: Ticket, call: Call | Query) -> Returned:
        """Waits for a program or a database: on the request's own lane, while the core goes on."""
        left = math.inf  # half of it, so that an answer can follow
        if ticket.due_ms is not None:
            left = (ticket.due_ms - self._core.now_ms()) / 2000
        stopped = lambda: ticket.cancelled or ticket.ended  # noqa: E731  # both take it
        if isinstance(call, Call):
            return run_program(call, stopped, left=left)
        return run_query(call, stopped, left=left)

    def _start(self, ticket: Ticket) -> None:
        """Hands over what was prepared, at once: children of a fork start in the same step."""
        runs = [(line, phases) for line, phases in ticket.starting if not line.done]
        ticket.starting = []
        if not runs:
            return
        with ticket.lock:
            if ticket.ended:
                return
            if not ticket.cancelled:
                for line, _ in runs:
                    line.busy = True
                self._core.run_all([(line.id, phases) for line, phases in runs])
                return
        for line, _ in runs:  # cancelled while the strategy was at work
            line.chain = []
            self._return(line, Answer(best_so_far(line.results)))

    def _close(self, line: Line) -> None:
        self._core.close(line.id, park=line.is_parked)
        self._lines.pop(line.id, None)

    # -- the tree ----------------------------------------------------------------------------------

    def _fork(self, line: Line, fork: Fork) -> None:
        line.fork = fork
        line.answers = [None] * len(fork.children)
        line.children = [
            self._open(line.ticket, steps, line, index) for index, steps in enumerate(fork.children)
        ]
        for child in line.children:
            if not child.done:  # given up already, because enough others answered at once
                self._advance(child, None)
        if not line.children:
            self._advance(line, ())

    def _return(self, line: Line, answer: Answer) -> None:
        """The strategy of `line` is over."""
        line.done = True
        line.steps.close()
        parent = line.parent
        shortest = line.ticket.shortest if parent is None else ""  # no vote is made up
        line.answer = answer = line_answer(
            answer, line.results, shortest, verbatim=line.ticket.verbatim
        )
        if parent is None:
            self._close(line)
            line.ticket.answer = answer
            self._complete(line.ticket)
        elif parent.done or parent.fork is None:
            self._close(line)
        else:
            # A child keeps its KV until all are over. Otherwise the others would take its cells,
            # at a moment that depends on Python. In which cell a token lies changes the last bits
            # of the logits, and so the votes of a repeated run could differ.
            parent.answers[line.index] = answer
            self._child_returned(parent, parent.fork)

    def _child_returned(self, parent: Line, fork: Fork) -> None:
        cancelled = parent.ticket.cancelled
        over = all(child.done for child in parent.children)
        if not over and not cancelled and self._has_enough(parent, fork):
            over = True
            for child in parent.children:
                if not child.done:
                    self._abandon(child)
        if not over:
            return
        parent.fork = None
        for child in parent.children:
            if not child.busy:
                self._close(child)
        if cancelled:
            self._return(parent, next((a for a in parent.answers if a is not None), Answer("")))
        else:
            self._advance(parent, tuple(parent.answers))

    @staticmethod
    def _has_enough(parent: Line, fork: Fork) -> bool:
        """Also sees to it that a child which is shown and given up shows no answer any more."""
        if not fork.enough(tuple(parent.answers)):
            return False
        if fork.shown is None or not parent.streams or parent.children[fork.shown].done:
            return True
        return parent.ticket.shaper.hush()

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

    def _complete(self, ticket: Ticket) -> None:
        """Hands the answer out once no line of the ticket runs any more."""
        if ticket.answer is None or ticket.ended or any(line.busy for line in ticket.lines):
            return
        answer = final_answer(
            ticket.answer,
            [line.results for line in ticket.lines],
            request=ticket.request,
            silenced=ticket.silenced,
            used_ms=self._core.now_ms() - ticket.arrival_ms,
            energy=energy_of(ticket.meter, [r for line in ticket.lines for r in line.results]),
        )
        if ticket.request.explain:
            answer = replace(answer, chains=_chains(ticket.lines))
        if ticket.cancelled:
            answer = replace(answer, finish=StopReason.CANCELLED)
        if ticket.watch and ticket.watch.reason:
            note = STOPPED + ticket.watch.reason
            answer = replace(answer, answer="", candidates=(), confidence=None, note=note)
        ticket.shaper.put_answer(answer.answer)
        if (reader := ticket.reader()) is not None:
            answer = with_calls(answer, reader)
        ticket.tracer.tell(
            "request_end",
            ticket.lines[0].id,
            finish=answer.finish.value,
            reasoning_tokens=answer.usage.reasoning_tokens,
            answer_tokens=answer.usage.answer_tokens,
            total_ms=answer.timings.total_ms,
            late_ms=answer.budget.deadline_ms.late_ms,
        )
        if self._settle(ticket):
            ticket.outbox.end(replace(answer, strategy=ticket.strategy, model=ticket.model))


def _chains(lines: list[Line]) -> tuple[ChainReport, ...]:
    places = {id(line): place for place, line in enumerate(lines)}
    return tuple(
        chain_report(line.answer, line.results, places[id(line.parent)] if line.parent else -1)
        for line in lines
    )
