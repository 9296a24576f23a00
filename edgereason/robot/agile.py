"""AgileThinker for control loops: a planner that never stops, and an answer at every tick.

    with Reasoner.open("smollm2-135m") as reasoner, Agile(reasoner, period_ms=500) as agile:
        act = agile.tick("A wall is ahead. Which way?")     # half a second later at most
        print(act.action, act.age)

The planner thinks about the state of an earlier tick, and goes on across ticks until it is done.
Shortly before a tick is over a reactive pass with a small budget reads the state and what the
planner has thought so far, and answers. It goes before the planner.

AgileThinker: https://arxiv.org/abs/2511.04898. Fast in slow (Nav-R1)
is `plan_ms`: plans are finished at a rate of their own, and the reactive pass reads the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from types import TracebackType
from typing import Final, Protocol

from edgereason.errors import UsageError
from edgereason.grammars import Grammar
from edgereason.records import Answer, Channel, Message, Sampling
from edgereason.runtime.reasoner import Handle, Reasoner

_REACTS_FIRST: Final = 10  # priority of the reactive pass over the planner's
_LEAST_MS: Final = 1.0  # a deadline that is over already


@dataclass(frozen=True, slots=True)
class Thoughts:
    """What a planner has said.

    Attributes:
        tick: when the state that it is about was seen.
        plan: the answer that the thoughts came to, once they are finished.
    """

    text: str = ""
    tick: int = 0
    finished: bool = False
    plan: str = ""


class Thinker(Protocol):
    """What `Agile` needs of a planner."""

    def look(self, state: str, tick: int) -> None:
        """A new state: taken up where nothing is being thought about, else passed by."""
        ...

    def heard(self) -> Thoughts:
        """What can be read now, without waiting."""
        ...

    def close(self) -> None: ...


def messages(rules: str, state: str) -> tuple[Message, ...]:
    """A state as a conversation. `rules` come first, so that all ticks share their KV."""
    told = (Message("system", rules),) if rules else ()
    return (*told, Message("user", state))


class Planner:
    """Thinks about one state at a time, and starts with the newest once it is done.

    Args:
        rules: system message of every request; "" for none.
        task: what is added to the state, such as what a plan looks like.
        think_tokens, answer_tokens: of one plan.
        plan_ms: None: what is being thought is read as it appears. Milliseconds: each plan is
            finished within so much, and the last finished one is read.
        grammar: what a plan, after its thoughts, must look like.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        *,
        rules: str = "",
        task: str = "",
        think_tokens: int = 512,
        answer_tokens: int = 48,
        plan_ms: float | None = None,
        grammar: Grammar | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self._reasoner = reasoner
        self._rules = rules
        self._grammar = grammar
        self._task = task
        self._think_tokens = think_tokens
        self._answer_tokens = answer_tokens
        self._plan_ms = plan_ms
        self._sampling = sampling
        self._handle: Handle | None = None
        self._tick = 0
        self._text = StringIO()
        self._channel = Channel.REASONING
        self._plan = Thoughts()  # the last that was finished

    def look(self, state: str, tick: int) -> None:
        """Raises what ended the plan before, where that was an error."""
        self._read()
        if self._handle is not None:
            return
        self._text, self._channel, self._tick = StringIO(), Channel.REASONING, tick
        self._handle = self._reasoner.stream(
            messages(self._rules, f"{state}\n\n{self._task}" if self._task else state),
            strategy="think",
            think_budget=self._think_tokens,
            answer_budget=self._answer_tokens,
            deadline_ms=self._plan_ms,
            grammar=self._grammar,
            keep=True,  # the reactive pass reads the same rules and state
            sampling=self._sampling,
        )

    def heard(self) -> Thoughts:
        self._read()
        if self._handle is None or self._plan_ms is not None:
            return self._plan
        return Thoughts(self._text.getvalue(), self._tick)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _read(self) -> None:
        """Takes what has appeared; `_handle` is None once that was all."""
        if self._handle is None:
            return
        outbox = self._handle.readable
        while (chunk := outbox.poll()) is not None:
            if chunk.channel is not self._channel:
                self._text.write("\n")
                self._channel = chunk.channel
            self._text.write(chunk.text)
        if outbox.drained:
            handle, self._handle = self._handle, None
            plan = handle.result().answer
            self._plan = Thoughts(self._text.getvalue(), self._tick, finished=True, plan=plan)


class Muted:
    """A planner that says nothing: what is left is the reactive pass."""

    def look(self, state: str, tick: int) -> None:
        pass

    def heard(self) -> Thoughts:
        return Thoughts()

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Act:
    """What came out of one tick.

    Attributes:
        thoughts: what the reactive pass had read; its text is "" where there was nothing.
        age: ticks since the state that they are about.
        late_ms: how long after the end of its period the answer was there.
    """

    answer: Answer
    thoughts: Thoughts
    age: int
    late_ms: float

    @property
    def action(self) -> str:
        return self.answer.answer


class Agile:
    """A planner and a reactive pass over one model.

    Args:
        rules: system message of both; "" for none.
        period_ms: of a tick. None: no clock at all, for tests and games that count tokens.
        react_ms: how long before the end of a tick the reactive pass starts; the planner has the
            rest to itself. Default: half of the period.
        react_tokens, answer_tokens: of the reactive pass.
        grammar: what an action must look like, such as `Grammar.choice("left", "right")`.
        planner: default `Planner(reasoner, rules=rules, plan_ms=plan_ms)`.
        now, sleep: the clock, in seconds.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        *,
        rules: str = "",
        period_ms: float | None = 500.0,
        react_ms: float | None = None,
        react_tokens: int = 32,
        answer_tokens: int = 16,
        plan_ms: float | None = None,
        planner: Thinker | None = None,
        grammar: Grammar | None = None,
        sampling: Sampling | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if period_ms is not None and period_ms <= 0:
            raise UsageError(f"period_ms must be more than 0, got {period_ms:g}")
        if react_ms is not None and not 0 < react_ms <= (period_ms or react_ms):
            raise UsageError(f"react_ms must be in (0, period_ms], got {react_ms:g}")
        self._reasoner = reasoner
        self._rules = rules
        self._period_ms = period_ms
        self._react_ms = react_ms if react_ms is not None else (period_ms or 0.0) / 2
        self._react_tokens = react_tokens
        self._answer_tokens = answer_tokens
        self._planner = planner or Planner(
            reasoner, rules=rules, plan_ms=plan_ms, sampling=sampling
        )
        self._grammar = grammar
        self._sampling = sampling
        self._now = now
        self._sleep = sleep
        self.num_ticks = 0
        self.num_late = 0

    def tick(self, state: str) -> Act:
        """Answers to `state` within a period; waits for that.

        Raises what ended the planner or the reactive pass, where that was an error.
        """
        begin, tick = self._now(), self.num_ticks
        self.num_ticks += 1
        alone_ms = None if self._period_ms is None else self._period_ms - self._react_ms
        if alone_ms is None or alone_ms > 0:
            self._planner.look(state, tick)
            self._sleep((alone_ms or 0.0) / 1000)
        thoughts = self._planner.heard()
        age = tick - thoughts.tick if thoughts.text else 0
        handle = self._react(state, thoughts.text, age, begin)
        if alone_ms is not None and alone_ms <= 0:  # the whole tick is the reactive pass's
            self._planner.look(state, tick)
        answer = handle.result()
        used_ms = 1000 * (self._now() - begin)
        late_ms = 0.0 if self._period_ms is None else max(0.0, used_ms - self._period_ms)
        self.num_late += late_ms > 0
        return Act(answer, thoughts, age, late_ms)

    def _react(self, state: str, thoughts: str, age: int, begin: float) -> Handle:
        left_ms = None
        if self._period_ms is not None:
            left_ms = max(_LEAST_MS, self._period_ms - 1000 * (self._now() - begin))
        return self._reasoner.submit(
            messages(self._rules, state),
            strategy="agile",
            options={"thoughts": thoughts, "age": age},
            think_budget=self._react_tokens,
            answer_budget=self._answer_tokens,
            deadline_ms=left_ms,
            priority=_REACTS_FIRST,
            grammar=self._grammar,
            keep=True,  # the rules, above all, are the same in every tick
            sampling=self._sampling,
        )

    def close(self) -> None:
        """Ends the planner. The model stays open."""
        self._planner.close()

    def __enter__(self) -> Agile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
