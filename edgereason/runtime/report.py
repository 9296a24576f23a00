"""From what the phases did to what the caller gets: usage, budgets, timings, why it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edgereason.planning.energy import Meter
from edgereason.prompt.tool_reader import CallReader
from edgereason.records import (
    UNLIMITED,
    Answer,
    AnswerReport,
    Budget,
    BudgetReport,
    ChainReport,
    Channel,
    DeadlineReport,
    Energy,
    PhaseReport,
    PhaseResult,
    Request,
    Role,
    StopReason,
    ThinkReport,
    Timings,
    ToolCall,
    Usage,
)

Results = Sequence[PhaseResult]  # what the phases of one line of thought did, in order


def line_answer(
    answer: Answer, results: Results, shortest: str = "", *, verbatim: bool = False
) -> Answer:
    """Completes the answer of one line of thought: its reasoning, and why it ended.

    `shortest`: what its grammar allows, for a line that could not begin to answer. `verbatim`:
    blanks at its ends are part of it.
    """
    thoughts = [
        result.text if result.channel is Channel.REASONING else result.reasoning
        for result in results
    ]
    reasoning = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    finish = _finish(results) or answer.finish
    text = answer.answer if verbatim else answer.answer.strip()
    if not text and finish is not StopReason.REFUSED:
        text = shortest or _last_probe(results) or ""
    return replace(
        answer,
        answer=text,
        reasoning=answer.reasoning or reasoning,
        finish=finish,
    )


def with_calls(answer: Answer, reader: CallReader) -> Answer:
    """Calls of functions apart from the text that stands around them."""
    pieces = [*reader.feed(answer.answer), *reader.finish()]
    text = "".join(piece for piece in pieces if isinstance(piece, str)).strip()
    calls = tuple(piece for piece in pieces if isinstance(piece, ToolCall))
    return replace(answer, answer=text, calls=calls)


def best_so_far(results: Results) -> str:
    """What a line that is cancelled leaves: its answer as far as it got, else its draft."""
    answering = (Role.ANSWER, Role.DRAFT)
    texts = (result.text for result in reversed(results) if result.role in answering)
    return next(filter(str.strip, texts), "")


def _last_probe(results: Results) -> str | None:
    """The best answer so far of a line that was cut before it could answer."""
    return next((result.probe for result in reversed(results) if result.probe), None)


def _finish(results: Results) -> StopReason | None:
    """The first thing that ended a phase against the model's will; None when nothing ran.

    Text that was carried on makes good for what was cut before it, unless the answer had to follow
    at once.
    """
    last = max((i for i, result in enumerate(results) if result.role is Role.CARRY), default=-1)
    forced = last >= 0 and not any(result.role is Role.THINK for result in results[last:])
    results = results[last if forced else last + 1 :]
    ran = [r.reason for r in results if r.role not in (Role.PREFILL, Role.DRAFT)]
    ran = ran or [result.reason for result in results if result.role is Role.DRAFT]
    if not ran:
        return None
    for reason in (StopReason.CANCELLED, StopReason.REFUSED):
        if reason in ran:
            return reason
    own = StopReason.BUDGET if forced else StopReason.STOP
    return next((reason for reason in ran if reason is not StopReason.STOP), own)


def final_answer(
    answer: Answer,
    lines: Sequence[Results],
    *,
    request: Request,
    used_ms: float,
    energy: Energy | None = None,
    silenced: bool = False,
) -> Answer:
    """Adds the figures. `lines` are all lines of thought, the request's own first: its prompt is
    counted once, however many lines share it; where it only forks, the first line's that read one.
    """
    budget = request.budget
    results = [result for line in lines for result in line]
    late_ms = 0.0 if budget.deadline_ms is None else max(0.0, used_ms - budget.deadline_ms)
    share = None if budget.deadline_ms is None else used_ms / budget.deadline_ms
    queue_ms = results[0].queue_ms if results else 0.0
    return replace(
        answer,
        usage=_usage(results, next(filter(_has_read, lines), ())),
        budget=BudgetReport(
            _think_report(lines, budget, silenced),
            DeadlineReport(budget.deadline_ms, used_ms, late_ms, share),
            _answer_report(lines, budget, answer.finish),
        ),
        timings=_timings(results, queue_ms, used_ms),
        phases=tuple(_phase(result) for result in results),
        energy=energy,
    )


def chain_report(answer: Answer | None, results: Results, parent: int) -> ChainReport:
    """One line of thought; without an answer it was given up."""
    return ChainReport(
        parent=parent,
        answer=answer.answer if answer else "",
        ended_by=answer.finish.value if answer else "given up",
        confidence=answer.confidence if answer else None,
        phases=tuple(_phase(result) for result in results),
        prompt_tokens=sum(result.num_prompt for result in results),
        cached_tokens=sum(result.num_cached for result in results),
    )


# --- budgets --------------------------------------------------------------------------------------


def _think_report(lines: Sequence[Results], budget: Budget, silenced: bool) -> ThinkReport:
    asked = budget.think_tokens
    thinking = [r for line in lines for r in line if r.channel is Channel.REASONING]
    limits = [_think_limit(limits, asked) for line in lines if (limits := _phase_limits(line))]
    if silenced and not limits:
        return ThinkReport(asked=asked, effective=0, used=0, ended_by="prompt")
    return ThinkReport(
        asked=asked,
        effective=_loosest(limits) if limits else asked,
        used=max(sum(result.num_reasoning for result in line) for line in lines),
        ended_by=thinking[-1].reason.value if thinking else "stop",
    )


def _phase_limits(results: Results) -> list[int]:
    """What the phases of a line that thought were each allowed to think. A block that was opened
    again in an answer has no limit but the request's.
    """
    return [
        result.budget if result.channel is Channel.REASONING else UNLIMITED
        for result in results
        if result.channel is Channel.REASONING or result.num_reasoning
    ]


def _think_limit(limits: Sequence[int], asked: int) -> int:
    """The tighter of what the phases were allowed together, and what was asked for."""
    if UNLIMITED in limits:
        return asked
    return sum(limits) if asked == UNLIMITED else min(asked, sum(limits))


def _answer_report(lines: Sequence[Results], budget: Budget, finish: StopReason) -> AnswerReport:
    asked = budget.answer_tokens
    answers = [result for line in lines if (result := _answering(line)) is not None]
    thought = max((sum(r.num_reasoning for r in line) for line in lines), default=0)
    grown = UNLIMITED if budget.total_tokens == UNLIMITED else budget.total_tokens - thought
    if not answers:
        return AnswerReport(asked, asked, ended_by=finish.value)
    limit = _loosest([result.budget for result in answers])
    return AnswerReport(
        asked=asked,
        effective=max(limit, grown) if limit != UNLIMITED else limit,
        used=max(result.num_tokens - result.num_reasoning for result in answers),
        ended_by=answers[-1].reason.value,
    )


def _answering(results: Results) -> PhaseResult | None:
    """The phase that answered last; a draft only where nothing else did."""
    for role in (Role.ANSWER, Role.DRAFT):
        for result in reversed(results):
            if result.role is role:
                return result
    return None


def _loosest(limits: Sequence[int]) -> int:
    return UNLIMITED if UNLIMITED in limits else max(limits)


# --- figures --------------------------------------------------------------------------------------


def _has_read(line: Results) -> bool:
    return any(result.num_prompt for result in line)


def _usage(results: Results, root: Results) -> Usage:
    return Usage(
        prompt_tokens=sum(result.num_prompt for result in root),
        cached_tokens=sum(result.num_cached for result in root),
        reasoning_tokens=sum(result.num_reasoning for result in results),
        latent_tokens=sum(result.num_latent for result in results),
        answer_tokens=sum(
            result.num_tokens - result.num_reasoning
            for result in results
            if result.channel is Channel.ANSWER
        ),
        peak_cells=max((result.num_cells for result in results), default=0),
    )


def _phase(result: PhaseResult) -> PhaseReport:
    took_ms = result.prefill_ms + result.decode_ms
    return PhaseReport(
        result.name, result.num_tokens, result.reason.value, took_ms, result.role.value
    )


def _timings(results: Results, queue_ms: float, used_ms: float) -> Timings:
    """Sums over phases; where lines of thought ran side by side they exceed `total_ms`."""
    prefill_ms = math.fsum(result.prefill_ms for result in results)
    think_ms = math.fsum(r.decode_ms for r in results if r.channel is Channel.REASONING)
    answer_ms = math.fsum(r.decode_ms for r in results if r.channel is Channel.ANSWER)
    busy_ms = used_ms - queue_ms - (results[0].prefill_ms if results else 0.0)
    num_sampled = sum(result.num_tokens for result in results)
    return Timings(
        queue_ms=queue_ms,
        prefill_ms=prefill_ms,
        think_ms=think_ms,
        answer_ms=answer_ms,
        total_ms=used_ms,
        tokens_per_s=1000 * num_sampled / busy_ms if busy_ms > 0 else 0.0,
    )


def energy_of(meter: Meter | None, results: Results) -> Energy | None:
    """What the machine took; None where it has no meter, or the meter could not be read."""
    joules = meter.stop() if meter is not None else None
    if meter is None or joules is None:
        return None
    sampler = meter.sampler
    idle_watts = sampler.idle_watts
    num_sampled = sum(result.num_tokens for result in results)
    return Energy(
        joules=joules,
        joules_per_token=joules / max(num_sampled, 1),
        meter=sampler.label,
        scope=sampler.scope,
        rails=meter.rails,
        idle_watts=idle_watts,
        above_idle_joules=None if idle_watts is None else joules - idle_watts * meter.seconds,
    )
