"""Answer at once where the model is sure, think where it is not; the first draft stays a candidate.

prompt -> draft -> sure? that is the answer : think -> answer
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgereason.errors import UsageError
from edgereason.records import Answer, Candidate, Capability, Role, StopReason
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS


@dataclass(frozen=True, slots=True)
class Config:
    threshold: float = field(
        default=0.8, metadata={"help": "confidence from which the draft is kept"}
    )
    draft_tokens: int = field(default=32, metadata={"help": "longest draft"})

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.draft_tokens < 1:
            raise UsageError(f"draft_tokens must be 1 or more, got {self.draft_tokens}")


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    direct = turn.direct()
    length = min(config.draft_tokens, turn.budget.answer_tokens)
    # Should the clock run out after the draft, an answer is still owed: the draft itself.
    draft = yield replace(direct, name="draft", role=Role.DRAFT, budget=length)
    first = Candidate(draft.text.strip(), votes=1, confidence=draft.confidence)
    complete = draft.reason is StopReason.STOP or length == turn.budget.answer_tokens
    if draft.reason in (StopReason.CANCELLED, StopReason.DEADLINE):
        return Answer(draft.text, confidence=draft.confidence, candidates=(first,))
    if complete and draft.confidence >= config.threshold:
        return Answer(draft.text, confidence=draft.confidence, candidates=(first,))
    done = yield turn.think(then=turn.answer())
    if not done.text.strip():
        return Answer(draft.text, confidence=draft.confidence, candidates=(first,))
    second = Candidate(done.text.strip(), votes=1, confidence=done.confidence)
    return Answer(done.text, confidence=done.confidence, candidates=(first, second))
