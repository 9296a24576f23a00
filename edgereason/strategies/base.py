"""The contract of a strategy, and the question as a strategy sees it.

A strategy is a module with three names:

    needs = Capability.LOGITS                  # what the engine must be able to do

    @dataclass(frozen=True, slots=True)
    class Config:                              # its options; each becomes `--set name=value`
        waits: int = 2

    def run(turn: Turn, config: Config) -> Steps:
        # the core runs the chain; -> its last PhaseResult
        thought = yield turn.think(then=turn.answer())
        return Answer(thought.text)

`run` is called once per request, before its first token. It yields a `Phase` and is sent the
`PhaseResult` of the last phase of that chain, a `Fork` and is sent the children's answers, or a
`Call` or `Query` and is sent what a program or a database `Returned`. It sees no clock.

More names where they hold, and one name of an option that has a meaning:

    bound_by_context = False                   # its thinking may be longer than the context
    draft = {"rescue": False}                  # it may be a draft of `auto`, with these options
    is_plain = True                            # its answer is `turn.answer()` as it is: it may call
                                               # functions, and be begun by the caller
    verbatim = True                            # blanks at the ends of its answer are part of it
    takes_grammar = False                      # its answer is not what `turn.answer()` said

    of: str = "think"                          # in Config: it runs this strategy, too, whose needs
                                               # it has on top, and whose bound is its own

What is asked of a strategy from outside is asked of a `Chosen`: it knows these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from edgereason import strategies
from edgereason.config import build, fields_of
from edgereason.errors import BundleError, UsageError
from edgereason.grammars import Grammar
from edgereason.models.bundle import Bundle
from edgereason.planning.calibration import Calibration
from edgereason.prompt.chat import Prompt, format_of, thinking_prompt
from edgereason.prompt.tool_grammar import call_grammar
from edgereason.prompt.tools import ToolFormat, opening_of
from edgereason.records import (
    UNLIMITED,
    Answer,
    Budget,
    Capability,
    Loop,
    Message,
    Phase,
    Probe,
    Role,
    Sampling,
    Segment,
    Tools,
)
from edgereason.registry import load


@dataclass(frozen=True, slots=True)
class Fork:
    """Run children side by side; they share the KV of whatever prompt they have in common.

    Attributes:
        children: one generator for each line of thought, as `run` of a strategy returns it.
        enough: asked after each child that finishes, with the answers so far, by child (None: not
            finished). True cancels the rest, whose answers stay None.
        shown: the child whose text is streamed as if it were the request's own. Once its answer has
            begun to appear, nothing is `enough` any more: what was shown cannot be taken back.
    """

    children: tuple[Steps, ...]
    enough: Callable[[Sequence[Answer | None]], bool] = field(default=lambda answers: False)
    shown: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Run a short Python program in a child process with limits; the strategy is sent a `Returned`.

    What the child can and cannot do is told in `runtime/sandbox.py`.

    Attributes:
        source: the program.
        function: the function in it that gives the answer; it takes no arguments. "": the answer is
            what the program prints, or where it prints nothing the value of its last line.
        seconds: at most, of a deadline at most half of what is left of it.
        memory_mib: address space of the child.
    """

    source: str
    function: str = "solution"
    seconds: float = 2.0
    memory_mib: int = 256

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError(f"seconds must be more than 0, got {self.seconds:g}")
        if self.memory_mib < 64:
            raise UsageError(
                f"memory_mib must be 64 or more, got {self.memory_mib}", "Python itself takes 30"
            )


@dataclass(frozen=True, slots=True)
class Query:
    """Ask a SQLite database, read only; the strategy is sent a `Returned`.

    What the database is kept from is told in `runtime/database.py`.

    Attributes:
        database: its file; "" is an empty one, for sums and dates.
        sql: one statement that reads.
        seconds: at most, of a deadline at most half of what is left of it.
        rows: that are given at most.
    """

    database: str
    sql: str
    seconds: float = 2.0
    rows: int = 20


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of a `Call` or a `Query`: the value as text, or why there is none. `was_cut`: the
    request had no time for it, or was cancelled, which says nothing of the call."""

    value: str = ""
    error: str = ""
    was_cut: bool = False


Steps = Generator["Phase | Fork | Call | Query", Any, Answer]


@dataclass(frozen=True, slots=True)
class Turn:
    """One question put to one model: what a strategy builds its phases from."""

    bundle: Bundle
    messages: tuple[Message, ...]
    budget: Budget
    sampling: Sampling
    stop: tuple[str, ...] = ()
    probe_every: int = 0
    loop: Loop | None = field(default_factory=Loop)
    tools: Tools | None = None  # functions that the model may call
    begun: str = ""  # what the answer begins with; it goes on from there
    logprobs: int = -1
    context: int = 0  # tokens that one line of thought may hold, behind any prefix
    count: Callable[[Sequence[Segment]], int] = field(default=lambda segments: 0)  # their tokens
    silenced: Callable[[], None] = field(default=lambda: None)  # called when `is_silenced` is true
    is_alone: Callable[[], bool] = field(default=lambda: True)  # no other request runs now
    calibration: Calibration | None = None  # what was measured of this model's confidence
    grammar: Grammar | None = None  # what the answer must look like
    # The tokens that are one of these words and nothing else.
    words: Callable[[Sequence[str]], tuple[int, ...]] = field(default=lambda words: ())
    # What tokens are as text; None where they end within a character.
    text: Callable[[Sequence[int]], str | None] = field(default=lambda tokens: None)
    _prompts: dict[bool | None, Prompt] = field(default_factory=dict, init=False, compare=False)

    def prompt(self, *, thinking: bool | None) -> tuple[Segment, ...]:
        """The rendered conversation up to where the model goes on; None: as the template has it."""
        return self._rendered(thinking).segments

    def _rendered(self, thinking: bool | None) -> Prompt:
        if thinking not in self._prompts:
            self._prompts[thinking] = thinking_prompt(
                self.bundle,
                self.messages,
                thinking,
                budget=self.budget.think_tokens,
                tools=self.tools.functions if self.tools else None,
            )
        return self._prompts[thinking]

    @property
    def is_silenced(self) -> bool:
        """The conversation itself keeps the model from thinking, with a flag such as `/no_think` in
        its system message: then `direct` is all there is.
        """
        silenced = self._rendered(True).thinking is False
        if silenced:
            self.silenced()
        return silenced

    def think(self, *, then: Phase | None = None) -> Phase:
        """Think from the start of the conversation. Without `then`, the answer is owed by a later
        phase. Where there is nothing to think (not `can_think`), it is `then` alone that begins
        there: a thought of no tokens would be cut, and say nothing to the answer behind it.
        """
        if then is not None and not self.can_think:
            return self.direct(then)
        if then is None and self.is_silenced:
            raise UsageError(
                "this conversation switches the model's thinking off",
                "ask `turn.is_silenced` before `turn.think()`",
            )
        reasoning = self.bundle.reasoning
        return Phase(
            "think",
            Role.THINK,
            fresh=self.prompt(thinking=True),
            budget=self.budget.think_tokens,
            soft=self.budget.soft,
            shut=reasoning.shuts,
            call=self._call_marks,
            close=reasoning.close,
            sampling=self.sampling,
            probe=Probe(self.probe_every, reasoning.probe) if self.probe_every else None,
            loop=self.loop,
            owed=self.budget.answer_tokens if then is None else 0,
            then=then,
        )

    def stretch(self, tokens: int, left: int) -> tuple[Phase, bool]:
        """Thinking of at most so many tokens where `left` are left of the budget, from the start of
        the conversation; and whether it is the last. Only that ends softly, and is shut by the
        core: what is not over goes on.
        """
        phase = self.think()
        if 0 <= left <= tokens:
            return replace(phase, budget=left), True
        return replace(phase, budget=tokens, soft=1.0, close=""), False

    def shut(self) -> Phase:
        """The answer after thoughts that were ended from outside with nothing to shut them."""
        reasoning = self.bundle.reasoning
        return replace(self.answer(), force=reasoning.close + reasoning.answer)

    def answer(self) -> Phase:
        """Answer after thinking. Blocks that the model opens again spend what is left of the
        thinking budget.
        """
        reasoning = self.bundle.reasoning
        return Phase(
            "answer",
            Role.ANSWER,
            force=self._forced(self._answer_lead),
            budget=self.budget.answer_tokens,
            total=self.budget.total_tokens,
            open=reasoning.opens,
            shut=reasoning.shuts if reasoning.opens else (),
            call=self._call_marks if reasoning.opens else (),
            close=reasoning.close if reasoning.opens else "",
            stop=tuple(filter(None, (*self.stop, reasoning.answer_end, self._last_call_end))),
            logprobs=self.logprobs,
            sampling=self.sampling,
            grammar=self.grammar or self._call_grammar,
        )

    def direct(self, answer: Phase | None = None) -> Phase:
        """Answer without thinking, from the start of the conversation."""
        fresh, force = self.prompt(thinking=False), self._forced("")
        return replace(answer or self.answer(), fresh=fresh, force=force)

    @property
    def call_format(self) -> ToolFormat | None:
        """How the model writes calls, where it may call functions."""
        return format_of(self.bundle) if self.tools else None

    @property
    def _call_marks(self) -> tuple[str, ...]:
        return self.call_format.shuts if self.call_format else ()

    @property
    def _answer_lead(self) -> str:
        answer = self.bundle.reasoning.answer
        return self.call_format.answer_lead(answer) if self.call_format else answer

    @property
    def _opening(self) -> str:
        """The beginning of a call that is asked for, put into the model's mouth."""
        return opening_of(self.call_format, self.tools)

    @property
    def _call_grammar(self) -> Grammar | None:
        """Of the call whose beginning is put into the model's mouth."""
        if self.begun:
            return None
        return call_grammar(self.call_format, self.tools, self.bundle.control_tokens)

    def _forced(self, lead: str) -> str | tuple[Segment, ...]:
        """What is put into the model's mouth before its answer: `lead`, and what the caller has
        begun, of which no control token comes, or the beginning of a call that is asked for.
        """
        if self.begun:
            return (Segment(lead), Segment(self.begun, control=False))
        return lead + self._opening

    @property
    def _last_call_end(self) -> str:
        """What ends the answer once it has called one function, where it may call only one."""
        one = self.tools is not None and not self.tools.parallel
        return self.call_format.close.strip() if one and self.call_format else ""

    def prefill(self, *, thinking: bool) -> Phase:
        """Only put the prompt into the KV, for children to share."""
        return Phase("prompt", Role.PREFILL, fresh=self.prompt(thinking=thinking), budget=0)

    def carry(self, name: str, tokens: int, temperature: float) -> Phase:
        """A short text without thinking, for a later thought to be told; it spends that budget."""
        return Phase(
            name,
            Role.CARRY,
            fresh=self.prompt(thinking=False),
            budget=self.at_most(tokens),
            sampling=replace(self.sampling, temperature=temperature),
            loop=self.loop,
            owed=self.budget.answer_tokens,
        )

    def at_most(self, tokens: int) -> int:
        """So many tokens, or as many as the thinking budget has."""
        budget = self.budget.think_tokens
        return tokens if budget == UNLIMITED else min(budget, tokens)

    def reseeded(self, index: int) -> Turn:
        """The same question with another stream of random numbers. Index 0 is this one."""
        seed = (self.sampling.seed + index) % 2**64
        return replace(self, sampling=replace(self.sampling, seed=seed))

    def told(self, instruction: str, before: str = "") -> Turn:
        """The same question with something more said to the model, where the user's part ends; and
        `before` it.
        """
        messages = list(self.messages)
        last = max((i for i, each in enumerate(messages) if each.role == "user"), default=None)
        if last is None:
            raise UsageError("the conversation has no message of the user's to answer")
        content = f"{before}{messages[last].content}\n\n{instruction}"
        messages[last] = replace(messages[last], content=content)
        return replace(self, messages=tuple(messages))

    def spent(self, num_tokens: int) -> Turn:
        """The same question with less to think: these tokens are gone from the budget."""
        budget = self.budget.think_tokens
        left = UNLIMITED if budget == UNLIMITED else max(0, budget - num_tokens)
        return replace(self, budget=replace(self.budget, think_tokens=left))

    def warmed(self, temperature: float) -> Turn:
        """Draws with this temperature where the request's own is 0: equal samples say nothing."""
        if self.sampling.temperature > 0:
            return self
        return replace(self, sampling=replace(self.sampling, temperature=temperature))

    @property
    def can_think(self) -> bool:
        return self.budget.think_tokens != 0 and not self.is_silenced


@dataclass(frozen=True, slots=True)
class Chosen:
    """A strategy with its options."""

    module: ModuleType
    config: Any

    @property
    def needs(self) -> Capability:
        own: Capability = self.module.needs
        return own if self._inner is None else own | self._inner.needs

    @property
    def is_plain(self) -> bool:
        """Its answer is what `turn.answer()` gives: it may call functions, and be begun."""
        return bool(getattr(self.module, "is_plain", False))

    @property
    def verbatim(self) -> bool:
        """Its answer is text as the model wrote it, blanks at its ends included."""
        return bool(getattr(self.module, "verbatim", False))

    @property
    def bound_by_context(self) -> bool:
        """One context holds all of its thinking, and so says how long that may be."""
        own: bool = getattr(self.module, "bound_by_context", True)
        return own and (self._inner is None or self._inner.bound_by_context)

    @property
    def takes_grammar(self) -> bool:
        own: bool = getattr(self.module, "takes_grammar", True)
        return own and (self._inner is None or self._inner.takes_grammar)

    @property
    def _inner(self) -> Chosen | None:
        name = getattr(self.config, "of", None)
        return None if name is None else choose(name)

    def run(self, turn: Turn) -> Steps:
        steps: Steps = self.module.run(turn, self.config)
        return steps


def file_options(name: str) -> tuple[str, ...]:
    """Options of a strategy that name files of this machine: not for requests of strangers."""
    options = fields_of(load(strategies, name).Config)
    return tuple(each.name for each in options if Path in (each.type, *get_args(each.type)))


def choose(
    name: str, options: Mapping[str, Any] | None = None, bundle: Bundle | None = None
) -> Chosen:
    """The strategy of that name with these options, on top of what `bundle` recommends for it.

    Raises `UsageError` where there is no such strategy or option, `BundleError` where the bundle
    recommends one that is not there.
    """
    module, what = load(strategies, name), f"option of {name}"
    asked = dict(options or {})
    names = {key.replace("-", "_") for key in asked}
    told = bundle.recommended.get(name.replace("-", "_"), {}) if bundle else {}
    recommended = {key: value for key, value in told.items() if key not in names}
    try:
        return Chosen(module, build(module.Config, {**recommended, **asked}, what=what))
    except UsageError as error:
        build(module.Config, asked, what=what)  # raises where the bundle is not to blame
        where = bundle.name if bundle else ""
        raise BundleError(f"{where} recommends: {error.message}", error.hint) from None


__all__ = [
    "Call",
    "Chosen",
    "Fork",
    "Query",
    "Returned",
    "Steps",
    "Turn",
    "choose",
    "file_options",
]
