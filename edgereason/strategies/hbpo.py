"""HBPO: the model is told its thinking budget at the start of the thought, which also holds.

Paper: https://arxiv.org/abs/2507.15844
prompt "I will answer the question within n tokens." -> think -> answer

Cost: a thought
Measured: not on a model that was trained for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgereason.records import UNLIMITED, Answer, Capability
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS


@dataclass(frozen=True, slots=True)
class Config:
    """No options of its own: n is the thinking budget. Without one nothing is said."""


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    phase = turn.think(then=turn.answer())
    budget = turn.budget.think_tokens
    if budget != UNLIMITED:
        said = f"I will answer the question within {budget} tokens.\n"
        phase = replace(phase, force=said)
    done = yield phase
    return Answer(done.text, confidence=done.confidence)
