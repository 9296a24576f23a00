"""A strategy as a chain of phases: it is run with made-up results, and must yield the same phases
whatever comes of them.

What depends on the budgets of a request is found by running it with several: a phase's own budget
may follow them. All else must stay the same, or the plan holds for one budget only. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edgereason.errors import UnsupportedError
from edgereason.models.bundle import Bundle
from edgereason.records import (
    UNLIMITED,
    Answer,
    Budget,
    Message,
    Phase,
    PhaseResult,
    Role,
    Sampling,
    Segment,
    StopReason,
)
from edgereason.strategies.base import Turn, choose

__all__ = ["BudgetRule", "Chain", "Way", "Words", "chain_for", "prompt_of"]

_MOST_CHAINS: Final = 16
_MOST: Final = 1_000_000  # tokens: a budget that limits nothing
# What the phases of a chain may come to; the last texts hold numbers, which some strategies read.
_OUTCOMES: Final = (
    (StopReason.STOP, "so it is 12"),
    (StopReason.STOP, "so it is 13"),
    (StopReason.BUDGET, "so"),
    (StopReason.DEADLINE, ""),
)


@dataclass(frozen=True, slots=True)
class Way:
    """How questions are to be answered: a strategy, and what a request would say to it."""

    strategy: str = "think"
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = Budget()  # noqa: RUF009  # it is frozen
    sampling: Sampling | None = None  # None: what the bundle recommends
    stop: tuple[str, ...] = ()
    probe_every: int = 0


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """Where the budget of a phase comes from: that of the request `of` think or answer, at most
    `most`; of "nothing" it is `most` always. -1 is no limit."""

    of: str
    most: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class Chain:
    """A strategy without Python.

    Attributes:
        phases: in order; the first has the prompt, the last is the answer.
        rules: of each phase's budget.
        mark: the answer is what follows its last occurrence; "" all of the last phase's text.
        fixed_think: the phases are those for this thinking budget, and for no other.
        needs_think: without thinking there are other phases.
    """

    phases: tuple[Phase, ...]
    rules: tuple[BudgetRule, ...]
    mark: str
    fixed_think: bool
    needs_think: bool


Words = Callable[[Sequence[str]], tuple[int, ...]]
"""The tokens that are one of these words and nothing else."""


def chain_for(way: Way, bundle: Bundle, words: Words, messages: Sequence[Message]) -> Chain:
    """Raises `UnsupportedError` where the strategy decides in Python what comes next."""

    def run(think: int, answer: int) -> tuple[tuple[Phase, ...], str]:
        budget = replace(way.budget, think_tokens=think, answer_tokens=answer)
        return _run(replace(way, budget=budget), bundle, words, messages)

    think, answer = way.budget.think_tokens, way.budget.answer_tokens
    phases, mark = run(think, answer)
    _check(way, phases)
    shape = _without_budgets(phases)
    if _without_budgets(run(think, answer + 7)[0]) != shape:
        raise UnsupportedError(f"{way.strategy} does something else for another answer budget")
    thinks = (UNLIMITED, 1, _MOST)
    others = [run(each, answer)[0] for each in thinks]
    fixed = any(_without_budgets(other) != shape for other in others)
    longer = run(think, answer + 7)[0]
    rules = tuple(
        _rule(phase, () if fixed else [other[i].budget for other in others], longer[i])
        for i, phase in enumerate(phases)
    )
    needs = not fixed and think != 0 and _without_budgets(run(0, answer)[0]) != shape
    return Chain(phases, rules, mark, fixed, needs)


def _run(
    way: Way, bundle: Bundle, words: Words, messages: Sequence[Message]
) -> tuple[tuple[Phase, ...], str]:
    """The phases of a question, and the mark before its answer."""
    turn = _turn(way, bundle, words, messages)
    found = _once(way, turn, *_OUTCOMES[0])[0]
    for reason, text in _OUTCOMES[1:]:
        if _once(way, turn, reason, text)[0] != found:
            raise UnsupportedError(
                f"{way.strategy} decides in Python what comes next, from what was thought",
                "a plan is one chain of phases: think, no-think, auto-think, hbpo, brief, bare, "
                "coconut",
            )
    return found, _mark(way, turn, found)


def _turn(way: Way, bundle: Bundle, words: Words, messages: Sequence[Message]) -> Turn:
    return Turn(
        bundle=bundle,
        messages=tuple(messages),
        budget=way.budget,
        sampling=way.sampling or bundle.sampling,
        stop=way.stop,
        probe_every=way.probe_every,
        context=bundle.context or _MOST,
        words=words,
    )


def _once(way: Way, turn: Turn, reason: StopReason, text: str) -> tuple[tuple[Phase, ...], Answer]:
    """All phases one after the other, where each ends like this, and what the strategy returns."""
    steps = choose(way.strategy, way.options, turn.bundle).run(turn)
    phases: list[Phase] = []
    sent: PhaseResult | None = None
    for _ in range(_MOST_CHAINS):
        try:
            step = steps.send(sent)
        except StopIteration as stop:
            return tuple(phases), stop.value
        if not isinstance(step, Phase):
            steps.close()
            raise UnsupportedError(
                f"{way.strategy} runs several lines of thought, or a program: a plan is one chain",
                "use it through Python",
            )
        for phase in _chain(step):
            phases.append(phase)
        sent = PhaseResult(phases[-1].name, reason, text, phases[-1].role, tokens=(1, 2))
    steps.close()
    raise UnsupportedError(f"{way.strategy} has no end that is known before it runs")


def _chain(phase: Phase | None) -> list[Phase]:
    """Of the phases behind it, each without what follows it: that is the next of the list, and
    what is owed to it as well."""
    chain = []
    while phase is not None:
        chain.append(replace(phase, then=None, owed=0))
        phase = phase.then
    return chain


def _mark(way: Way, turn: Turn, phases: tuple[Phase, ...]) -> str:
    """What the answer follows in the text of the last phase."""
    marks = ["", *dict.fromkeys(shut for phase in phases for shut in phase.shut)]
    text = "".join(f"left{mark}right" for mark in marks)
    answer = _once(way, turn, StopReason.STOP, text)[1]
    for mark in marks:
        if answer.answer == (text.rpartition(mark)[2] if mark else text):
            return mark
    raise UnsupportedError(f"{way.strategy} makes more of its last text than the answer in it")


def _check(way: Way, phases: tuple[Phase, ...]) -> None:
    answers = [phase for phase in phases if phase.role is Role.ANSWER]
    if not phases or answers != [phases[-1]]:
        raise UnsupportedError(f"{way.strategy} does not end in its one answer")
    if phases[0].fresh is None or any(phase.fresh is not None for phase in phases[1:]):
        raise UnsupportedError(f"{way.strategy} reads more than one prompt")
    if any(_has_more(phase) for phase in phases):
        raise UnsupportedError(
            f"{way.strategy} thinks in blends, weighs what might follow, puts in what a program "
            "said, calls tools, tells log-probabilities, or has a grammar: no plan has that",
            "use it through Python",
        )
    if any(phase.role is Role.CARRY for phase in phases):
        raise UnsupportedError(f"{way.strategy} carries text from one prompt into the next")


def _has_more(phase: Phase) -> bool:
    """Something that the file has no place for."""
    others = (phase.blend, phase.score, phase.grammar, phase.call, phase.score_prompt)
    told = phase.logprobs >= 0 or phase.total >= 0
    return any(others) or told or not isinstance(phase.force, str)


def _without_budgets(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    return tuple(replace(phase, budget=0) for phase in phases)


def _rule(phase: Phase, by_think: Sequence[int], longer: Phase) -> BudgetRule:
    """`by_think`: its budget where the request's is -1, 1 and very much; empty where that is fixed.
    `longer`: the phase where the answer's budget is larger."""
    if longer.budget != phase.budget:
        return BudgetRule("answer")
    if not by_think or len(set(by_think)) == 1:
        return BudgetRule("nothing", phase.budget)
    unlimited, one, much = by_think
    if (unlimited, one, much) == (UNLIMITED, 1, _MOST):
        return BudgetRule("think")
    if unlimited == much and one == min(1, much):
        return BudgetRule("think", unlimited)
    raise UnsupportedError(f"the budget of phase {phase.name} follows no rule that a plan knows")


def prompt_of(
    way: Way, bundle: Bundle, words: Words, messages: Sequence[Message]
) -> tuple[Segment, ...]:
    """The prompt of the first phase. Raises what the strategy or the template raises."""
    steps = choose(way.strategy, way.options, bundle).run(_turn(way, bundle, words, messages))
    first = next(steps)
    steps.close()
    fresh = first.fresh or () if isinstance(first, Phase) else ()
    return tuple(each for each in fresh if isinstance(each, Segment))
