"""A question as a JSON object, and what is told about it: for all that speaks JSON with a robot.

    question = build(Question, json_object(data, "a datagram"), what="key")
    running = station.submit(question.request(), question.age_ms(1000 * time.time()))
    told(question, running.outcome())       # {"id": "7", "kind": "answer", "answer": "left", ...}

Knows nothing of how objects travel.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edgereason.errors import EdgereasonError, UsageError
from edgereason.grammars import Grammar
from edgereason.keywords import request_of
from edgereason.records import Answer, Message, Request
from edgereason.robot.station import Outcome, Progress


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. Everything but `id`, and either `prompt` or `messages`, may be left out."""

    id: str
    prompt: str = ""
    messages: tuple[Message, ...] = ()  # a conversation, in place of `prompt`
    way: str = "auto"
    think_tokens: int = -1
    answer_tokens: int = 64
    deadline_ms: float | None = None
    sent_ms: float | None = None  # since 1970: when the deadline began
    priority: int = 0
    choice: tuple[str, ...] = ()  # the answer is one of these
    json_schema: str = ""  # the answer is JSON under this schema
    progress: bool = False  # tell how far it is, whenever there is new text
    reasoning: bool = False  # the answer tells the thoughts, too

    def request(self) -> Request:
        """Raises `UsageError` on what makes no sense."""
        if bool(self.prompt) == bool(self.messages):
            raise UsageError("either prompt or messages must be given, and not both")
        return request_of(
            self.prompt or self.messages,
            strategy=self.way,
            think_budget=self.think_tokens,
            answer_budget=self.answer_tokens,
            deadline_ms=self.deadline_ms,
            priority=self.priority,
            grammar=self._grammar(),
        )

    def _grammar(self) -> Grammar | None:
        if self.choice and self.json_schema:
            raise UsageError("give either choice or json_schema")
        if self.choice:
            return Grammar.choice(*self.choice)
        return Grammar.json(self.json_schema) if self.json_schema else None

    def age_ms(self, now_ms: float) -> float:
        return 0.0 if self.sent_ms is None else max(0.0, now_ms - self.sent_ms)


def json_object(data: str | bytes, what: str) -> dict[str, Any]:
    """Raises `UsageError` where `data` is anything else; `what` names it there."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise UsageError(f"{what} must be one JSON object, got {data[:40]!r}")
    return message


def told_so_far(question: Question, progress: Progress) -> dict[str, Any]:
    said = {key: getattr(progress, key) for key in ("answer", "best", "left_ms")}
    return {"id": question.id, "kind": "progress", **said}


def told(question: Question, outcome: Outcome) -> dict[str, Any]:
    """How it ended: the answer, or what is wrong."""
    if outcome.answer is None:
        error = outcome.error or EdgereasonError("there is no answer")
        return {"id": question.id, "kind": "error", **error.to_dict()}
    answer: Answer = outcome.answer
    said = {"answer": answer.answer, "ended_by": answer.finish.value, "late_ms": outcome.late_ms}
    if question.reasoning:
        said["reasoning"] = answer.reasoning
    return {
        "id": question.id,
        "kind": "answer",
        **said,
        "confidence": answer.confidence,
        "usage": asdict(answer.usage),
        "timings": asdict(answer.timings),
    }
