"""AutoThink: an ellipsis at the start of the thought lets the model choose whether to think.

Paper: https://arxiv.org/abs/2505.10832
prompt "..." -> think, or nothing -> answer

Cost: a thought, or none
Measured: not on a model that was trained for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgereason.records import Answer, Capability
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS


@dataclass(frozen=True, slots=True)
class Config:
    """No options of its own."""


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    done = yield replace(turn.think(then=turn.answer()), force="...\n")
    return Answer(done.text, confidence=done.confidence)
