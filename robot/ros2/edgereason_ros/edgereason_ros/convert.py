"""Between ROS messages and requests. Imports nothing of ROS: messages are anything with the fields.

Times of ROS are nanoseconds, deadlines milliseconds from the stamp of a goal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgereason.config import assignments
from edgereason.errors import EdgereasonError, UsageError
from edgereason.grammars import Grammar
from edgereason.records import Answer, Budget, Energy, Message, Request, StopReason, messages_of
from edgereason.robot import Health, Outcome, Progress, State

_NODES_OWN = -2  # of think_tokens
OK, WARN, ERROR = 0, 1, 2  # of diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a goal does not say: parameters of the node."""

    way: str = "auto"
    think_tokens: int = -1
    answer_tokens: int = 256


def cores_of(text: str) -> tuple[int, ...]:
    """The parameter `cpu.cores`: numbers of cores; "" for any."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f'cpu.cores must be numbers such as "2,3", got {text!r}')
    return tuple(map(int, parts))


def request_of(goal: Any, defaults: Defaults) -> Request:
    """A goal of Think, or a request of Ask. Raises `UsageError` on what makes no sense."""
    if bool(goal.prompt) == bool(goal.messages):
        raise UsageError("either `prompt` or `messages` must be given, and not both")
    messages = tuple(Message(each.role, each.content) for each in goal.messages)
    if goal.deadline_ms < 0:
        raise UsageError(f"deadline_ms must be 0 (none) or more, got {goal.deadline_ms:g}")
    think = goal.think_tokens
    return Request(
        messages or messages_of(goal.prompt),
        strategy=goal.way or defaults.way,
        options=assignments(list(goal.options)),
        budget=Budget(
            think_tokens=defaults.think_tokens if think == _NODES_OWN else think,
            answer_tokens=goal.answer_tokens or defaults.answer_tokens,
            deadline_ms=goal.deadline_ms or None,
        ),
        priority=goal.priority,
        grammar=Grammar.json(goal.json_schema) if goal.json_schema else None,
    )


def age_ms(stamp: Any, now_ns: int) -> float:
    """Since a goal was stamped; 0 where it was not, or by a clock that is ahead."""
    stamped_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
    return max(0.0, (now_ns - stamped_ns) / 1e6) if stamped_ns else 0.0


def fill(result: Any, outcome: Outcome) -> Any:
    """Writes an outcome into the result of Think, or the response of Ask."""
    if outcome.answer is None:
        return fill_error(result, outcome.error)
    answer = outcome.answer
    result.success = bool(answer.answer)
    result.answer, result.reasoning = answer.answer, answer.reasoning
    result.ended_by = answer.finish.value
    if answer.finish is StopReason.REFUSED:
        result.message = "its deadline cannot be met beside the others'"
    _fill_figures(result.figures, answer, outcome.late_ms)
    return result


def fill_error(result: Any, error: EdgereasonError | None) -> Any:
    result.success = False
    result.ended_by = "error"
    result.message = str(error)
    return result


def _fill_figures(figures: Any, answer: Answer, late_ms: float) -> None:
    for name in ("prompt_tokens", "cached_tokens", "reasoning_tokens", "answer_tokens"):
        setattr(figures, name, getattr(answer.usage, name))
    for name in ("queue_ms", "prefill_ms", "think_ms", "answer_ms", "total_ms"):
        setattr(figures, name, float(getattr(answer.timings, name)))
    figures.late_ms = float(late_ms)
    figures.joules = math.nan if answer.energy is None else float(answer.energy.joules)
    figures.confidence = math.nan if answer.confidence is None else float(answer.confidence)


def fill_feedback(feedback: Any, progress: Progress) -> Any:
    feedback.reasoning, feedback.answer = progress.reasoning, progress.answer
    feedback.best_answer = progress.best
    feedback.left_ms = math.nan if progress.left_ms is None else float(progress.left_ms)
    return feedback


def verdict(outcome: Outcome, *, cancel_requested: bool) -> str:
    """The state a goal ends in. Actions have no state for what a server ends: that is `abort`."""
    answer = outcome.answer
    if answer is None:
        return "abort"
    if answer.finish is StopReason.CANCELLED:
        return "canceled" if cancel_requested else "abort"
    return "abort" if answer.finish is StopReason.REFUSED else "succeed"


def diagnosis(
    health: Health, stats: dict[str, Any], load: float
) -> tuple[int, str, dict[str, str]]:
    """Level, message and values of a DiagnosticStatus. `load`: of the machine, a core."""
    level, message = OK, f"{health.state.value}, {health.num_running} running"
    if health.state is not State.READY:
        level, message = ERROR, f"{health.state.value}: {health.reason}".rstrip(": ")
    elif health.num_late or health.num_failed:
        level = WARN
        message = f"{health.num_late} late, {health.num_failed} failed of {health.num_asked}"
    values = {
        "asked": health.num_asked,
        "running": health.num_running,
        "answered": health.num_answered,
        "cancelled": health.num_cancelled,
        "refused": health.num_refused,
        "failed": health.num_failed,
        "late": health.num_late,
        "late share": f"{health.late_share:.4f}",
        "most ms late": f"{health.most_late_ms:.1f}",
        "restarts": health.num_restarts,
        "machine load per core": f"{load:.2f}",
        **_energy(health.energy),
        **{f"core {name}": value for name, value in sorted(stats.items())},
    }
    return level, message, {name: str(value) for name, value in values.items()}


def _energy(energy: Energy | None) -> dict[str, str]:
    """Of the last answer."""
    if energy is None:
        return {"energy meter": "none"}
    rest = {} if energy.idle_watts is None else {"watts at rest": f"{energy.idle_watts:.2f}"}
    return {
        "energy meter": f"{energy.meter}: {energy.scope}",
        "joules of the last answer": f"{energy.joules:.3f}",
        "joules per token of it": f"{energy.joules_per_token:.4f}",
        **rest,
    }
