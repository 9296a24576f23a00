"""The final answer and nothing else: no thinking, no explanation.

prompt "only the answer" -> answer

Cost: a few tokens
Measured: Qwen2.5-Coder-0.5B, 200 of GSM8K: 9 right, thinking 46, at a tenth of its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgereason.prompt.reasoning import FINAL_CUE
from edgereason.records import Answer, Capability
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS
draft: Mapping[str, Any] = {}

_TOLD = "Give only the final answer, without any explanation."


@dataclass(frozen=True, slots=True)
class Config:
    """No options of its own."""


def run(turn: Turn, config: Config) -> Steps:
    direct = turn.told(_TOLD).direct()
    # An instruct model that is only told so explains all the same: the cue makes it answer.
    done = yield replace(direct, force=FINAL_CUE, stop=(*turn.stop, "\n"))
    return Answer(done.text, confidence=done.confidence)
