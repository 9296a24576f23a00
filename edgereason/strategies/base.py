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
`PhaseResult` of the last phase of that chain, or yields a `Fork` and is sent the children's
answers. It never sees a token or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgereason.models.bundle import Bundle
from edgereason.prompt.chat import thinking_prompt
from edgereason.records import (
    Answer,
    Budget,
    Loop,
    Message,
    Phase,
    Probe,
    Role,
    Sampling,
    Segment,
)


@dataclass(frozen=True, slots=True)
class Fork:
    """Run children side by side; they share the KV of whatever prompt they have in common.

    Attributes:
        children: one generator for each line of thought, as `run` of a strategy returns it.
        enough: asked after each child that finishes, with the answers so far, by child (None: not
            finished). True cancels the rest, whose answers stay None.
    """

    children: tuple[Steps, ...]
    enough: Callable[[Sequence[Answer | None]], bool] = field(default=lambda answers: False)


Steps = Generator["Phase | Fork", Any, Answer]


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
    context: int = 0  # tokens that one line of thought may hold, behind any prefix
    count: Callable[[Sequence[Segment]], int] = field(default=lambda segments: 0)  # their tokens

    def prompt(self, *, thinking: bool | None) -> tuple[Segment, ...]:
        """The rendered conversation up to where the model goes on; None: as the template has it."""
        return thinking_prompt(self.bundle, self.messages, thinking)

    def think(self, *, then: Phase | None = None) -> Phase:
        """Think from the start of the conversation. Without `then`, the answer is owed by a later
        phase.
        """
        reasoning = self.bundle.reasoning
        return Phase(
            "think",
            Role.THINK,
            fresh=self.prompt(thinking=True),
            budget=self.budget.think_tokens,
            soft=self.budget.soft,
            shut=reasoning.shuts,
            close=reasoning.close,
            sampling=self.sampling,
            probe=Probe(self.probe_every, reasoning.probe) if self.probe_every else None,
            loop=self.loop,
            owed=self.budget.answer_tokens if then is None else 0,
            then=then,
        )

    def answer(self) -> Phase:
        """Answer after thinking. Blocks that the model opens again spend what is left of the
        thinking budget.
        """
        reasoning = self.bundle.reasoning
        return Phase(
            "answer",
            Role.ANSWER,
            force=reasoning.answer,
            budget=self.budget.answer_tokens,
            open=reasoning.opens,
            shut=reasoning.shuts if reasoning.opens else (),
            close=reasoning.close if reasoning.opens else "",
            stop=self.stop,
            sampling=self.sampling,
        )

    def direct(self) -> Phase:
        """Answer without thinking, from the start of the conversation."""
        return replace(self.answer(), fresh=self.prompt(thinking=False), force="")

    def prefill(self, *, thinking: bool) -> Phase:
        """Only put the prompt into the KV, for children to share."""
        return Phase("prompt", Role.PREFILL, fresh=self.prompt(thinking=thinking), budget=0)

    def reseeded(self, index: int) -> Turn:
        """The same question with another stream of random numbers. Index 0 is this one."""
        seed = (self.sampling.seed + index) % 2**64
        return replace(self, sampling=replace(self.sampling, seed=seed))

    @property
    def can_think(self) -> bool:
        return self.budget.think_tokens != 0


__all__ = ["Fork", "Steps", "Turn"]
