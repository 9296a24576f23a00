"""From what the phases did to what the caller gets: usage, budgets, timings, why it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edgereason.records import (
    Answer,
    BudgetReport,
    Channel,
    DeadlineReport,
    PhaseReport,
    PhaseResult,
    Request,
    StopReason,
    ThinkReport,
    Timings,
    Usage,
)


def line_answer(answer: Answer, results: Sequence[PhaseResult]) -> Answer:
    """Completes the answer of one chain of thought: its reasoning, and why it ended."""
    thoughts = [
        result.text if result.channel is Channel.REASONING else result.reasoning
        for result in results
    ]
    reasoning = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    text = answer.answer.strip()
    if not text:
        text = _last_probe(results) or ""
    return replace(
        answer,
        answer=text,
        reasoning=answer.reasoning or reasoning,
        finish=_finish(results) or answer.finish,
    )


def _last_probe(results: Sequence[PhaseResult]) -> str | None:
    """The best answer so far of a chain that was cut before it could answer."""
    return next((result.probe for result in reversed(results) if result.probe), None)


def _finish(results: Sequence[PhaseResult]) -> StopReason | None:
    """The first thing that ended a phase against the model's will; None when nothing ran.

    A summary makes good for what was cut before it, unless the answer had to follow at once.
    """
    last = max((i for i, result in enumerate(results) if result.name == "summary"), default=-1)
    forced = last >= 0 and not any(result.name == "think" for result in results[last:])
    results = results[last if forced else last + 1 :]
    ran = [result.reason for result in results if result.name not in ("prompt", "draft")]
    ran = ran or [result.reason for result in results if result.name == "draft"]
    if not ran:
        return None
    if StopReason.CANCELLED in ran:
        return StopReason.CANCELLED
    own = StopReason.BUDGET if forced else StopReason.STOP
    return next((reason for reason in ran if reason is not StopReason.STOP), own)


def final_answer(
    answer: Answer,
    results: Sequence[PhaseResult],
    *,
    request: Request,
    num_root: int,
    used_ms: float,
    think_used: int,
) -> Answer:
    """Adds the figures.

    `results` are the phases of all chains, the first `num_root` of them the request's own: its
    prompt is counted once, however many chains share it. `think_used` is the thinking of the
    longest chain.
    """
    budget = request.budget
    late_ms = 0.0 if budget.deadline_ms is None else max(0.0, used_ms - budget.deadline_ms)
    thinking = [result for result in results if result.channel is Channel.REASONING]
    queue_ms = results[0].queue_ms if results else 0.0
    return replace(
        answer,
        usage=_usage(results, num_root),
        budget=BudgetReport(
            ThinkReport(
                asked=budget.think_tokens,
                effective=budget.think_tokens,
                used=think_used,
                ended_by=thinking[-1].reason.value if thinking else "stop",
            ),
            DeadlineReport(budget.deadline_ms, used_ms, late_ms),
        ),
        timings=_timings(results, queue_ms, used_ms),
        phases=tuple(_phase(result) for result in results),
    )


def _usage(results: Sequence[PhaseResult], num_root: int) -> Usage:
    return Usage(
        prompt_tokens=sum(result.num_prompt for result in results[:num_root]),
        cached_tokens=sum(result.num_cached for result in results[:num_root]),
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
    return PhaseReport(result.name, result.num_tokens, result.reason.value, took_ms)


def _timings(results: Sequence[PhaseResult], queue_ms: float, used_ms: float) -> Timings:
    """Sums over phases; where chains ran side by side they exceed `total_ms`."""
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
