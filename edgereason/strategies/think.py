"""Think, then answer: the model's own way, within the budget.

prompt -> think -> answer
"""

from __future__ import annotations

from dataclasses import dataclass

from edgereason.records import Answer, Capability
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS


@dataclass(frozen=True, slots=True)
class Config:
    """No options of its own."""


def run(turn: Turn, config: Config) -> Steps:
    done = yield turn.think(then=turn.answer())
    return Answer(done.text, confidence=done.confidence)
